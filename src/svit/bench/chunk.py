"""Frames of a recording in chunks, beside the same frames one by one."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

import numpy as np
import supervision as sv
import torch
from torch import Tensor

from svit.bench.alone import alone, in_turn
from svit.bench.floor import synchronise
from svit.bench.rows import Row, Say, Settings, timed_row
from svit.bench.sample import sample_input
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel
from svit.weights import DEFAULT_MODEL, load


@dataclass
class Walk:
    """A stream through a recording, over and over, in pieces of some frames."""

    model: VideoModel
    pieces: tuple[Tensor, ...]
    memory: StreamMemory | None = None

    def go(self) -> list[sv.Detections]:
        """Once through the recording; what is found in each frame."""
        found = []
        for piece in self.pieces:
            detections, self.memory = self.model.detect(piece[None], self.memory)
            found += detections[0]
        synchronise(piece.device.type)
        return found


def chunk_row(settings: Settings, say: Say, device: str = "cpu") -> Row:
    """`chunk`: seconds per frame in chunks; the reference is steps."""
    say("chunks and steps")
    length, chunks, repeats = (4, 2, 2) if settings.quick else (8, 4, 8)
    done = alone(chunks_and_steps, length, chunks, repeats, settings, device)
    seconds, difference = done.result
    frames = length * chunks
    what = f"{DEFAULT_MODEL} on its sample clip, a frame of chunks of {length}; reference: frame by frame"
    return replace(
        timed_row("chunk", what, [each / frames for each in seconds["chunk"]]),
        peak_bytes=done.peak_bytes,
        reference_seconds=statistics.median(seconds["step"]) / frames,
        details={"box_difference_pixels": difference},
    )


def chunks_and_steps(
    length: int, chunks: int, repeats: int, settings: Settings, device: str
) -> tuple[dict[str, list[float]], float]:
    """Seconds of going through the frames in both ways, in turn, and the largest difference of a box."""
    torch.set_num_threads(settings.threads)
    model = load(DEFAULT_MODEL, device)
    frames = sample_input(model, length * chunks, settings.quick)
    walks = {"chunk": Walk(model, frames.split(length)), "step": Walk(model, frames.split(1))}
    found = [walk.go() for walk in walks.values()]
    works = {name: walk.go for name, walk in walks.items()}
    return in_turn(works, repeats), largest_difference(*found)


def largest_difference(left: list[sv.Detections], right: list[sv.Detections]) -> float:
    """Largest difference of a coordinate, pixels; infinite where the number of boxes differs."""
    if [len(each) for each in left] != [len(each) for each in right]:
        return float("inf")
    return max(float(np.abs(a.xyxy - b.xyxy).max(initial=0)) for a, b in zip(left, right, strict=True))
