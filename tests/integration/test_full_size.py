"""The paper's model at the paper's size, on a small machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_base_at_800x1440_with_32_frames_of_memory_needs_less_than_16_gib() -> None:
    command = [sys.executable, "-m", "benchmarks.step", "--frames", "2", "--only", "detect"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured = json.loads(run.stdout)
    assert measured["memory"] > 12, "the memory is not that of 32 frames"
    assert measured["peak"] < 16
