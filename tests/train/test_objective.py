"""Whole clips and single frames, with or without recomputed activations: the same losses and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.model.small import small_model
from torch import Tensor

from svit.model.detector_loss import detection_loss
from svit.model.video_model import VideoModel
from svit.train.objective import PARTS, Batch, ClipLoss, Form, pieces

CLIPS, FRAMES, HEIGHT, WIDTH = 2, 4, 64, 96  # with a memory of 3: one frame is evicted


def model(**settings: Any) -> VideoModel:
    defaults = {"encoder__memory": 3, "encoder__drop_path": 0.5}
    return small_model("tiny", **{**defaults, **settings}).train()


def batch() -> Batch:
    random = torch.Generator().manual_seed(1)
    frames = torch.randn(CLIPS, FRAMES, 3, HEIGHT, WIDTH, generator=random)
    people = torch.tensor([[4.0, 6.0, 30.0, 60.0], [50.0, 10.0, 70.0, 50.0]])
    # Another number of people in every frame, and none in one of them.
    targets = [
        [(people[: t % 3] + clip, torch.zeros(t % 3).long()) for t in range(FRAMES)] for clip in (0, 5)
    ]
    ignore = [[torch.tensor([[70.0, 0.0, 96.0, 20.0]])[: t % 2] for t in range(FRAMES)] for _ in range(CLIPS)]
    return Batch(frames, targets, ignore)


def gradients(loss: ClipLoss) -> dict[str, Tensor]:
    found = {name: p.grad for name, p in loss.named_parameters() if p.grad is not None}
    assert len(found) == len(list(loss.parameters()))
    return found


def trained(loss: ClipLoss, form: Form, seed: int = 3) -> tuple[Tensor, dict[str, Tensor]]:
    """Sums of the losses, and gradients; frame by frame where no gradient crosses frames."""
    loss.zero_grad(set_to_none=True)
    alone = form == "step" and not loss.model.config.encoder.memory_gradient
    memory, sums = None, torch.zeros(len(PARTS) + 1)
    for piece in pieces(batch(), form) if alone else [batch()]:
        total, parts, memory = loss(piece, True, form, memory, seed)
        total.backward()
        sums += parts
    return sums, gradients(loss)


def assert_same(left: tuple[Tensor, dict[str, Tensor]], right: tuple[Tensor, dict[str, Tensor]]) -> None:
    torch.testing.assert_close(left[0], right[0], rtol=1e-5, atol=1e-4)
    for name, expected in right[1].items():
        # Below 1e-3 is rounding: what a batch norm takes out again has no gradient.
        torch.testing.assert_close(
            left[1][name], expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()) + 1e-3
        )


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
@pytest.mark.parametrize("memory_gradient", [False, True])
@pytest.mark.parametrize("preset", ["tiny", "base"])
def test_clips_and_frames_give_the_same_losses_and_gradients(
    preset: str, memory_gradient: bool, drop_path: float
) -> None:
    settings = {"encoder__memory_gradient": memory_gradient, "encoder__drop_path": drop_path}
    loss = ClipLoss(small_model(preset, **settings).train())
    clip, step = trained(loss, "clip"), trained(loss, "step")
    assert clip[0][-1] > 0, "positives"
    assert_same(step, clip)


def test_the_paths_that_are_dropped_depend_on_the_seed_alone() -> None:
    loss = ClipLoss(model())
    first, other = trained(loss, "clip")[0], trained(loss, "clip", seed=4)[0]
    torch.rand(7)
    assert torch.equal(trained(loss, "clip")[0], first)
    assert not torch.allclose(other, first)


@pytest.mark.parametrize("form", ["clip", "step"])
@pytest.mark.parametrize("memory_gradient", [False, True])
def test_recomputed_activations_change_nothing(memory_gradient: bool, form: Form) -> None:
    loss = ClipLoss(model(encoder__memory_gradient=memory_gradient))
    kept = trained(loss, form)
    loss.model.encoder.checkpointing = True
    again = trained(loss, form)
    assert torch.equal(again[0], kept[0])
    for name, expected in kept[1].items():
        torch.testing.assert_close(
            again[1][name], expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max())
        )


def test_the_sums_are_the_detectors_losses_times_its_positives() -> None:
    loss = ClipLoss(model(encoder__drop_path=0.0))
    total, parts, memory = loss(batch(), use_l1=True)
    total = total.detach()
    given = batch()
    stages, _ = loss.model.encoder(given.frames)
    assert loss.model.detector is not None
    assert loss.model.pyramid is not None
    maps = loss.model.detector(loss.model.pyramid(stages))
    expected = detection_loss(maps, given.targets, True, given.ignore, loss.model.strides)
    positives = float(expected["positives"])
    assert float(parts[-1]) == positives > 0
    assert float(total) == pytest.approx(float(expected["total"].detach()) * positives, rel=1e-5)
    for name, sum_ in zip(PARTS, parts, strict=False):
        wanted = float(expected[name].detach()) if name in expected else 0.0
        assert float(sum_) == pytest.approx(wanted * positives, rel=1e-5)
    assert memory.frames_seen == FRAMES


def test_a_clip_without_anybody_teaches_the_background() -> None:
    loss, nobody = ClipLoss(model()), batch()
    nobody.targets = [[(torch.zeros(0, 4), torch.zeros(0).long())] * FRAMES] * CLIPS
    total, parts, _ = loss(nobody)
    total.backward()
    total = total.detach()
    cls, box, obj, l1, _, positives = parts.tolist()
    assert (cls, box, l1, positives) == (0, 0, 0, 0)
    assert float(total) == pytest.approx(obj, rel=1e-5)
    assert obj > 0
    assert all(gradient.isfinite().all() for gradient in gradients(loss).values())
