"""The trainer's own path on the official fixtures: losses and gradients, and every tensor's learning rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from tests.parity.golden import load_json
from tests.parity.test_official_model import (
    OUTPUTS,
    TRAIN_CASES,
    Case,
    check_gradients,
    check_running_statistics,
    detector_case,
    encoder_case,
)
from tests.train.small import small_experiment

from svit.config import preset
from svit.model.video_model import VideoModel
from svit.train.batches import LoadedBatch
from svit.train.experiment import OptimiserConfig
from svit.train.objective import PARTS, Batch, ClipLoss
from svit.train.optim import parameter_groups
from svit.train.trainer import Trainer
from svit.weights.names import official_name

NAMES = {"cls": "loss_cls", "box": "loss_bbox", "obj": "loss_obj", "l1": "loss_l1", "total": "loss"}


def batch_of(case: Case) -> Batch:
    """The frames that have losses, with their people."""
    frames = range(len(case.manifest["losses_per_frame"]))
    targets = []
    for clip in range(len(case.frames)):
        prefixes = [f"frame{t}.img{clip}." for t in frames]
        targets.append([(case.tensors[p + "gt_boxes"], case.tensors[p + "gt_labels"]) for p in prefixes])
    return Batch(
        case.frames[:, : len(frames)], targets, [[torch.zeros(0, 4) for _ in clip] for clip in targets]
    )


def check_losses(found: dict[str, float], official: dict[str, float]) -> None:
    for ours, theirs in NAMES.items():
        if theirs in official:
            assert found[ours] == pytest.approx(official[theirs], rel=2e-4), ours


@pytest.mark.parametrize("name", TRAIN_CASES)
def test_losses_and_gradients_frame_by_frame_are_the_official_ones(name: str) -> None:
    case = detector_case(name)
    loss, batch, memory = ClipLoss(case.model).train(), batch_of(case), None
    for t, official in enumerate(case.manifest["losses_per_frame"]):
        loss.zero_grad()
        total, parts, memory = loss(batch.frame(t), case.manifest["use_l1"], "step", memory)
        mean = total / parts[-1].clamp(min=1)
        found = {part: float(parts[i] / parts[-1].clamp(min=1)) for i, part in enumerate(PARTS)}
        check_losses(found | {"total": mean.item()}, official)
        mean.backward()
    check_gradients(case, 2e-3, ("detector.", "detector.backbone."))
    check_running_statistics(case)


@pytest.mark.parametrize("name", TRAIN_CASES)
def test_a_whole_clip_has_the_losses_of_its_official_frames(name: str) -> None:
    """The fixture has no optimiser steps between its frames: their sum is what a clip gives."""
    case = detector_case(name)
    total, parts, _ = ClipLoss(case.model).train()(batch_of(case), case.manifest["use_l1"], "clip")
    positives = [
        sum(len(case.tensors[f"frame{t}.img{clip}.pos_prior"]) for clip in range(len(case.frames)))
        for t in range(len(case.manifest["losses_per_frame"]))
    ]
    official = zip(case.manifest["losses_per_frame"], positives, strict=True)
    assert total.item() == pytest.approx(sum(losses["loss"] * count for losses, count in official), rel=2e-4)
    assert parts[-1].item() == sum(positives)
    check_running_statistics(case)


@pytest.mark.parametrize("form", ["clip", "step"])
@pytest.mark.parametrize("name", TRAIN_CASES)
def test_a_step_of_the_trainer_has_the_official_losses_and_gradient(
    name: str, form: str, tmp_path: Path
) -> None:
    """On the first frame, as a clip of its own."""
    case = detector_case(name)
    batch, use_l1 = batch_of(case).frame(0), case.manifest["use_l1"]
    expected = gradient_norm_of(detector_case(name), batch, use_l1)
    trainer = trainer_of(case.model, batch, use_l1, form, tmp_path)
    result = trainer.step(0, iter([LoadedBatch(pixels_of(batch, case.model), [])]))
    check_losses(result.losses, case.manifest["losses_per_frame"][0])
    assert float(result.norm) == pytest.approx(expected, rel=2e-3)


def gradient_norm_of(case: Case, batch: Batch, use_l1: bool) -> float:
    total, parts, _ = ClipLoss(case.model).train()(batch, use_l1)
    (total / parts[-1]).backward()
    norms = [p.grad.norm() for p in case.model.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm())


def pixels_of(batch: Batch, model: VideoModel) -> Batch:
    """The batch as workers would hand it over: before normalisation."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.config.input.mean, model.config.input.std))
    return Batch(batch.frames * std + mean, batch.targets, batch.ignore)


def trainer_of(model: VideoModel, batch: Batch, use_l1: bool, form: str, folder: Path) -> Trainer:
    height, width = batch.frames.shape[-2:]
    experiment = small_experiment(
        folder,
        form=form,
        accumulate=1,
        multi_scale=None,
        schedule__plain_epochs=2 if use_l1 else 0,
        data__augment__height=height,
        data__augment__width=width,
    )
    AcceleratorState._reset_state(reset_partial_state=True)
    return Trainer(experiment, model, Accelerator(cpu=True), steps_per_epoch=3.0)


def test_the_encoders_gradients_with_recomputed_activations_are_the_official_ones() -> None:
    case = encoder_case("train_stream_w7_nf3")
    case.model.train()
    case.model.encoder.checkpointing = True  # must not do what it does to the official code
    stages, _ = case.model.encoder(case.frames[:, :2])
    assert case.model.pyramid is not None
    levels = case.model.pyramid(stages)
    products = [(levels[i][:, -1] * case.tensors[f"loss_weight.level{i}"]).sum() for i in range(3)]
    loss = torch.stack(products).sum()
    assert loss.item() == pytest.approx(case.manifest["loss"], rel=2e-4)
    loss.backward()
    check_gradients(case, tolerance=1e-3)


def test_the_learning_rate_and_decay_of_every_tensor_of_base_are_the_official_ones() -> None:
    official = load_json("optimizer_groups.json")["groups"]
    with torch.device("meta"):
        model = VideoModel(preset("base"))
    norms = dict(zip(model.config.encoder.outputs, OUTPUTS.values(), strict=True))
    ours: dict[str, set[str]] = {}
    for group in parameter_groups(model, OptimiserConfig()):
        key = f"lr={group['lr']:g},wd={group['weight_decay']:g}"
        for own in group["names"]:
            name = official_name(own, norms)
            detector = name.startswith(("neck.", "bbox_head."))
            ours.setdefault(key, set()).add(f"detector.{name}" if detector else f"detector.backbone.{name}")
    theirs = {}
    for key, names in official.items():
        rate, decay = (float(part.partition("=")[2]) for part in key.split(","))
        theirs[f"lr={rate:g},wd={decay:g}"] = set(names)
    assert ours.keys() == theirs.keys()
    for key, names in theirs.items():
        assert ours[key] == names, key
