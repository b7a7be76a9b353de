"""In-frame attention and streaming T2D attention (paper section 3.2; semantics section 1).

Shapes: B streams, T frames, M windows, H heads, Y X rows and columns of a window, S recalled frames, D head
width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svit.model.layers import from_windows, to_windows
from svit.model.memory import Advance
from svit.model.slots import LayerMemory, Recall


class Attention(nn.Module):
    """Attention of a block: inside each window of a frame, and over its rows and columns through time.

    The temporal branch has its own query and output projections and a per-channel scale `alpha`; keys
    and values are shared with the in-frame branch.
    """

    def __init__(self, width: int, heads: int, window: int, *, temporal: bool, memory_gradient: bool) -> None:
        super().__init__()
        self.heads, self.window, self.temporal, self.memory_gradient = (
            heads,
            window,
            temporal,
            memory_gradient,
        )
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        if temporal:
            self.query_t = nn.Linear(width, width)
            self.out_t = nn.Linear(width, width)
            self.alpha = nn.Parameter(torch.full((width,), 1e-4))

    def forward(self, x_BTYXC: Tensor, advance: Advance, block: int) -> tuple[Tensor, LayerMemory | None]:
        """Normed tokens (B, T, Y, X, C) -> attention's output, same shape, and the block's next memory."""
        rows, columns = x_BTYXC.shape[2:4]
        windows = to_windows(x_BTYXC, self.window)
        query, key, value = (self._split_heads(t) for t in self.qkv(windows).chunk(3, dim=-1))
        out = self.out(_join_heads(attend_frame(query, key, value)))
        layer = None
        if self.temporal:
            out_t, layer = self._attend_memory(windows, key, value, advance, block)
            out = out + self.alpha * out_t
        return from_windows(out, rows, columns), layer

    def _attend_memory(
        self, windows: Tensor, key: Tensor, value: Tensor, advance: Advance, block: int
    ) -> tuple[Tensor, LayerMemory]:
        if not self.memory_gradient:
            key, value = key.detach(), value.detach()
        recall, layer = advance.recall(block, key, value)
        query = self._split_heads(self.query_t(windows))
        return self.out_t(_join_heads(attend_memory(query, recall))), layer

    def _split_heads(self, windows: Tensor) -> Tensor:
        """(B, T, M, Y, X, C) -> (B, M, H, Y, T, X, D)."""
        return windows.unflatten(-1, (self.heads, -1)).permute(0, 2, 5, 3, 1, 4, 6)


def _join_heads(x_BMHYTXD: Tensor) -> Tensor:
    """(B, M, H, Y, T, X, D) -> (B, T, M, Y, X, C)."""
    return x_BMHYTXD.permute(0, 4, 1, 3, 5, 2, 6).flatten(5)


def attend_frame(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Multi-head attention inside each window of each frame; all (B, M, H, Y, T, X, D)."""
    B, M, H, Y, T, X, D = query.shape
    q, k, v = (t.permute(0, 1, 4, 2, 3, 5, 6).reshape(B * M * T, H, Y * X, D) for t in (query, key, value))
    out = F.scaled_dot_product_attention(q, k, v)
    return out.view(B, M, T, H, Y, X, D).permute(0, 1, 3, 4, 2, 5, 6)


def attend_memory(query: Tensor, recall: Recall) -> Tensor:
    """T2D: each query attends to its row and, separately, to its column of all recalled frames; the sum.

    Args:
        query: (B, M, H, Y, T, X, D).
        recall: S frames of keys and values, and which of them each new frame may see.

    Returns:
        (B, M, H, Y, T, X, D). No temporal position: the order of the frames does not matter.
    """
    B, M, H, Y, T, X, D = query.shape
    grid = (B * M * H, Y, -1, D)
    row_mask, column_mask = _token_masks(recall.visible, M * H, Y, X)
    by_row = F.scaled_dot_product_attention(
        query.reshape(grid), recall.keys.reshape(grid), recall.values.reshape(grid), row_mask
    )
    q, k, v = (_by_column(t) for t in (query, recall.keys, recall.values))
    by_column = F.scaled_dot_product_attention(q, k, v, column_mask)
    out = by_row.view(B, M, H, Y, T, X, D)
    return out + by_column.view(B, M, H, X, Y, T, D).permute(0, 1, 2, 4, 5, 3, 6)


def _by_column(x_BMHYFXD: Tensor) -> Tensor:
    """(B, M, H, Y, F, X, D) -> (B*M*H, X, Y*F, D): a view when the slots lie side by side."""
    B, M, H, Y, S, X, D = x_BMHYFXD.shape
    return x_BMHYFXD.permute(0, 1, 2, 5, 3, 4, 6).reshape(B * M * H, X, Y * S, D)


def _token_masks(
    visible: Tensor | None, copies: int, rows: int, columns: int
) -> tuple[Tensor | None, Tensor | None]:
    """Frame visibility (1 or B, T, S) as token masks of the row (T X, S X) and column planes (Y T, Y S)."""
    if visible is None:
        return None, None
    B, T, S = visible.shape
    by_row = (
        visible[:, :, None, :, None].expand(B, T, columns, S, columns).reshape(B, 1, T * columns, S * columns)
    )
    by_column = visible[:, None, :, None, :].expand(B, rows, T, rows, S).reshape(B, 1, rows * T, rows * S)
    if B > 1:
        by_row, by_column = (m.repeat_interleave(copies, 0) for m in (by_row, by_column))
    return by_row, by_column
