"""From clips to what the model takes: batches by number, then frames on the device."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from svit.config import InputConfig
from svit.data.actions import ActionSample
from svit.data.actions.mixing import mix_batch, soft_targets
from svit.data.actions.settings import ActionDataConfig
from svit.data.augment.multiscale import resize_batch
from svit.data.augment.opencv import use_one_thread
from svit.data.clips import Sample
from svit.errors import SvitError, TrainingError
from svit.train.objective import ActionBatch, Batch

Clip = Sample | ActionSample


@dataclass
class LoadedBatch:
    """A batch as the workers hand it over.

    Attributes:
        batch: frames uint8, on the host.
        broken: one line per clip that could not be read.
    """

    batch: Batch | ActionBatch
    broken: list[str]

    def pin_memory(self) -> Self:
        """Frames where the device can fetch them by itself; called by torch's loader."""
        self.batch.frames = self.batch.frames.pin_memory()
        return self


@dataclass(frozen=True)
class Share:
    """Which clips a process takes: forward passes are dealt out to processes one by one.

    A step of P processes with A forward passes each takes the same clips as one of 1 process with P x A, in
    the same batches.

    Attributes:
        batch: clips per forward pass.
        accumulate: forward passes per step and process.
        process, processes: this one, and how many there are.
    """

    batch: int
    accumulate: int
    process: int = 0
    processes: int = 1

    @property
    def per_step(self) -> int:
        """Clips per optimiser step, of all processes."""
        return self.batch * self.accumulate * self.processes

    def numbers(self, first: int) -> Iterator[list[int]]:
        """The clips of this process' forward passes from clip `first` on, without end."""
        while True:
            for turn in range(self.accumulate):
                start = first + (turn * self.processes + self.process) * self.batch
                yield list(range(start, start + self.batch))
            first += self.per_step


class Numbered(Protocol):
    """Clips by number: `Clips`, `ActionClips`, `SyntheticClips`."""

    per_epoch: int

    def __getitem__(self, number: int) -> Clip: ...


@dataclass(frozen=True)
class Feed:
    """The clips of one task.

    Attributes:
        clips: by number, without end.
        share: which of them this process takes.
    """

    clips: Numbered
    share: Share


def load_batches(feeds: Sequence[Feed], step: int, workers: int) -> Iterator[LoadedBatch]:
    """Batches from step `step` on, without end, made by worker processes (0: by this one).

    In every step the forward passes of the first task come first, then those of the next.

    Raises:
        DataError: too many clips in a row cannot be read.
        TrainingError: a worker was killed.
    """
    loader: DataLoader[Clip | SvitError] = DataLoader(
        _Numbered(feeds),
        batch_sampler=_Endless(feeds, step),
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_prepare_worker,
        pin_memory=torch.cuda.is_available(),
    )
    batches = iter(loader)
    # At its end Python would send the workers SIGTERM and wait, but they ignore that: end them before.
    end = partial(_end_workers, batches)
    atexit.register(end)
    try:
        while True:
            yield _next_batch(batches)
    finally:
        atexit.unregister(end)
        end()


def _next_batch(batches: Iterator[LoadedBatch | SvitError]) -> LoadedBatch:
    try:
        loaded = next(batches)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        what = str(error).splitlines()[0]
        raise TrainingError(
            f"a process that reads clips was killed ({what}); is there memory enough"
            " for data.workers of them? The same command goes on from the last checkpoint"
        ) from None
    if isinstance(loaded, SvitError):
        raise loaded
    return loaded


def _end_workers(batches: Iterator[LoadedBatch | SvitError]) -> None:
    if shut_down := getattr(
        batches, "_shutdown_workers", None
    ):  # torch has no public name; without workers none
        shut_down()


