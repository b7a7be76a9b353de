"""What every test of the training gets: an engine that no test before has set up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from accelerate.state import AcceleratorState


@pytest.fixture(autouse=True)
def _new_engine() -> Iterator[None]:
    """Accelerate keeps the first precision that a process asks for; each test is to ask anew."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
