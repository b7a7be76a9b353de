"""Several cameras on one model: their frames go through it as one batch."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from svit.bench.alone import alone, in_turn, percentile
from svit.bench.floor import synchronise
from svit.bench.rows import Row, Say, Settings, timed_row
from svit.bench.sample import sample_input
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel
from svit.weights import DEFAULT_MODEL, load

CAMERAS = (1, 4, 16)


def camera_rows(settings: Settings, say: Say, device: str = "cpu") -> Iterator[Row]:
    """`cameras_1`, `cameras_4`, `cameras_16`: seconds until all cameras' frames are answered."""
    for cameras in CAMERAS:
        say(f"{cameras} cameras")
        repeats = 3 if settings.quick else max(20, 100 // cameras)
        done = alone(batch_and_singles, cameras, repeats, settings, device)
        seconds = done.result["batch"]
        what = f"{DEFAULT_MODEL}, one frame of each of {cameras} cameras, batched; reference: one by one"
        yield replace(
            timed_row(f"cameras_{cameras}", what, seconds),
            peak_bytes=done.peak_bytes,
            reference_seconds=statistics.median(done.result["singles"]),
            details={
                "frames_per_second": cameras / statistics.median(seconds),
                "latency_p50_seconds": statistics.median(seconds),
                "latency_p99_seconds": percentile(seconds, 0.99),
            },
        )


def batch_and_singles(cameras: int, repeats: int, settings: Settings, device: str) -> dict[str, list[float]]:
    """Seconds of each round of all cameras, as a batch and one by one, in turn, every memory full.

    The cameras see the sample clip, each from another frame on.
    """
    torch.set_num_threads(settings.threads)
    model = load(DEFAULT_MODEL, device)
    frames = sample_input(model, cameras, settings.quick)
    works = {"batch": Cameras(model, frames).look, "singles": Singles(model, frames).look}
    return in_turn(works, repeats, warm_up=model.config.encoder.memory)


class Cameras:
    """Cameras with one memory for all; each frame (B, 3, H, W) is shown over and over."""

    def __init__(self, model: VideoModel, frames: Tensor) -> None:
        self._model, self._frames = model, frames
        self._memory: StreamMemory | None = None

    def look(self) -> None:
        """One frame of each."""
        _, self._memory = self._model.detect(self._frames[:, None], self._memory)
        synchronise(self._frames.device.type)


class Singles:
    """The same cameras, each with a memory of its own, one after the other."""

    def __init__(self, model: VideoModel, frames: Tensor) -> None:
        self._cameras = [Cameras(model, frame[None]) for frame in frames]

    def look(self) -> None:
        """One frame of each."""
        for camera in self._cameras:
            camera.look()
