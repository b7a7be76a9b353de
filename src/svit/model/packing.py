"""Keys and values in 8 bits: what a memory may store of them, in about half the bytes of bf16.

A head's part of a token is packed by itself: D steps of 1/127 of its largest magnitude, one byte each, and
behind them the two bytes of the step's size in bf16. So a packed tensor is one tensor, of type int8, that is
sliced, copied, joined and saved like any other; of zeros it unpacks to zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 127
"""Steps from zero to the largest magnitude."""

SCALE_BYTES = 2
"""Bytes of a step's size. Rounding it to bf16 loses nothing: steps are counted in the rounded size."""


def pack(x: Tensor) -> Tensor:
    """(..., D) of any floating type -> (..., D + 2) int8. What is not finite unpacks to NaN."""
    x = x.float()
    scale = (x.abs().amax(-1) / STEPS).bfloat16().contiguous().unsqueeze(-1)
    divisor = scale.float().clamp(min=torch.finfo(torch.float32).tiny)
    steps = (x / divisor).round_().clamp_(-STEPS, STEPS)
    return torch.cat([steps.to(torch.int8), scale.view(torch.int8)], -1)


def unpack(packed: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
    """(..., D + 2) int8 -> (..., D) of `dtype`, in `out` where that is given."""
    steps, scale = packed.split([packed.shape[-1] - SCALE_BYTES, SCALE_BYTES], -1)
    scale = scale.clone(memory_format=torch.contiguous_format).view(torch.bfloat16)
    if out is None:
        out = torch.empty(steps.shape, dtype=dtype, device=packed.device)
    return out.copy_(steps).mul_(scale.to(dtype))


def mean(a: Tensor, b: Tensor) -> Tensor:
    """The mean of two tensors of keys or values, packed if they are."""
    if a.dtype != torch.int8:
        return (a + b) / 2
    return pack((unpack(a, torch.float32) + unpack(b, torch.float32)) / 2)


def merge_into(a: Tensor, b: Tensor) -> None:
    """Makes `a` the mean of both where it lies: a new tensor would be fresh memory for every frame."""
    if a.dtype == torch.int8:
        a.copy_(mean(a, b))
    else:
        a.add_(b).div_(2)
