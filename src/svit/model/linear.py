"""Linear layers, whose fp32 products an AMD processor computes by oneDNN.

On a CPU torch multiplies fp32 by MKL, which does not use all that an AMD processor can do: with AVX-512,
oneDNN is about twice as fast (docs/performance.md). torch takes it for bf16 and for convolutions by itself,
for fp32 products only in what its compiler writes; the operation here is the one that the compiler calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from svit.processor import processor


class Linear(nn.Linear):
    """`torch.nn.Linear`, as fast as the processor allows."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor, scale: float = 1.0) -> Tensor:
    """A linear layer whose product counts `scale` times: scale * x W^T + b.

    Args:
        x: (..., inputs).
        weight: W, (outputs, inputs).
        bias: b, (outputs).
        scale: of the product.

    Returns:
        (..., outputs).
    """
    rows = x.reshape(-1, x.shape[-1])
    if _by_onednn(rows, weight):
        out: Tensor = _Linear.apply(rows, weight if scale == 1 else scale * weight, bias)
    else:
        out = torch.addmm(bias, rows, weight.t(), alpha=scale)
    return out.view(*x.shape[:-1], weight.shape[0])


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is the faster one: for fp32 on an AMD CPU."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0  # of nothing it makes no gradient
        and processor().vendor == "AuthenticAMD"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # not in every build of torch
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()  # which chooses itself
    )


class _Linear(torch.autograd.Function):
    """x W^T + b of x (N, inputs), forwards and backwards by oneDNN."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return multiply_by_onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch types no ctx
        (grad,), (x, weight), wanted = grads, ctx.saved_tensors, ctx.needs_input_grad
        return (
            multiply_by_onednn(grad, weight.t()) if wanted[0] else None,
            multiply_by_onednn(grad.t(), x.t()) if wanted[1] else None,
            grad.sum(0) if wanted[2] else None,
        )


def multiply_by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows (N, inputs) times a weight (outputs, inputs), fp32 on a CPU, and a bias: (N, outputs)."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out