def collate(samples: Sequence[Clip | SvitError]) -> LoadedBatch | SvitError:
    """Clips of one task, size and length as a batch; or what went wrong with the first that has none.

    An error is handed over, not raised: from a worker it would arrive with its traceback as its text.
    """
    good: list[Clip] = []
    for sample in samples:
        if isinstance(sample, SvitError):
            return sample
        good.append(sample)
    broken = [line for sample in good for line in sample.broken]
    actions = [sample for sample in good if isinstance(sample, ActionSample)]
    if actions:
        labels = torch.tensor([sample.label for sample in actions])
        return LoadedBatch(ActionBatch(_stacked([sample.frames for sample in actions]), labels), broken)
    clips = [sample.clip for sample in good if isinstance(sample, Sample)]
    targets = [
        [(torch.from_numpy(b), torch.from_numpy(c)) for b, c in zip(clip.boxes, clip.classes, strict=True)]
        for clip in clips
    ]
    ignore = [[torch.from_numpy(regions) for regions in clip.ignore] for clip in clips]
    return LoadedBatch(Batch(_stacked([np.asarray(clip.frames) for clip in clips]), targets, ignore), broken)


def _stacked(frames: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
    """Clips (T, H, W, 3) as (B, T, 3, H, W)."""
    return torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3)


def to_device(batch: Batch, device: torch.device, size: tuple[int, int], settings: InputConfig) -> Batch:
    """The batch resized to (height, width), its frames normalised floats on the device."""
    frames = batch.frames.to(device, non_blocking=True)
    boxes = [[boxes for boxes, _ in clip] for clip in batch.targets]
    frames, boxes, ignore = resize_batch(frames, boxes, batch.ignore, size)
    targets = [
        [(new, labels) for new, (_, labels) in zip(moved, clip, strict=True)]
        for moved, clip in zip(boxes, batch.targets, strict=True)
    ]
    return Batch(_normalised(frames, settings), targets, ignore)


def actions_to_device(
    batch: ActionBatch,
    device: torch.device,
    data: ActionDataConfig,
    classes: int,
    settings: InputConfig,
    seed: int,
) -> ActionBatch:
    """The batch on the device: normalised floats, mixed, with shares of the classes for targets.

    Also draws how much of the past may be used, and at which earlier frame an answer is wanted.

    Args:
        batch: from the workers.
        device: where to.
        data: how clips are mixed, and how often they are seen in part.
        classes: how many there are.
        settings: mean and deviation of pixels.
        seed: all that is drawn depends on it alone.
    """
    rng = np.random.default_rng(seed)
    frames = _normalised(batch.frames.to(device, non_blocking=True).float(), settings)
    labels, partial = batch.targets.to(device, non_blocking=True), data.partial
    if data.mix is None:
        targets = soft_targets(labels, classes)
    else:
        frames, targets = mix_batch(frames, labels, classes, data.mix, rng)
    length = int(rng.choice(partial.lengths)) if rng.random() < partial.share else None
    last = frames.shape[1] - 1
    early = int(rng.integers(last)) if partial.early and last else None
    return ActionBatch(frames, targets, length, early)


def _normalised(frames: Tensor, settings: InputConfig) -> Tensor:
    mean, std = (
        torch.tensor(values).view(3, 1, 1).to(frames.device, non_blocking=True)
        for values in (settings.mean, settings.std)
    )
    return (frames - mean) / std


class _Numbered(Dataset[Clip | SvitError]):
    """Clips by the place of their feed and their number, as torch's loader asks for them."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._clips = [feed.clips for feed in feeds]

    def __getitem__(self, key: tuple[int, int]) -> Clip | SvitError:
        feed, number = key
        try:
            return self._clips[feed][number]
        except SvitError as error:
            return error


class _Endless:
    """A batch sampler that goes on from a step."""

    def __init__(self, feeds: Sequence[Feed], step: int) -> None:
        self._shares, self._step = [feed.share for feed in feeds], step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        numbers = [share.numbers(self._step * share.per_step) for share in self._shares]
        while True:
            for feed, share in enumerate(self._shares):
                for _ in range(share.accumulate):
                    yield [(feed, number) for number in next(numbers[feed])]


def _prepare_worker(worker: int) -> None:
    torch.set_num_threads(1)
    use_one_thread()
    # Ctrl-C and a scheduler's SIGTERM reach all processes of a run: the one that trains ends it, after a
    # checkpoint, and ends the workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
