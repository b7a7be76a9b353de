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
    if recall.visible is None:
        return _largest(recall.values.float().var(SLOT_DIM, unbiased=False)).unsqueeze(1)
    values, changes = recall.values.float(), []
    for seen in recall.visible.unbind(1):  # (1 or B, S)
        weights = (seen / seen.sum(-1, keepdim=True)).view(-1, 1, 1, 1, seen.shape[-1], 1, 1)
        mean = (values * weights).sum(SLOT_DIM, keepdim=True)
        changes.append(_largest(((values - mean).square() * weights).sum(SLOT_DIM)))
    return torch.stack(changes, 1)


def _largest(variance_BMHYXD: Tensor) -> Tensor:
    """(B, C)."""
    return (variance_BMHYXD.amax((1, 3, 4)) + _LEAST).sqrt().flatten(1)
