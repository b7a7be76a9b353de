"""What stands for a frame: one token made from the encoder's last stage.

Shapes: B streams, T frames, Y X rows and columns of the map, N = Y X, H heads, C channels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from svit.errors import UsageError
from svit.model.encoder import Encoding


class FrameToken(nn.Module):
    """The mean of the last map, CLIP's class token, attention of a learned query, or the mean and the change.

    The map is that of the last output, after its norm. Pixels that only fill the frame up to whole patches
    count as they are. `change` adds to the mean a projection of how much the memory changed
    (`svit.model.change`).
    """

    def __init__(self, kind: Literal["mean", "cls", "attention", "change"], width: int, heads: int) -> None:
        super().__init__()
        self.kind = kind
        self.pool = AttentionPool(width, heads) if kind == "attention" else None
        self.change: nn.Linear | None = None
        if kind == "change":
            self.change = nn.Linear(width, width)
            nn.init.normal_(self.change.weight, std=width**-0.5)  # as large as the mean, or it is overlooked

    def forward(self, encoding: Encoding) -> Tensor:
        """(B, T, C)."""
        if self.kind == "cls":
            if encoding.class_token is None:
                raise UsageError("this encoder has no class token")
            return encoding.class_token
        last = encoding.stages[-1]
        if self.pool is not None:
            return self.pool(last)
        mean = last.mean((-2, -1))
        if self.change is None:
            return mean
        if encoding.change is None:
            raise UsageError("this encoder does not say what changed")
        return mean + self.change(encoding.change.to(mean.dtype))


class AttentionPool(nn.Module):
    """Multi-head attention of one learned query over a map.

    The query is the same for every frame, so its product with the key projection is a constant: the
    parameters are that product, one vector per head, and no key is ever computed.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.empty(heads, width))
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        nn.init.normal_(self.queries, std=width**-0.5)

    def forward(self, map_BTCYX: Tensor) -> Tensor:
        """(B, T, C, Y, X) -> (B, T, C)."""
        tokens = map_BTCYX.flatten(3)
        weights = (self.queries @ tokens).float().softmax(-1).to(tokens.dtype)  # (B, T, H, N)
        seen = weights @ tokens.transpose(-1, -2)  # (B, T, H, C)
        by_head = self.value.weight.unflatten(0, (self.heads, -1))  # (H, D, C)
        values = torch.einsum("bthc,hdc->bthd", seen, by_head).flatten(2) + self.value.bias
        return self.out(values)
