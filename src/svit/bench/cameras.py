"""Several cameras on one model: their frames go through it as one batch."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace

import torch

from svit.bench.alone import alone, in_turn, percentile
from svit.bench.rows import Row, Say, Settings, timed_row
from svit.bench.sample import sample_frames
from svit.stream import Stream
from svit.stream_batch import StreamBatch
from svit.weights import DEFAULT_MODEL, load

CAMERAS = (1, 4, 16)


def camera_rows(settings: Settings, say: Say, device: str = "cpu") -> Iterator[Row]:
    """`cameras_1`, `cameras_4`, `cameras_16`: seconds until all cameras' frames are answered."""
    for cameras in CAMERAS:
        say(f"{cameras} cameras")
        repeats = 3 if settings.quick else max(10, 100 // cameras)
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

    From the picture to the tracks. The cameras see the sample clip, each another frame of it, over and over.
    """
    torch.set_num_threads(settings.threads)
    model = load(DEFAULT_MODEL, device)
    if settings.quick:
        small = model.config.input.model_copy(update={"short_side": 96, "long_side": 128})
        model.config = model.config.model_copy(update={"input": small})
    pictures = {number: frame.image for number, frame in enumerate(sample_frames(cameras))}
    batch, singles = StreamBatch(model), {number: Stream(model) for number in pictures}

    def one_by_one() -> None:
        for number, picture in pictures.items():
            singles[number].step(picture)

    works = {"batch": lambda: batch.step(pictures), "singles": one_by_one}
    return in_turn(works, repeats, warm_up=model.config.encoder.memory)
