"""Checkpoints of a run in progress: sharded, written whole or not at all, for any number of processes.

A checkpoint is a folder OUTPUT/checkpoints/step-00001234 with the shards of `torch.distributed.checkpoint`
and a `state.json`. It is written as `.step-00001234.part` and gets its name when all processes are done, so
that a run killed at any moment finds the one before.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from svit.errors import OutputError, UsageError, WeightsError

NAME = re.compile(r"step-(\d{8})")
STATE = "state.json"


@dataclass(frozen=True)
class RunState:
    """Where a run is.

    Attributes:
        step: optimiser steps done.
        per_step: clips per step, of all processes.
        experiment: the resolved settings, as JSON values.
        best: HOTA of the best evaluation so far, per cent, and its step; None before the first.
    """

    step: int
    per_step: int
    experiment: dict[str, Any]
    best: tuple[float, int] | None = None


@dataclass(frozen=True)
class Trained:
    """The tensors of a run: model and optimiser as the engine wraps them, and the averaged weights."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]

    def tensors(self) -> dict[str, Any]:
        """By name, whatever the engine; reading into them fills the average but not model and optimiser."""
        model, optimiser = get_state_dict(self.model, self.optimiser)
        return {"model": model, "optimiser": optimiser, "average": self.average}


def find_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints in OUTPUT/checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*") if NAME.fullmatch(p.name)) if folder.is_dir() else []


def save_checkpoint(
    folder: Path, state: RunState, trained: Trained, wait: Callable[[], None], main: bool
) -> Path:
    """Writes one checkpoint; called by all processes.

    Args:
        folder: OUTPUT/checkpoints.
        state: where the run is.
        trained: what is written.
        wait: returns when all processes have called it.
        main: whether this process makes and renames the folder.

    Raises:
        OutputError: it cannot be written; nothing is left of it and earlier ones are untouched.
    """
    path = folder / f"step-{state.step:08d}"
    part = folder / f".{path.name}.part"
    try:
        if main:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            (part / STATE).write_text(json.dumps(asdict(state), indent=1))
        wait()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it says that one process saves alone
            dcp.save(trained.tensors(), checkpoint_id=part, no_dist=not torch.distributed.is_initialized())
    except Exception as error:  # the writer wraps what went wrong in exceptions of its own
        shutil.rmtree(part, ignore_errors=True)
        raise OutputError(f"{path}: the checkpoint could not be written ({_reason(error)})") from None
    wait()
    if main:
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
    wait()
    return path


def read_state(path: Path) -> RunState:
    """Where the run of a checkpoint was.

    Raises:
        WeightsError: the folder is no checkpoint or damaged.
    """
    try:
        values = json.loads((path / STATE).read_text())
        state = RunState(**values)
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: is no checkpoint of a training ({error}); remove it") from None
    return replace(state, best=None if state.best is None else (state.best[0], state.best[1]))


def load_checkpoint(path: Path, trained: Trained) -> None:
    """Reads a checkpoint's tensors into a run; called by all processes.

    Raises:
        WeightsError: it is damaged, or of another model.
    """
    tensors = trained.tensors()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            dcp.load(tensors, checkpoint_id=path, no_dist=not torch.distributed.is_initialized())
        set_state_dict(
            trained.model,
            trained.optimiser,
            model_state_dict=tensors["model"],
            optim_state_dict=tensors["optimiser"],
        )
    except Exception as error:  # the reader wraps what went wrong in exceptions of its own
        raise WeightsError(f"{path}: the checkpoint cannot be read ({_reason(error)}); remove it") from None


def remove_old(folder: Path, keep: int, best: int | None) -> None:
    """Leaves the `keep` newest checkpoints and that of step `best`; unfinished ones go too."""
    for part in folder.glob(".step-*.part"):
        shutil.rmtree(part, ignore_errors=True)
    for path in find_checkpoints(folder)[:-keep]:
        if best is None or path.name != f"step-{best:08d}":
            shutil.rmtree(path, ignore_errors=True)


def check_same(experiment: dict[str, Any], saved: dict[str, Any], path: Path) -> None:
    """That a run goes on with the settings it began with.

    Raises:
        UsageError: it does not; the message names the first setting that differs.
    """
    for key, now in _flat(experiment).items():
        before = _flat(saved).get(key)
        if now != before and key.split(".")[-1] not in FREE:
            raise UsageError(
                f"{path.parent.parent} holds a run with {key}={before}, asked for is {key}={now};"
                " choose another output=, or the same settings"
            )


FREE = {
    *("root", "workers", "save_minutes", "keep", "log_steps"),
    *("batch", "accumulate", "form", "checkpointing"),
}
"""Settings that may change between two parts of a run: what is computed stays the same."""


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _reason(error: BaseException) -> str:
    """The innermost cause as one line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return (str(error).splitlines() or [type(error).__name__])[0]
