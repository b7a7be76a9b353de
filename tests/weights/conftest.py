"""Tests of checkpoints work on small tensors, where a second thread costs more than it gives."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread(_deterministic: None) -> None:
    torch.set_num_threads(1)  # `_deterministic` sets it back for every other test
