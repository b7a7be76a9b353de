"""In-frame attention and streaming T2D attention (paper section 3.2; semantics section 1).

Shapes: B streams, T frames, M windows, H heads, Y X rows and columns of a window, S recalled frames, D head
width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svit.model.change import change
from svit.model.layers import from_windows, to_windows
from svit.model.linear import Linear
from svit.model.memory import Advance
from svit.model.slots import LayerMemory, Recall

Masks = tuple[Tensor | None, Tensor | None]
"""Of the row and of the column plane: True where a query sees a key; None if it sees all."""


class Attended(NamedTuple):
    """What a block's attention gives.

    Attributes:
        tokens: (B, T, Y, X, C).
        class_token: (B, T, C), or None without a class token.
        layer: the block's next memory; None without temporal attention.
        recall: what the new frames attended to in it; None likewise.
        change: (B, T, C), see `svit.model.change`; None unless asked for.
    """

    tokens: Tensor
    class_token: Tensor | None
    layer: LayerMemory | None
    recall: Recall | None
    change: Tensor | None


class Attention(nn.Module):
    """Attention of a block: inside each window of a frame, and over its rows and columns through time.

    The temporal branch has its own query and output projections and a per-channel scale `alpha`; keys
    and values are shared with the in-frame branch.

    Attributes:
        says_change: also say how much changed over the remembered frames.
    """

    def __init__(self, width: int, heads: int, window: int, *, temporal: bool, memory_gradient: bool) -> None:
        super().__init__()
        self.heads, self.window, self.temporal, self.memory_gradient = (
            heads,
            window,
            temporal,
            memory_gradient,
        )
        self.says_change = False
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        if temporal:
            self.query_t = Linear(width, width)
            self.out_t = Linear(width, width)
            self.alpha = nn.Parameter(torch.full((width,), 1e-4))

    def forward(
        self, x_BTYXC: Tensor, advance: Advance, block: int, class_BTC: Tensor | None = None
    ) -> Attended:
        """Normed tokens (B, T, Y, X, C), and a normed class token (B, T, C) if there is one."""
        grid = x_BTYXC.shape[2:4]
        windows = to_windows(x_BTYXC, self.window)
        query, key, value = self.qkv(windows).chunk(3, dim=-1)
        own = None if class_BTC is None else self.qkv(class_BTC).chunk(3, dim=-1)
        # What only fills the windows is dropped before the projections: up to a fifth of their work.
        out = self.out(from_windows(attend_frame(query, key, value, self.heads, own), *grid))
        class_out = None
        if own is not None:
            seen = [from_windows(t, *grid).flatten(2, 3) for t in (key, value)]
            class_out = self.out(attend_class(own, seen[0], seen[1], self.heads))
        layer = recall = changed = None
        if self.temporal:
            seen_t, recall, layer, changed = self._attend_memory(windows, key, value, advance, block)
            out = torch.addcmul(out, self.alpha, self.out_t(from_windows(seen_t, *grid)))
        return Attended(out, class_out, layer, recall, changed)

    def _attend_memory(
        self, windows: Tensor, key: Tensor, value: Tensor, advance: Advance, block: int
    ) -> tuple[Tensor, Recall, LayerMemory, Tensor | None]:
        """What windows, keys and values (B, T, M, Y, X, C) recall, before its projection: the same shape."""
        if not self.memory_gradient:
            key, value = key.detach(), value.detach()
        query = self._split_heads(self.query_t(windows))
        seen, changes = [], []
        arrivals = advance.arrivals(block, self._split_heads(key), self._split_heads(value))
        for arrival in arrivals:  # attended to at once: what comes next may be written over it
            seen.append(attend_memory(query[:, :, :, :, arrival.frames], arrival.recall))
            changes += [change(arrival.recall)] if self.says_change else []
        joined = torch.cat(seen, 4) if len(seen) > 1 else seen[0]
        changed = torch.cat(changes, 1) if changes else None
        return _join_heads(joined), arrival.recall, arrival.layer, changed

    def _split_heads(self, windows: Tensor) -> Tensor:
        """(B, T, M, Y, X, C) -> (B, M, H, Y, T, X, D)."""
        return windows.unflatten(-1, (self.heads, -1)).permute(0, 2, 5, 3, 1, 4, 6)


def _join_heads(x_BMHYTXD: Tensor) -> Tensor:
    """(B, M, H, Y, T, X, D) -> (B, T, M, Y, X, C)."""
    return x_BMHYTXD.permute(0, 4, 1, 3, 5, 2, 6).flatten(5)


def attend_frame(
    query: Tensor, key: Tensor, value: Tensor, heads: int, class_token: tuple[Tensor, ...] | None = None
) -> Tensor:
    """Multi-head attention inside each window of each frame; all (B, T, M, Y, X, C).

    Every window also sees the frame's class token, of which query, key and value (B, T, C) are given.
    """
    B, T, M, Y, X, C = query.shape
    q, k, v = (t.flatten(3, 4).flatten(0, 2) for t in (query, key, value))  # views: nothing is copied
    if class_token is not None:
        _, own_k, own_v = (t[:, :, None].expand(B, T, M, C).reshape(-1, 1, C) for t in class_token)
        k, v = torch.cat([k, own_k], 1), torch.cat([v, own_v], 1)
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return attend(q, k, v).transpose(1, 2).reshape(B, T, M, Y, X, C)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V of (batch, heads, N, D); `mask` is True where a query sees a key."""
    if query.device.type == "cpu" and torch.is_grad_enabled():
        return _attend_plainly(query, key, value, mask)
    if query.device.type == "cpu" and query.dtype != torch.float32 and mask is None:
        return _attend_in_pieces(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, mask)


