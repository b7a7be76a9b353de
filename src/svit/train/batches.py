"""From clips to what the model takes: batches by number, then frames and boxes on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from svit.config import InputConfig
from svit.data.augment.multiscale import resize_batch
from svit.data.clips import Clips, Sample
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


def load_batches(clips: Clips, share: Share, first: int, workers: int) -> DataLoader[LoadedBatch]:
    """Batches from clip `first` on, made by worker processes (0: by this one)."""
    return DataLoader(
        _Numbered(clips),
        batch_sampler=_Endless(share, first),
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_one_thread,
        pin_memory=torch.cuda.is_available(),
    )


def collate(samples: Sequence[Sample]) -> LoadedBatch:
    """Clips of one size and length as a batch."""
    frames = np.stack([np.asarray(sample.clip.frames) for sample in samples])
    targets, ignore = [], []
    for clip in (sample.clip for sample in samples):
        pairs = zip(clip.boxes, clip.classes, strict=True)
        targets.append([(torch.from_numpy(boxes), torch.from_numpy(classes)) for boxes, classes in pairs])
        ignore.append([torch.from_numpy(regions) for regions in clip.ignore])
    broken = [line for sample in samples for line in sample.broken]
    return LoadedBatch(Batch(torch.from_numpy(frames).permute(0, 1, 4, 2, 3), targets, ignore), broken)


def to_device(batch: Batch, device: torch.device, size: tuple[int, int], settings: InputConfig) -> Batch:
    """The batch on the device, resized to (height, width), its frames normalised floats."""
    frames = batch.frames.to(device, non_blocking=True)
    boxes = [[boxes for boxes, _ in clip] for clip in batch.targets]
    frames, boxes, ignore = resize_batch(frames, boxes, batch.ignore, size)
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (settings.mean, settings.std))
    targets = [
        [(new.to(device), labels.to(device)) for new, (_, labels) in zip(moved, clip, strict=True)]
        for moved, clip in zip(boxes, batch.targets, strict=True)
    ]
    return Batch((frames - mean) / std, targets, [[i.to(device) for i in clip] for clip in ignore])


class _Numbered(Dataset[LoadedBatch]):
    """`Clips` as torch's loader asks for it."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    def __getitem__(self, number: int) -> Sample:  # type: ignore[override]  # collated by the loader
        return self._clips[number]


class _Endless:
    """A batch sampler that goes on from a clip."""

    def __init__(self, share: Share, first: int) -> None:
        self._share, self._first = share, first

    def __iter__(self) -> Iterator[list[int]]:
        return self._share.numbers(self._first)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
