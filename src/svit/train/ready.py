"""What a training needs, looked at before anything slow: one line says what is missing and how to get it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from svit.data.datasets import data_root, load_dataset
from svit.data.scenes import SourceConfig
from svit.errors import DataError, UsageError, WeightsError
from svit.train.experiment import EvaluateConfig, Experiment
from svit.train.loggers import wanted_loggers
from svit.video.output import output_error

PREPARE = {
    "crowdhuman": "svit prepare crowdhuman",
    "motsynth": "svit prepare motsynth",
    "cocoformat": "svit prepare mot",
}
"""Who writes an annotation file, by a word in its path."""


def check_ready(experiment: Experiment, output: Path) -> list[str]:
    """Looks for all that the training will open, and makes the output folder.

    Returns:
        Warnings: what will work, but not well.

    Raises:
        DataError: a data set is missing, to train on or to score with.
        WeightsError: the weights to start from are missing.
        UsageError: a precision that this machine does not have, or a logger that is not installed.
        OutputError: the output folder cannot be written.
    """
    _check_precision(experiment)
    wanted_loggers(experiment)
    if experiment.model.start is not None:
        _check_start(experiment.model.start)
    for source in experiment.data.sources:
        _check_source(source, experiment.data.root)
    _check_scored(experiment.evaluate)
    _check_output(output)
    return _warnings(experiment)


def _check_precision(experiment: Experiment) -> None:
    if experiment.precision == "fp16" and not torch.cuda.is_available():
        raise UsageError("precision=fp16 needs a GPU; use precision=bf16 or precision=fp32")
    if experiment.precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise UsageError("this GPU has no bf16; use precision=fp16 or precision=fp32")


def _check_start(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(
            f"{path}: not found; the training starts from these weights (docs/reproducing.md says where "
            "CLIP's are); model.start=FILE names others, model.start=null starts from random ones"
        )


def _check_source(source: SourceConfig, root: Path) -> None:
    relative = source.annotations or source.sequences
    assert relative is not None
    path, images = data_root(root) / relative, data_root(root) / (source.images or "")
    if not path.exists():
        raise DataError(f"{path}: not found; {_advice(source)}data.root=DIR says where the data lie")
    if not images.is_dir():
        raise DataError(f"{images}: not found; the images of {path} belong there (docs/data.md)")


def _advice(source: SourceConfig) -> str:
    if source.annotations is None:
        return ""
    words = str(source.annotations).lower()
    makers = [command for word, command in PREPARE.items() if word in words]
    return f"{makers[0]} writes it (docs/data.md); " if makers else ""


def _check_scored(settings: EvaluateConfig) -> None:
    if settings.dataset is not None:
        try:
            load_dataset(settings.dataset, settings.root)
        except DataError as error:
            text = str(error).replace("--root", "evaluate.root=")
            raise DataError(f"{text}; evaluate.dataset=null scores nothing") from None


def _check_output(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise output_error(output, error) from None


def _warnings(experiment: Experiment) -> list[str]:
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = experiment.data.workers
    if workers * processes <= cores:
        return []
    of = f"{workers} for each of {processes} processes" if processes > 1 else str(workers)
    return [f"data.workers={of}: more than the {cores} cores here; fewer are not slower"]