def _attend_plainly(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same by plain products, which a CPU trains faster than its fused kernel with its slow backward."""
    # One batch dimension: where that needs a copy, the product would make a slower one.
    q, k, v = (t.flatten(0, 1) for t in (query * query.shape[-1] ** -0.5, key, value))
    scores = torch.bmm(q, k.transpose(1, 2))
    if mask is not None:
        scores = scores.view(*query.shape[:2], *scores.shape[1:]).masked_fill(~mask, -torch.inf).flatten(0, 1)
    return torch.bmm(scores.softmax(-1).to(v.dtype), v).view_as(query)


PIECE_BYTES = 3 * 2**20
"""Keys of a piece: with its values and weights they stay in a core's share of the cache."""


def _attend_in_pieces(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same in parts of the batch: in half precision a CPU's fused kernel is no faster than in fp32."""
    # Their weights count as well: written whole, a frame's would be fresh memory each time.
    weights_bytes = query[..., 0].nbytes * key.shape[-2]
    seen = [_attend_plainly(*piece) for piece in _pieces(query, key, value, size=weights_bytes)]
    return torch.cat(seen) if len(seen) > 1 else seen[0]


def _pieces(*tensors: Tensor, size: int = 0) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of one batch, cut along it into pieces of about `PIECE_BYTES`.

    That is of the largest tensor, or of what has `size` bytes for the whole batch if it is larger.
    """
    size = max(size, *(t.nbytes for t in tensors))
    return zip(*(t.chunk(max(1, size // PIECE_BYTES)) for t in tensors), strict=True)


def attend_class(class_token: tuple[Tensor, ...], keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """A class token's attention over itself and all tokens of its frame, whatever the windows: (B, T, C).

    Its query, key and value are (B, T, C), the tokens' keys and values (B, T, N, C) without padding.
    """
    query, own_key, own_value = (t.unsqueeze(2) for t in class_token)
    parts = (query, torch.cat([own_key, keys], 2), torch.cat([own_value, values], 2))
    q, k, v = (t.flatten(0, 1).unflatten(-1, (heads, -1)).transpose(1, 2) for t in parts)
    out = F.scaled_dot_product_attention(q, k, v)  # (B T, H, 1, D)
    return out.flatten(1).unflatten(0, query.shape[:2])


def attend_memory(query: Tensor, recall: Recall) -> Tensor:
    """T2D: each query attends to its row and, separately, to its column of all recalled frames; the sum.

    Args:
        query: (B, M, H, Y, T, X, D).
        recall: S frames of keys and values, and which of them each new frame may see.

    Returns:
        (B, M, H, Y, T, X, D). No temporal position: the order of the frames does not matter.
    """
    _, M, H, Y, _, X, _ = query.shape
    masks = _token_masks(recall.visible, M * H, Y, X)
    q, k, v = (t.flatten(0, 2) for t in (query, recall.keys, recall.values))
    if query.device.type != "cpu" or torch.is_grad_enabled() or recall.visible is not None:
        return _attend_planes(q, k, v, masks).view_as(query)
    # Piece by piece, because of memory: the columns find in the cache what the rows have brought there.
    out = torch.empty_like(q)
    for part, keys, values, into in _pieces(q, k, v, out):
        into.copy_(_attend_planes(part, keys, values, masks))
    return out.view_as(query)


def _attend_planes(query: Tensor, key: Tensor, value: Tensor, masks: Masks) -> Tensor:
    """Both planes of queries (N, Y, T, X, D) over keys and values (N, Y, S, X, D); as the queries."""
    N, Y, T, X, D = query.shape
    q, k, v = (t.flatten(2, 3) for t in (query, key, value))
    by_row = attend(q, k, v, masks[0]).view_as(query)
    # (N, X, Y T, D): views where the slots lie side by side
    q, k, v = (t.permute(0, 3, 1, 2, 4).flatten(2, 3) for t in (query, key, value))
    by_column = attend(q, k, v, masks[1])
    return by_row + by_column.view(N, X, Y, T, D).permute(0, 2, 3, 1, 4)


def _token_masks(visible: Tensor | None, copies: int, rows: int, columns: int) -> Masks:
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
