"""The floor holds exactly the products of what was watched."""

from collections import Counter

import torch
import torch.nn.functional as F

from svit.bench.floor import Operand, Watch, time_products, total_flop
from svit.model.linear import Linear


def watched(work, grad: bool = False) -> Watch:
    with torch.inference_mode(not grad), Watch() as watch:
        work()
    return watch


def test_a_linear_layer_is_one_matrix_product():
    layer, x = torch.nn.Linear(8, 5), torch.zeros(2, 3, 8)
    watch = watched(lambda: layer(x))
    assert sum(watch.products.values()) == 1
    assert total_flop(watch.products) == 2 * (2 * 3) * 8 * 5


def test_a_linear_layer_of_the_model_is_the_product_that_this_processor_computes():
    for dtype in (torch.float32, torch.bfloat16):
        layer, x = Linear(8, 5).to(dtype), torch.zeros(2, 3, 8, dtype=dtype)
        watch = watched(lambda layer=layer, x=x: layer(x))
        assert sum(watch.products.values()) == 1
        assert total_flop(watch.products) == 2 * (2 * 3) * 8 * 5
        (product,) = watch.products
        assert product.prepare("cpu")().shape == (6, 5)


def test_a_convolution_counts_its_groups_and_stride():
    layer, x = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.zeros(1, 4, 8, 8)
    watch = watched(lambda: layer(x))
    assert total_flop(watch.products) == 2 * (6 * 4 * 4) * (4 // 2) * 9


def test_fused_and_plain_attention_have_the_same_products():
    q, k, v = torch.zeros(2, 3, 4, 8), torch.zeros(2, 3, 7, 8), torch.zeros(2, 3, 7, 8)
    fused = watched(lambda: F.scaled_dot_product_attention(q, k, v))
    plain = watched(lambda: (q @ k.transpose(-2, -1)).softmax(-1) @ v)
    expected = 2 * (2 * 3) * 4 * 7 * (8 + 8)
    assert total_flop(fused.products) == total_flop(plain.products) == expected


def test_what_is_no_product_does_not_count_and_results_stay_the_same():
    layer, x = torch.nn.Linear(8, 8), torch.randn(4, 8)
    with torch.no_grad(), Watch() as watch:
        seen = F.layer_norm(layer(x), (8,)).softmax(-1)
    assert sum(watch.products.values()) == 1
    assert torch.equal(seen, F.layer_norm(layer(x), (8,)).softmax(-1))


def test_products_are_timed_as_often_as_asked_and_each_as_often_as_it_came():
    layer, x = torch.nn.Linear(256, 256), torch.zeros(256, 256)
    watch = watched(lambda: [layer(x) for _ in range(40)])
    once = Counter(dict.fromkeys(watch.products, 1))
    assert list(watch.products.values()) == [40]
    often, single = time_products(watch.products, 5), time_products(once, 5)
    assert len(often) == 5
    assert min(often) > 4 * min(single)


def test_an_operand_is_made_as_it_lay_in_memory():
    tensor = torch.zeros(3, 5).t()[:, 1:]
    made = Operand.of(tensor).make("cpu")
    assert (made.shape, made.stride(), made.dtype) == (tensor.shape, tensor.stride(), tensor.dtype)
    broadcast = torch.zeros(1, 4).expand(3, 4)
    assert Operand.of(broadcast).make("cpu").stride() == (0, 1)
