"""Checkpoints of a run in progress: sharded, written whole or not at all, for any number of processes.

A checkpoint is a folder OUTPUT/checkpoints/step-00001234 with the shards of `torch.distributed.checkpoint`
and a `state.json`. It is written as `.step-00001234.part` and gets its name when all processes are done, so
that a run killed at any moment finds the one before. Tensors go by the model's own names, whatever engine
held them: a run may go on with another number of processes, and with or without FSDP2.

torch keeps the list of shards as a pickle: go on only from folders that you trust.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from svit.errors import OutputError, UsageError, WeightsError
from svit.video.output import output_error

NAME = re.compile(r"step-(\d{8})")
STATE = "state.json"


@dataclass(frozen=True)
class RunState:
    """Where a run is.

    Attributes:
        step: optimiser steps done.
        per_step: clips of each task in a step, of all processes.
        experiment: the resolved settings, as JSON values.
        best: what decides of the best evaluation so far, per cent, and its step; None before the first.
        scored: step of the last evaluation; 0 before the first.
        scaler: what fp16's gradient scaler remembers.
    """

    step: int
    per_step: tuple[int, ...]
    experiment: dict[str, Any]
    best: tuple[float, int] | None = None
    scored: int = 0
    scaler: dict[str, Any] | None = None


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
    folder: Path, state: RunState, trained: Trained, agree: Callable[[bool], bool], main: bool
) -> Path:
    """Writes one checkpoint; called by all processes. One that is there already stays as it is.

    Args:
        folder: OUTPUT/checkpoints.
        state: where the run is.
        trained: what is written.
        agree: waits for all processes; whether all of them say yes.
        main: whether this process makes and renames the folder.

    Raises:
        OutputError: it cannot be written; nothing is left of it and earlier ones are untouched. If one
            process cannot, all raise.
    """
    path = folder / f"step-{state.step:08d}"
    if agree(path.is_dir()):
        return path
    part = folder / f".{path.name}.part"
    try:
        _in_all(path, agree, lambda: _begin(part, state) if main else None)
        _in_all(path, agree, lambda: _write(part, trained))
        _in_all(path, agree, lambda: _finish(part, path) if main else None)
    except OutputError:
        if main:
            shutil.rmtree(part, ignore_errors=True)
        raise
    return path


def _in_all(path: Path, agree: Callable[[bool], bool], action: Callable[[], None]) -> None:
    """Does a part of the work; if it fails in one process, all of them raise, so that none waits for it."""
    reason = ""
    try:
        action()
    except (Exception, CheckpointException) as error:  # the latter, torch's own, is no Exception
        reason = _reason(error)
    if not agree(not reason):
        reason = reason or "another process says why"
        raise OutputError(f"{path}: the checkpoint could not be written ({reason})")


def _begin(part: Path, state: RunState) -> None:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _write_state(part / STATE, state)


def _write_state(path: Path, state: RunState) -> None:
    with path.open("w") as file:
        json.dump(asdict(state), file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _write(part: Path, trained: Trained) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that one process saves alone
        dcp.save(trained.tensors(), checkpoint_id=part, no_dist=not torch.distributed.is_initialized())


def _finish(part: Path, path: Path) -> None:
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power failure could take the name back
    finally:
        os.close(folder)


def update_state(folder: Path, state: RunState) -> None:
    """Replaces what the checkpoint of `state.step` says of the run; by one process.

    Raises:
        OutputError: it cannot be written; the checkpoint is as it was.
    """
    path = folder / f"step-{state.step:08d}" / STATE
    part = path.with_name(f".{STATE}.part")
    try:
        _write_state(part, state)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise output_error(path, error) from None


def read_state(path: Path) -> RunState:
    """Where the run of a checkpoint was.

    Raises:
        WeightsError: the folder is no checkpoint or damaged.
    """
    try:
        values = json.loads((path / STATE).read_text())
        state = RunState(**values)
        best = None if state.best is None else (state.best[0], state.best[1])
        return replace(state, best=best, per_step=tuple(state.per_step))
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: is no checkpoint of a training ({error}); remove it") from None


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
    except (Exception, CheckpointException) as error:  # the latter, torch's own, is no Exception
        raise WeightsError(f"{path}: the checkpoint cannot be read ({_reason(error)}); remove it") from None


def remove_old(folder: Path, keep: int, best: int | None) -> None:
    """Leaves the `keep` newest checkpoints and that of step `best`; unfinished ones go too."""
    for path in find_checkpoints(folder)[:-keep]:
        if best is None or path.name != f"step-{best:08d}":
            with suppress(OSError):  # what is half removed must not look like a checkpoint
                path.rename(folder / f".{path.name}.part")
    for part in folder.glob(".step-*.part"):
        shutil.rmtree(part, ignore_errors=True)


FREE = {
    *("root", "workers", "save_minutes", "keep", "log_steps", "log_to"),
    *("batch", "accumulate", "form", "checkpointing"),
}
"""Settings that may change between two parts of a run: what is computed stays the same, to rounding."""


def check_same(experiment: dict[str, Any], saved: dict[str, Any], path: Path) -> None:
    """That a run goes on with the settings it began with; one that it did not know yet is no difference.

    Raises:
        UsageError: it does not; the message names the first setting that differs.
    """
    before = _flat(saved)
    for key, now in _flat(experiment).items():
        if key.split(".")[-1] not in FREE and before.get(key, now) != now:
            raise UsageError(
                f"{path.parent.parent} holds a run with {key}={before[key]}, asked for is {key}={now};"
                " choose another output=, or the same settings"
            )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their keys, nested by dots; of a list of groups, its length too."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            flat[f"{prefix}{key}"] = f"{len(value)} of them"
            flat |= _flat({str(place): each for place, each in enumerate(value)}, f"{prefix}{key}.")
        elif isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _reason(error: BaseException) -> str:
    """The innermost cause as one line."""
    if isinstance(error, CheckpointException):
        return _reason(next(iter(error.failures.values()))[0])
    inner = error.__cause__ or error.__context__
    if inner is not None:
        return _reason(inner)
    return (str(error).splitlines() or [type(error).__name__])[0]
