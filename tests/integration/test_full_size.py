"""The paper's model at the paper's size, on a small machine."""

import pytest

from svit.bench.alone import GIB, alone
from svit.bench.step import StepCase, our_step


@pytest.mark.slow
def test_base_at_800x1440_with_32_frames_of_memory_needs_less_than_16_gib() -> None:
    measured = alone(our_step, StepCase(threads=1), 2)
    assert measured.result.memory_bytes > 12 * GIB, "the memory is not that of 32 frames"
    assert measured.peak_bytes < 16 * GIB
