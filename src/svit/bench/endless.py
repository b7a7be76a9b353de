"""A stream that does not end: nothing may grow and nothing may slow down."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from svit.bench.alone import alone, percentile, resident_bytes
from svit.bench.rows import Row, Say, Settings, timed_row
from svit.model.video_model import VideoModel, build
from svit.stream import Stream

SAMPLES = 200
"""How often resident memory is looked at."""


@dataclass(frozen=True)
class Course:
    """What was seen of a stream once it had settled: without its first tenth.

    Attributes:
        seconds: of each step.
        resident: bytes of the process, at equal distances.
    """

    seconds: list[float]
    resident: list[int]


def endless_row(settings: Settings, say: Say) -> Row:
    """`endless`: seconds per step of a small model; growth of memory and time from the first to the last."""
    steps = min(settings.steps, 400) if settings.quick else settings.steps
    say(f"{steps} steps of an endless stream")
    done = alone(watch_stream, steps, settings.threads)
    seconds, resident = done.result.seconds, done.result.resident
    median = statistics.median(seconds)
    return replace(
        timed_row("endless", f"one of {steps} steps of a stream through a very small model", seconds),
        peak_bytes=done.peak_bytes,
        details={
            "steps": float(steps),
            "latency_p50_seconds": median,
            "latency_p99_seconds": percentile(seconds, 0.99),
            "p99_over_p50": percentile(seconds, 0.99) / median,
            "growth_bytes_per_1000_steps": slope(resident) * len(resident) / (0.9 * steps) * 1000,
            "growth_of_time": drift(seconds),
        },
    )


def watch_stream(steps: int, threads: int) -> Course:
    """Runs a stream and looks at the clock after each step and at the memory now and then."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    stream = Stream(small_model())
    pictures = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), dtype=np.uint8)
    settled, every = steps // 10, max(1, steps // SAMPLES)
    seconds = np.full(steps, np.nan)  # written to now, so that what is measured with does not itself grow
    resident = []
    for step in range(steps):
        start = time.perf_counter()
        stream.step(pictures[step % len(pictures)])
        seconds[step] = time.perf_counter() - start
        if step >= settled and step % every == 0:
            resident.append(resident_bytes())
    return Course(seconds[settled:].tolist(), resident)


def small_model() -> VideoModel:
    """The structure of `tiny` with a tenth of its width: a step is mostly Python and launching."""
    return build(
        "tiny",
        encoder__width=24,
        encoder__window=3,
        encoder__depth=3,
        encoder__residual_blocks=(0, 1, 2),
        encoder__outputs=(0, 1, 2),
        detector__width=8,
        input={"short_side": 48, "long_side": 64},
    )


def slope(values: list[int]) -> float:
    """Least-squares growth from one value to the next."""
    return float(np.polyfit(np.arange(len(values)), np.asarray(values, float), 1)[0])


def drift(seconds: list[float]) -> float:
    """How much longer the last fifth of the steps took than the first, by medians: 0 is flat, 1 is twice."""
    fifth = max(1, len(seconds) // 5)
    return statistics.median(seconds[-fifth:]) / statistics.median(seconds[:fifth]) - 1
