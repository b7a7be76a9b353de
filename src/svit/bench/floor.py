"""The floor under a computation: its matrix products and convolutions alone, nothing between them.

One run is watched and the shapes of its products are written down; then each is timed by itself on tensors
that are already there. Of fused attention the two products count, queries with keys and weights with values.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from svit.model.linear import multiply_by_onednn

SINGLE = {"aten::mm": 0, "aten::bmm": 0, "aten::addmm": 1, "aten::baddbmm": 1, "mkldnn::_linear_pointwise": 0}
"""Matrix products, and which argument is their first factor; of the last, the second factor is turned."""


@dataclass(frozen=True)
class Operand:
    """Size, layout and type of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        """That of a tensor."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    @classmethod
    def dense(cls, shape: Sequence[int], dtype: torch.dtype) -> Operand:
        """That of a contiguous tensor."""
        strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
        return cls(tuple(shape), strides, dtype)

    def make(self, device: str) -> Tensor:
        """Such a tensor, its memory touched: untouched pages would all be one page of zeros."""
        size = 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        return torch.full((size,), 0.01, dtype=self.dtype, device=device).as_strided(self.shape, self.stride)


@dataclass(frozen=True)
class Product:
    """One matrix product (batched or not) or convolution.

    Attributes:
        factors: the two tensors.
        result: the outcome's size.
        by_onednn: a matrix product of `svit.model.linear`, whose second factor is (columns, inner).
        convolution: stride, padding, dilation, transposed, output padding, groups; None of a matrix product.
    """

    factors: tuple[Operand, Operand]
    result: tuple[int, ...]
    by_onednn: bool = False
    convolution: tuple[Any, ...] | None = None

    @property
    def flop(self) -> int:
        """Multiplications and additions."""
        left, right = (factor.shape for factor in self.factors)
        inner = left[-1] if self.convolution is None else math.prod(right[1:])
        return 2 * math.prod(self.result) * inner

    def prepare(self, device: str) -> Callable[[], object]:
        """The product as a call, on tensors made now."""
        left, right = (factor.make(device) for factor in self.factors)
        if self.convolution is not None:
            options = self.convolution
            return lambda: torch.ops.aten.convolution(left, right, None, *options)
        if self.by_onednn:
            return lambda: multiply_by_onednn(left, right)
        out = torch.zeros(self.result, dtype=left.dtype, device=device)
        multiply = torch.mm if left.ndim == 2 else torch.bmm
        return lambda: multiply(left, right, out=out)


class Watch(TorchDispatchMode):
    """Writes down the products of whatever runs inside `with`.

    Attributes:
        products: how often each was computed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[Product] = Counter()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Runs an operation; one that is made of others is taken apart first."""
        kwargs, name = kwargs or {}, func.name().partition(".")[0]
        if name not in SINGLE and name != "aten::convolution" and "scaled_dot_product" not in name:
            with self:
                taken_apart = func.decompose(*args, **kwargs)
            if taken_apart is not NotImplemented:
                return taken_apart
        out = func(*args, **kwargs)
        if name in SINGLE:
            left, right = args[SINGLE[name] : SINGLE[name] + 2]
            factors = (Operand.of(left), Operand.of(right))
            self.products[Product(factors, tuple(out.shape), by_onednn=name.startswith("mkldnn"))] += 1
        elif name == "aten::convolution":
            factors, options = (Operand.of(args[0]), Operand.of(args[1])), args[3:]
            frozen = tuple(tuple(each) if isinstance(each, list) else each for each in options)
            self.products[Product(factors, tuple(out.shape), convolution=frozen)] += 1
        elif "scaled_dot_product" in name:
            self.products.update(attention_products(*args[:3]))
        return out


def attention_products(query: Tensor, key: Tensor, value: Tensor) -> list[Product]:
    """Queries with keys, and weights with values, of attention over (..., N, D)."""
    *many, rows, width = query.shape
    batch, columns, dtype = math.prod(many), key.shape[-2], query.dtype
    queries = Operand.dense((batch, rows, width), dtype)
    keys = Operand((batch, width, columns), (width * columns, 1, width), dtype)
    weights = Operand.dense((batch, rows, columns), dtype)
    values = Operand.dense((batch, columns, value.shape[-1]), dtype)
    return [
        Product((queries, keys), weights.shape),
        Product((weights, values), (batch, rows, value.shape[-1])),
    ]


@torch.no_grad()
def time_products(products: Counter[Product], repeats: int, device: str = "cpu") -> list[float]:
    """Seconds of all the products one after the other, `repeats` times."""
    totals = [0.0] * repeats
    for product, count in products.items():
        multiply = product.prepare(device)
        multiply()
        for i in range(repeats):
            synchronise(device)
            start = time.perf_counter()
            for _ in range(count):
                multiply()
            synchronise(device)
            totals[i] += time.perf_counter() - start
    return totals


def total_flop(products: Counter[Product]) -> int:
    """Multiplications and additions of all."""
    return sum(product.flop * count for product, count in products.items())


def synchronise(device: str) -> None:
    """Waits until the GPU is done, where it is one."""
    if device != "cpu":
        torch.cuda.synchronize()
