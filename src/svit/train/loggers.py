"""Where the numbers of a training go beside `log.jsonl`: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from svit.errors import OutputError, UsageError
from svit.train.experiment import Experiment, Logger
from svit.train.loop import Event, Note, Scores
from svit.train.meter import Report


class Writer(Protocol):
    """Takes numbers by name."""

    def write(self, numbers: dict[str, float], step: int) -> None:
        """The numbers after `step` optimiser steps."""
        ...

    def close(self) -> None:
        """Writes out what is still held."""
        ...


class TensorBoard:
    """TensorBoard's files in OUTPUT/tensorboard.

    Args:
        output: the run's folder.
        step: where the run goes on; what an earlier part wrote beyond it is hidden.
    """

    def __init__(self, output: Path, step: int) -> None:
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(output / "tensorboard"), purge_step=step)

    def write(self, numbers: dict[str, float], step: int) -> None:
        """See `Writer`."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """See `Writer`."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; it uploads, save where WANDB_MODE=offline says otherwise.

    The project is WANDB_PROJECT, or svit. A training that goes on in the same folder goes on with its run.

    Args:
        experiment: its settings are uploaded too.
        output: the run's folder.
    """

    def __init__(self, experiment: Experiment, output: Path) -> None:
        identity = output / "wandb-run.txt"
        if not identity.is_file():
            identity.write_text(f"{uuid.uuid4().hex[:12]}\n")
        self._run: Any = importlib.import_module("wandb").init(
            project=os.environ.get("WANDB_PROJECT", "svit"),
            name=experiment.name,
            dir=str(output),
            id=identity.read_text().strip(),
            resume="allow",
            config=experiment.model_dump(mode="json"),
        )

    def write(self, numbers: dict[str, float], step: int) -> None:
        """See `Writer`."""
        self._run.log(numbers, step=step)

    def close(self) -> None:
        """See `Writer`."""
        self._run.finish()


def wanted_loggers(experiment: Experiment) -> tuple[Logger, ...]:
    """Where an experiment's numbers go; TensorBoard, if it is installed, where nothing is asked for.

    Raises:
        UsageError: what is asked for is not installed.
    """
    asked = experiment.log_to
    if asked is None:
        return ("tensorboard",) if find_spec("tensorboard") else ()
    for name in asked:
        if not find_spec(name):
            raise UsageError(
                f"log_to asks for {name}, which is not installed: pip install {name}, or leave it away"
            )
    return asked


@contextmanager
def open_writers(experiment: Experiment, output: Path, step: int) -> Iterator[list[Writer]]:
    """The writers of an experiment, of its main process, closed at the end.

    Args:
        experiment: says which.
        output: the run's folder; it is there.
        step: where the run goes on.

    Raises:
        UsageError: what is asked for is not installed, or cannot start.
        OutputError: the folder cannot be written.
    """
    writers: list[Writer] = []
    try:
        for name in wanted_loggers(experiment):
            writers.append(_open(name, experiment, output, step))
        yield writers
    finally:
        for writer in writers:
            with suppress(OSError):  # what could not be written was told of
                writer.close()


def _open(name: Logger, experiment: Experiment, output: Path, step: int) -> Writer:
    try:
        return TensorBoard(output, step) if name == "tensorboard" else WeightsAndBiases(experiment, output)
    except OSError as error:
        raise OutputError(f"{output}: {name} cannot write there ({error.strerror or error})") from None
    except Exception as error:  # such as a login that is missing; each library has errors of its own
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{name} does not start ({text}); log_to=[] does without") from None


def log_event(writers: list[Writer], event: Event) -> list[Note]:
    """Hands reports and scores to the writers; one that fails is given up, and told of."""
    if isinstance(event, Note):
        return []
    numbers = numbers_of(event) if isinstance(event, Report) else scores_of(event)
    warnings = []
    for writer in list(writers):
        try:
            writer.write(numbers, event.step)
        except OSError as error:
            writers.remove(writer)
            name = type(writer).__name__
            warnings.append(
                Note(f"{name} cannot write ({error.strerror or error}); the training goes on without", True)
            )
    return warnings


def scores_of(scores: Scores) -> dict[str, float]:
    """What loggers get of an evaluation."""
    return {f"scores/{name}": value for name, value in scores.metrics.items()}


def numbers_of(report: Report) -> dict[str, float]:
    """What loggers get of a report."""
    return {
        **{f"loss/{name}": value for name, value in report.losses.items()},
        "train/epoch": report.epoch,
        "train/rate": report.rate,
        "train/gradient_norm": report.norm,
        "train/positives": report.positives,
        "train/broken": report.broken,
        "speed/clips_per_s": report.samples_per_s,
        "speed/data_share": report.data_share,
        "speed/memory_gib": report.memory_gib,
    }
