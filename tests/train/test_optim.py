"""Learning rates over the run, and the averaged weights."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from tests.model.small import small_model
from torch import nn

from svit.train.experiment import OptimiserConfig, ScheduleConfig
from svit.train.optim import Average, parameter_groups, rate_factor, set_rates


def test_the_rate_rises_falls_and_ends_constant() -> None:
    schedule = ScheduleConfig(epochs=10, warm_up_epochs=1, constant_epochs=1, least=0.05)
    factors = [rate_factor(step, 100, schedule) for step in range(1000)]
    assert factors[0] == pytest.approx((1 / 100) ** 2)
    assert factors[49] == pytest.approx(0.25)
    assert factors[99] == 1.0
    assert factors[499] == pytest.approx(0.05 + 0.95 * 0.5)  # half of the way from epoch 1 to 9
    assert factors[898] > factors[899] == factors[999] == 0.05
    assert all(later <= earlier for earlier, later in pairwise(factors[99:]))


def test_the_rate_needs_neither_warm_up_nor_a_constant_end() -> None:
    schedule = ScheduleConfig(epochs=1, warm_up_epochs=0, constant_epochs=0, least=0)
    assert rate_factor(0, 4, schedule) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert rate_factor(3, 4, schedule) == 0


def test_every_parameter_is_in_one_group_and_follows_its_peak() -> None:
    model = small_model("tiny")
    groups = parameter_groups(model, OptimiserConfig(rate=1e-3, encoder_factor=0.1, weight_decay=0.05))
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    optimiser = torch.optim.AdamW(groups)
    set_rates(optimiser, 49, 100, ScheduleConfig(epochs=3, warm_up_epochs=2**0.5 / 2))
    of = {name: group for group in optimiser.param_groups for name in group["names"]}
    encoder, head = of["encoder.positions"], of["detector.head.conv_obj.0.bias"]
    assert (encoder["lr"], encoder["weight_decay"]) == (pytest.approx(5e-5), 0.05)
    assert (head["lr"], head["weight_decay"]) == (pytest.approx(5e-4), 0.0)
    assert of["encoder.blocks.0.residual.conv1.weight"]["lr"] == pytest.approx(5e-4)
    assert of["pyramid.levels.0.norm1.weight"]["weight_decay"] == 0.05


def test_the_average_forgets_its_start_and_follows_buffers() -> None:
    model = nn.BatchNorm1d(1)
    average = Average(model, momentum=0.1, warm_up=2)
    expected = 1.0
    for step in range(5):
        with torch.no_grad():
            model.weight.add_(1.0)
        model.num_batches_tracked += 1
        average.update(model, step)
        share = 0.1 + 0.9 * math.exp(-(1 + step) / 2)
        expected += share * (model.weight.item() - expected)
    assert float(average.state["weight"]) == pytest.approx(expected)
    assert int(average.state["num_batches_tracked"]) == 5
