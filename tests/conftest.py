"""What every test gets: one thread, fixed seeds, and the data beside the project where it is there."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
THREADS = 1

# For the processes that tests start; in this one torch is told below.
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    """Fix the seeds and the number of threads, without importing torch for tests that do not."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (guards against code that draws from the global generator)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
        torch.set_num_threads(THREADS)


@pytest.fixture
def pretend_processor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`pretend_processor(vendor, *flags)`: what the model and `--precision auto` take the processor to be."""
    from svit.processor import Processor

    def pretend(vendor: str, *flags: str) -> None:
        pretended = Processor("", vendor, frozenset(flags))
        for module in ("svit.model.linear", "svit.weights.device"):
            monkeypatch.setattr(f"{module}.processor", lambda: pretended)

    return pretend


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of fixtures and data that stands beside the project; the test is skipped without it."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"needs the fixtures and data beside the project: {path} is not there")
    return path
