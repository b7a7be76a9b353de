"""What a training needs, looked at before anything slow: one line says what is missing and how to get it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from svit.data.actions.settings import ActionDataConfig
from svit.data.datasets import data_root, load_dataset
from svit.data.scenes import SourceConfig
from svit.errors import DataError, UsageError, WeightsError
from svit.train.experiment import EvaluateConfig, Experiment
from svit.train.loggers import wanted_loggers
from svit.video.output import output_error
from svit.weights import DEFAULT_MODEL
from svit.weights.device import multiplies_bf16, pick_device

PREPARE = {
    "crowdhuman": "svit prepare crowdhuman",
    "motsynth": "svit prepare motsynth",
    "cocoformat": "svit prepare mot",
    "k400": "svit prepare kinetics400",
    "ssv2": "svit prepare ssv2",
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
    if experiment.data.actions is not None:
        _check_actions(experiment.data.actions, data_root(experiment.data.root))
    _check_scored(experiment.evaluate)
    _check_output(output)
    return _warnings(experiment)


def _check_precision(experiment: Experiment) -> None:
    if experiment.precision == "fp16" and not torch.cuda.is_available():
        raise UsageError("precision=fp16 needs a GPU; use precision=bf16 or precision=fp32")
    if experiment.precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise UsageError("this GPU has no bf16; use precision=fp16 or precision=fp32")


def _check_start(path: Path) -> None:
    if not path.is_file() and str(path) != DEFAULT_MODEL:
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


def _check_actions(data: ActionDataConfig, root: Path) -> None:
    if data.index is None:
        if not (root / data.pictures).is_dir():
            raise DataError(
                f"{root / data.pictures}: not found; synthetic clips are cut from what is in it; "
                "data.root=DIR or data.actions.pictures=DIR says where there are some"
            )
    elif not (root / data.index).is_file():
        raise DataError(
            f"{root / data.index}: not found; {_maker(data.index) or 'svit prepare video-folder'} writes it "
            "(docs/data.md); data.root=DIR or data.actions.index=FILE says where it is"
        )


def _advice(source: SourceConfig) -> str:
    maker = None if source.annotations is None else _maker(source.annotations)
    return f"{maker} writes it (docs/data.md); " if maker else ""


def _maker(path: Path) -> str | None:
    """The command that writes a file."""
    return next((command for word, command in PREPARE.items() if word in str(path).lower()), None)


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
    return [*_precision_warnings(experiment), *_worker_warnings(experiment)]


def _precision_warnings(experiment: Experiment) -> list[str]:
    if experiment.precision != "bf16" or multiplies_bf16(pick_device()):
        return []
    return ["precision=bf16: this machine does not seem to multiply it; precision=fp32 is faster then"]


def _worker_warnings(experiment: Experiment) -> list[str]:
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = experiment.data.workers
    if workers * processes <= cores:
        return []
    of = f"{workers} for each of {processes} processes" if processes > 1 else str(workers)
    return [f"data.workers={of}: more than the {cores} cores here; fewer are not slower"]
