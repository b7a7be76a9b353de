"""How much a picture changed while it was remembered: what the frame token `change` is made of.

Shapes: B streams, T new frames, M windows, H heads, Y X rows and columns of a window, S recalled frames,
D head width, C = H D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from svit.model.slots import SLOT_DIM, Recall

_LEAST = 1e-6
"""Variance below which nothing changes: the root's slope at 0 is infinite."""


def change(recall: Recall) -> Tensor:
    """Per channel the standard deviation over the remembered frames, where in the picture it is largest.

    Of a block's values. People move in a small part of a picture, so the mean over it would hide them.
    The order of the frames does not matter, so slots are read as they lie; the mean that `merge` keeps of
    all that left counts as one frame. Of one frame alone the change is next to nothing.

    Args:
        recall: what T new frames attend to.

    Returns:
        (B, T, C) float32.
    """
    values = recall.values.float()
    if recall.visible is None:
        return _largest(_deviations(values).square().mean(SLOT_DIM)).unsqueeze(1)
    changes = []
    for seen in recall.visible.unbind(1):  # (1 or B, S)
        weights = (seen / seen.sum(-1, keepdim=True)).view(-1, 1, 1, 1, seen.shape[-1], 1, 1)
        changes.append(_largest((_deviations(values, weights).square() * weights).sum(SLOT_DIM)))
    return torch.stack(changes, 1)


def _deviations(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """From the mean over the frames. `torch.var` along this dimension takes forty times as long."""
    if weights is None:
        return values - values.mean(SLOT_DIM, keepdim=True)
    return values - (values * weights).sum(SLOT_DIM, keepdim=True)


def _largest(variance_BMHYXD: Tensor) -> Tensor:
    """(B, C). One dimension after the other: all at once takes thirty times as long."""
    return (variance_BMHYXD.amax(4).amax(3).amax(1) + _LEAST).sqrt().flatten(1)
