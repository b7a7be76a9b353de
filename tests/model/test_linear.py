"""The linear layer is torch's, whichever library multiplies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svit.bench.floor import Watch
from svit.model.linear import Linear, linear

VENDORS = ["AuthenticAMD", "GenuineIntel"]

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
"""With it, a torch without the operation must be noticed: it would be half as fast in silence."""


def parts(*shape: int, outputs: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    tensors = torch.randn(shape), torch.randn(outputs, shape[-1]), torch.randn(outputs)
    return tuple(t.requires_grad_() for t in tensors)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("scale", [1.0, 1.702])
@pytest.mark.parametrize("shape", [(7,), (4, 7), (2, 3, 4, 7), (0, 7), (2, 0, 7), (300, 64)])
def test_values_and_gradients_are_those_of_torch(
    shape: tuple[int, ...], scale: float, vendor: str, pretend_processor: Callable[..., None]
) -> None:
    pretend_processor(vendor)
    given = parts(*shape)
    exact = [t.detach().double().requires_grad_() for t in given]
    out, expected = linear(*given, scale), scale * F.linear(exact[0], exact[1]) + exact[2]
    close(out, expected)
    weights = torch.randn(out.shape)
    found = torch.autograd.grad((out * weights).sum(), given)
    for one, other in zip(found, torch.autograd.grad((expected * weights).sum(), exact), strict=True):
        close(one, other)


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_lies_crosswise_in_memory_is_multiplied_all_the_same(
    vendor: str, pretend_processor: Callable[..., None]
) -> None:
    pretend_processor(vendor)
    x, weight, bias = (t.detach() for t in parts(3, 4, 6))
    crosswise = x.transpose(0, 1)[:, 1:]
    close(linear(crosswise, weight, bias), F.linear(crosswise.double(), weight.double(), bias.double()))


@pytest.mark.parametrize("vendor", VENDORS)
def test_gradients_go_only_where_they_are_wanted(vendor: str, pretend_processor: Callable[..., None]) -> None:
    pretend_processor(vendor)
    given = parts(4, 7)
    for chosen in range(3):
        for i, t in enumerate(given):
            t.grad = None
            t.requires_grad_(i == chosen)
        linear(*given).sum().backward()
        assert [t.grad is not None for t in given] == [i == chosen for i in range(3)]


@needs_onednn
def test_onednn_multiplies_fp32_on_amd_and_nothing_else(pretend_processor: Callable[..., None]) -> None:
    pretend_processor(VENDORS[0])
    layer, x = Linear(64, 64), torch.randn(8, 64)
    with Watch() as ours:
        layer(x).sum().backward()
    assert [product.by_onednn for product in ours.products.elements()] == [True, True], (
        "forwards and backwards"
    )
    with Watch() as autocast, torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with Watch() as half:
        layer.bfloat16()(x.bfloat16())
    with Watch() as meta:
        layer.to("meta")(x.to("meta"))
    pretend_processor(VENDORS[1])
    with Watch() as other:
        Linear(64, 64)(x)
    for watch in (autocast, half, meta, other):
        assert watch.products
        assert not any(product.by_onednn for product in watch.products)


def test_a_layer_is_saved_and_loaded_as_torch_s() -> None:
    ours, torchs = Linear(6, 4), nn.Linear(6, 4)
    ours.load_state_dict(torchs.state_dict())
    x = torch.randn(3, 6)
    close(ours(x), torchs(x))
