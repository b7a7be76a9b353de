"""A stream may run for ever: nothing grows and nothing slows down."""

import resource
import statistics
import time
from pathlib import Path

import torch
from tests.model.small import random_frames, small_encoder

from svit.model.memory import StreamMemory

STEPS = 10_000
MAX_GROWTH = 8 * 2**20  # bytes; keeping every frame's keys and values would take 18 MiB
MAX_SLOWDOWN = 3.0  # other work on the machine may slow any third of the run


def resident_bytes() -> int:
    """Resident memory of this process: now where Linux tells it, else the most it ever was."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@torch.no_grad()
def test_bytes_and_time_per_step_stay_flat() -> None:
    structure = {"depth": 1, "residual_blocks": (), "outputs": (0,), "window": 2, "heads": 1, "width": 16}
    encoder = small_encoder("base", **structure)
    frames = random_frames(encoder, frames=8, grid=(3, 3))
    memory = StreamMemory(4)
    seconds, held, resident = [], set(), {}
    for step in range(STEPS):
        if step in (STEPS // 10, STEPS - 1):  # the first steps fill the memory and the allocator's pools
            resident[step] = resident_bytes()
        start = time.perf_counter()
        stages, memory = encoder(frames[:, step % 8, None], memory)
        seconds.append(time.perf_counter() - start)
        held.add(memory.nbytes)
    assert memory.frames_seen == STEPS
    assert len(held) == 1
    assert bool(torch.isfinite(stages[0]).all())
    early, late = resident.values()
    assert late - early < MAX_GROWTH
    third = STEPS // 3
    assert statistics.median(seconds[-third:]) < MAX_SLOWDOWN * statistics.median(seconds[:third])
