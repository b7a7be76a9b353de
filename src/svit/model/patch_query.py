"""A query that reads the patches of the memory: keys and values that the encoder keeps anyway.

As in EVL (arXiv 2208.03550), which reads a frozen CLIP's last blocks, but from the stream's memory. Every
frame of the memory is seen and none is told by its age, so its length stays free.

Shapes: B streams, R frames that are asked for, S recalled frames, M windows, H heads, Y X rows and columns of
a window, P = Y S X, D head width, W channels of the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from svit.config import ModelConfig
from svit.model.layers import DropPath, LayerNorm
from svit.model.slots import Recall


@dataclass(frozen=True)
class PatchPlan:
    """Which frames are asked for.

    Attributes:
        at: (R,) numbers among the new frames.
        lengths: (B,) the newest frames that may be seen; None is all. Only for clips from an empty memory.
    """

    at: Tensor
    lengths: Tensor | None

    def visible(self, recall: Recall) -> Tensor:
        """(1 or B, R, S) bool: the recalled frames that each frame of `at` sees."""
        frames = recall.keys.shape[4]
        if recall.visible is None:
            visible = torch.ones(1, len(self.at), frames, dtype=torch.bool, device=self.at.device)
        else:
            visible = recall.visible[:, self.at]
        if self.lengths is None:
            return visible
        # Of an empty memory the sources are the clip's frames, then means of merged ones (`SlotPlan`).
        at, length = self.at[:, None], self.lengths[:, None, None]
        source = torch.arange(frames, device=self.at.device)
        recent = (source > at - length) & (source <= at)
        return visible & (recent | (at < length))


class PatchLayer(nn.Module):
    """Pre-norm layer: attention over one block's memory, then an MLP of four times the width."""

    def __init__(self, config: ModelConfig, drop_path: float) -> None:
        super().__init__()
        assert config.action is not None
        width, keys, dropout = config.action_size[0], config.encoder.width, config.action.dropout
        self.heads = config.encoder.heads
        self.norm1, self.query, self.out = LayerNorm(width), nn.Linear(width, keys), nn.Linear(keys, width)
        self.norm2 = LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout, self.drop_path = nn.Dropout(dropout), DropPath(drop_path)

    def forward(self, x_BRW: Tensor, recall: Recall, visible: Tensor) -> Tensor:
        """(B, R, W) -> the same shape."""
        query = self.query(self.norm1(x_BRW)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        attended = read_patches(query, recall, visible).transpose(1, 2).flatten(2)
        x = x_BRW + self.drop_path(self.dropout(self.out(attended)))
        return x + self.drop_path(self.dropout(self.mlp(self.norm2(x))))


class PatchQuery(nn.Module):
    """One learned query that goes from block to block, reading the memory of each."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.action is not None
        depth = config.action.layers
        self.class_token = nn.Parameter(torch.empty(config.action_size[0]))
        self.layers = nn.ModuleList(
            PatchLayer(config, config.action.drop_path * i / max(depth - 1, 1)) for i in range(depth)
        )

    def forward(self, recalls: list[Recall], plan: PatchPlan) -> Tensor:
        """What the last blocks recalled, in order -> one vector per frame that is asked for (B, R, W)."""
        x = self.class_token.expand(len(recalls[0].keys), len(plan.at), -1)
        for layer, recall in zip(self.layers, recalls, strict=True):
            x = layer(x, recall, plan.visible(recall))
        return x


def read_patches(query_BHRD: Tensor, recall: Recall, visible: Tensor) -> Tensor:
    """Attention over all patches of the visible frames: (B, H, R, D).

    The memory is read where it lies: a transposed copy would cost more than the attention.
    """
    keys, values = (t.flatten(3, 5).to(query_BHRD.dtype) for t in (recall.keys, recall.values))  # (B M H P D)
    Y, _, X = recall.keys.shape[3:6]
    scores = (query_BHRD * query_BHRD.shape[-1] ** -0.5).unsqueeze(1) @ keys.transpose(-1, -2)  # (B M H R P)
    seen = visible[:, None, None, :, None, :, None].expand(-1, -1, -1, -1, Y, -1, X).flatten(4)
    scores = scores.float().masked_fill(~seen, -torch.inf)
    weights = scores.transpose(1, 3).transpose(1, 2)  # (B H R M P): windows share one softmax
    weights = weights.flatten(3).softmax(-1).view(weights.shape).permute(0, 3, 1, 2, 4)
    return (weights.to(values.dtype) @ values).sum(1)
