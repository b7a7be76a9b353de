"""From clips to what the model takes: batches by number, then frames on the device."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from svit.config import InputConfig
from svit.data.augment.multiscale import resize_batch
from svit.data.augment.opencv import use_one_thread
from svit.data.clips import Clips, Sample
from svit.errors import SvitError, TrainingError
from svit.train.objective import Batch


@dataclass
class LoadedBatch:
    """A batch as the workers hand it over.

    Attributes:
        batch: frames uint8, on the host.
        broken: one line per clip that could not be read.
    """

    batch: Batch
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


def load_batches(clips: Clips, share: Share, first: int, workers: int) -> Iterator[LoadedBatch]:
    """Batches from clip `first` on, without end, made by worker processes (0: by this one).

    Raises:
        DataError: too many clips in a row cannot be read.
        TrainingError: a worker was killed.
    """
    loader: DataLoader[Sample | SvitError] = DataLoader(
        _Numbered(clips),
        batch_sampler=_Endless(share, first),
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_prepare_worker,
        pin_memory=torch.cuda.is_available(),
    )
    batches = iter(loader)
    while True:
        try:
            loaded: LoadedBatch | SvitError = next(batches)
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
        yield loaded


def collate(samples: Sequence[Sample | SvitError]) -> LoadedBatch | SvitError:
    """Clips of one size and length as a batch; or what went wrong with the first that has none.

    An error is handed over, not raised: from a worker it would arrive with its traceback as its text.
    """
    frames, targets, ignore, broken = [], [], [], []
    for sample in samples:
        if isinstance(sample, SvitError):
            return sample
        clip = sample.clip
        frames.append(np.asarray(clip.frames))
        pairs = zip(clip.boxes, clip.classes, strict=True)
        targets.append([(torch.from_numpy(boxes), torch.from_numpy(classes)) for boxes, classes in pairs])
        ignore.append([torch.from_numpy(regions) for regions in clip.ignore])
        broken += sample.broken
    return LoadedBatch(
        Batch(torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3), targets, ignore), broken
    )


def to_device(batch: Batch, device: torch.device, size: tuple[int, int], settings: InputConfig) -> Batch:
    """The batch resized to (height, width), its frames normalised floats on the device."""
    frames = batch.frames.to(device, non_blocking=True)
    boxes = [[boxes for boxes, _ in clip] for clip in batch.targets]
    frames, boxes, ignore = resize_batch(frames, boxes, batch.ignore, size)
    mean, std = (
        torch.tensor(values).view(3, 1, 1).to(device, non_blocking=True)
        for values in (settings.mean, settings.std)
    )
    targets = [
        [(new, labels) for new, (_, labels) in zip(moved, clip, strict=True)]
        for moved, clip in zip(boxes, batch.targets, strict=True)
    ]
    return Batch((frames - mean) / std, targets, ignore)


class _Numbered(Dataset[Sample | SvitError]):
    """`Clips` as torch's loader asks for it."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    def __getitem__(self, number: int) -> Sample | SvitError:
        try:
            return self._clips[number]
        except SvitError as error:
            return error


class _Endless:
    """A batch sampler that goes on from a clip."""

    def __init__(self, share: Share, first: int) -> None:
        self._share, self._first = share, first

    def __iter__(self) -> Iterator[list[int]]:
        return self._share.numbers(self._first)


def _prepare_worker(worker: int) -> None:
    torch.set_num_threads(1)
    use_one_thread()
    # Ctrl-C and a scheduler's SIGTERM reach all processes of a run: the one that trains ends it, after a
    # checkpoint, and ends the workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
