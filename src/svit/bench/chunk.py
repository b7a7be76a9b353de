"""Frames of a recording in chunks, beside the same frames one by one."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import supervision as sv
import torch
from torch import Tensor

from svit.bench.alone import alone, in_turn
from svit.bench.floor import synchronise
from svit.bench.rows import Row, Say, Settings, timed_row
from svit.bench.sample import sample_input
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel
from svit.stream import CHUNK
from svit.weights import DEFAULT_MODEL, Precision, load
from svit.weights.device import multiplies_bf16

LENGTHS = {"cpu": CHUNK, "cuda": 8}
"""Frames at once; on a CPU those that `svit track` takes of a recording."""


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


def rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`chunk` in bf16 where the processor multiplies it, then `chunk_fp32` too."""
    if multiplies_bf16():
        yield chunk_row(settings, say, "bf16")
        yield replace(chunk_row(settings, say), name="chunk_fp32")
    else:
        yield chunk_row(settings, say)


def chunk_row(settings: Settings, say: Say, precision: Precision = "fp32", device: str = "cpu") -> Row:
    """`chunk`: seconds per frame in chunks; the reference is steps."""
    say("chunks and steps")
    length, chunks, repeats = (4, 2, 2) if settings.quick else (LENGTHS[device], 4, 5)
    done = alone(chunks_and_steps, length, chunks, repeats, settings, device, precision)
    seconds, difference = done.result
    frames = length * chunks
    clip = f"{DEFAULT_MODEL} in {precision} on its sample clip"
    what = f"{clip}, a frame of chunks of {length}; reference: frame by frame"
    return replace(
        timed_row("chunk", what, [each / frames for each in seconds["chunk"]]),
        peak_bytes=done.peak_bytes,
        reference_seconds=statistics.median(seconds["step"]) / frames,
        details={"box_difference_pixels": difference},
    )


def chunks_and_steps(
    length: int, chunks: int, repeats: int, settings: Settings, device: str, precision: Precision
) -> tuple[dict[str, list[float]], float]:
    """Seconds of going through the frames in both ways, in turn, and the largest difference of a box.

    Of those that a tracker looks at: which of many faint boxes is dropped is chance in bf16.
    """
    torch.set_num_threads(settings.threads)
    model = load(DEFAULT_MODEL, device, precision)
    frames = sample_input(model, length * chunks, settings.quick)
    walks = {"chunk": Walk(model, frames.split(length)), "step": Walk(model, frames.split(1))}
    found = [walk.go() for walk in walks.values()]
    works = {name: walk.go for name, walk in walks.items()}
    return in_turn(works, repeats), largest_difference(found[0], found[1], model.config.tracker.low)


def largest_difference(left: list[sv.Detections], right: list[sv.Detections], low: float) -> float:
    """Largest difference of a coordinate of boxes of at least `low`, pixels; infinite if not as many."""
    pairs = [(_clear(a, low), _clear(b, low)) for a, b in zip(left, right, strict=True)]
    if any(len(a) != len(b) for a, b in pairs):
        return float("inf")
    return max(float(np.abs(a - b).max(initial=0)) for a, b in pairs)


def _clear(found: sv.Detections, low: float) -> npt.NDArray[np.number]:
    """Boxes of at least that score."""
    assert found.confidence is not None
    return found.xyxy[found.confidence >= low]
