"""Attention over the memory: piece by piece it is what the plain formula says."""

from __future__ import annotations

import pytest
import torch
from benchmarks.reference import attend_columns, attend_rows
from torch import Tensor

from svit.model import attention
from svit.model.attention import attend_memory
from svit.model.slots import Recall

WINDOWS, HEADS, SIDE, SLOTS, CAPACITY, WIDTH = 3, 2, 4, 5, 7, 8


def plainly(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What the textbook way gives for one frame, in fp64; all (B, M, H, Y, frames, X, D)."""
    q, k, v = (list(t.double().flatten(0, 1).unbind(3)) for t in (query, keys, values))
    return (attend_rows(q[0], k, v) + attend_columns(q[0], k, v)).view(query.shape)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("piece_bytes", [1, 1500, 2**20])
@torch.no_grad()
def test_pieces_are_the_whole(
    dtype: torch.dtype, tolerance: float, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "PIECE_BYTES", piece_bytes)
    torch.manual_seed(0)
    query = torch.randn(2, WINDOWS, HEADS, SIDE, 1, SIDE, WIDTH).to(dtype)
    # Slots of a memory that is not full yet: a view with room behind it.
    keys, values = (
        torch.randn(2, WINDOWS, HEADS, SIDE, CAPACITY, SIDE, WIDTH).to(dtype).narrow(4, 0, SLOTS)
        for _ in "kv"
    )
    out = attend_memory(query, Recall(keys, values, None))
    torch.testing.assert_close(out.double(), plainly(query, keys, values), atol=tolerance, rtol=tolerance)
