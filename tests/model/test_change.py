"""The frame token `change`: how much the remembered frames differ, where they differ most."""

import pytest
import torch
from tests.model.action_models import action_model, scenes
from torch import Tensor

from svit.errors import UsageError
from svit.model.change import change
from svit.model.encoder import Encoder
from svit.model.slots import Recall

SHAPE = (2, 3, 2, 4, 5, 4, 6)  # B M H Y S X D


def recalled(visible: Tensor | None = None) -> Recall:
    values = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    return Recall(values, values, visible)


def test_is_the_largest_deviation_over_the_picture_of_each_channel() -> None:
    recall = recalled()
    deviation = recall.values.numpy().std(4)  # B M H Y X D
    expected = torch.from_numpy(deviation.max(axis=(1, 3, 4))).flatten(1)
    assert torch.allclose(change(recall)[:, 0], expected, atol=1e-5)


def test_counts_only_the_frames_that_each_new_one_sees() -> None:
    visible = torch.tensor([[[1, 0, 0, 0, 0], [1, 1, 0, 1, 0], [1, 1, 1, 1, 1]]]).bool()
    changes = change(recalled(visible))
    values = recalled().values
    for t, seen in enumerate(visible[0]):
        alone = values[:, :, :, :, seen]
        assert torch.allclose(changes[:, t], change(Recall(alone, alone, None))[:, 0], atol=1e-5)
    assert float(changes[:, 0].max()) <= 2e-3  # one frame alone has not changed


def test_the_order_of_the_slots_does_not_matter() -> None:
    recall = recalled()
    turned = recall.values.roll(2, 4)
    assert torch.allclose(change(recall), change(Recall(turned, turned, None)), atol=1e-6)


@torch.no_grad()
def test_a_small_thing_that_moves_shows_as_much_as_a_large_one_a_still_picture_as_nothing() -> None:
    model = action_model(token="change", encoder__temporal=True)
    still = scenes(model, frames=1).expand(-1, 5, -1, -1, -1)
    moving = still.clone()
    moving[:, ::2, :, :16, :16] += 3.0  # one patch of twenty blinks
    says = [model.encoder.encode(frames).change for frames in (still, moving)]
    assert says[0] is not None
    assert says[1] is not None
    assert float(says[1][:, -1].mean()) > 20 * float(says[0][:, -1].mean())


def test_gradients_reach_the_encoder_with_memory_gradient_alone_and_are_finite() -> None:
    for memory_gradient in (False, True):
        model = action_model(token="change", encoder__memory_gradient=memory_gradient)
        frames = scenes(model, frames=4)
        frames[:, 1] = frames[:, 0]  # nothing changes: the root's slope must stay finite
        changed = model.encoder.encode(frames).change
        assert changed is not None
        assert changed.requires_grad == memory_gradient
        if memory_gradient:
            changed.sum().backward()
            gradient = model.encoder.blocks[-1].attention.qkv.weight.grad
            assert gradient is not None
            assert bool(gradient.isfinite().all())
            assert bool(gradient.any())


def test_is_computed_only_where_it_is_asked_for() -> None:
    model = action_model(token="mean")
    assert model.encoder.encode(scenes(model)).change is None
    wrong = action_model(token="change")
    wrong.encoder = Encoder(wrong.config.encoder)
    frames = scenes(wrong)
    with pytest.raises(UsageError, match="does not say what changed"):
        wrong.classify(frames)
