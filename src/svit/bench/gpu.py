"""The rows of a GPU: the paper's step live and in chunks, chunks and cameras of the small model, training."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace

import torch

from svit.bench.alone import alone
from svit.bench.cameras import camera_rows
from svit.bench.chunk import chunk_row
from svit.bench.floor import Watch, synchronise, time_products, total_flop
from svit.bench.rows import Row, Say, Settings, timed_row
from svit.bench.step import StepCase, full_memory
from svit.bench.turns import Times

NAMES = {1: "gpu_base_live", 8: "gpu_base_offline"}
"""Frames at once -> row."""


def model_rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`gpu_base_live`, `gpu_base_offline`, `gpu_chunk`."""
    case = StepCase(precision="bf16", threads=settings.threads, device="cuda")
    if settings.quick:
        case = replace(case, preset="tiny", width=128, height=96, memory=2)
    for length in NAMES:
        yield _base_row(case, length, settings, say)
    row = chunk_row(settings, say, "bf16", "cuda")
    yield replace(row, name=f"gpu_{row.name}")


def stream_rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`gpu_cameras_1`, `gpu_cameras_4`, `gpu_cameras_16`."""
    for row in camera_rows(settings, say, "cuda"):
        yield replace(row, name=f"gpu_{row.name}")


def train_rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`gpu_train_clip`."""
    from svit.bench.training import TrainCase, train_row

    case = TrainCase(threads=settings.threads, device="cuda", precision="bf16")
    if settings.quick:
        case = replace(case, preset="tiny", size=64, frames=2)
    row = train_row(case, 1 if settings.quick else 3, say)
    yield replace(row, name=f"gpu_{row.name}")


def _base_row(case: StepCase, length: int, settings: Settings, say: Say) -> Row:
    say(f"GPU, {length} frames at once")
    done = alone(measure_base, case, length, 3 if settings.quick else 30).result
    row = timed_row(NAMES[length], f"a frame of {length} at once: {case}", done.times.seconds)
    median = statistics.median(done.times.seconds)
    flop = total_flop(done.times.products) / length
    return replace(
        row,
        peak_bytes=done.times.peak_bytes,
        floor_seconds=done.floor_seconds / length,
        details={
            "frames_per_second": 1 / median,
            "gflop": flop / 1e9,
            "matmul_ceiling_tflops": done.ceiling / 1e12,
            "ceiling_share": flop / median / done.ceiling,
            "host_synchronisations": float(done.synchronisations),
            "memory_bytes": float(done.times.memory_bytes),
        },
    )


class Measured:
    """What a GPU did.

    Attributes:
        times: seconds per frame, keys and values, products of one pass, peak memory.
        floor_seconds: those products alone, all frames of a pass.
        ceiling: operations per second of one large bf16 matrix product.
        synchronisations: how often the host waited inside encoder, pyramid and detector.
    """

    def __init__(self, times: Times, floor_seconds: float, ceiling: float, synchronisations: int) -> None:
        self.times, self.floor_seconds = times, floor_seconds
        self.ceiling, self.synchronisations = ceiling, synchronisations


@torch.no_grad()
def measure_base(case: StepCase, length: int, repeats: int) -> Measured:
    """Times passes of `length` frames with a full memory; needs a GPU."""
    model, frames = case.model(), case.frames(length)[None]
    memory = full_memory(model.encoder, frames[0, 0], case.memory)
    times = Times(memory_bytes=memory.nbytes)
    with Watch() as watch:
        _, memory = model.detect(frames, memory)
    times.products = watch.products
    for repeat in range(3 + repeats):
        synchronise(case.device)
        start = time.perf_counter()
        _, memory = model.detect(frames, memory)
        synchronise(case.device)
        if repeat >= 3:  # the first choose kernels
            times.seconds.append((time.perf_counter() - start) / length)
    times.peak_bytes = torch.cuda.max_memory_allocated()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        model.head_maps(frames, memory)
        torch.cuda.set_sync_debug_mode("default")
    waits = sum("synchroniz" in str(each.message) for each in caught)
    floor = statistics.median(time_products(times.products, 5, case.device))
    return Measured(times, floor, matmul_ceiling(), waits)


def matmul_ceiling(side: int = 8192, repeats: int = 20) -> float:
    """Operations per second of a square bf16 matrix product, at best."""
    left, right = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(3 + repeats):
        synchronise("cuda")
        start = time.perf_counter()
        left @ right
        synchronise("cuda")
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
