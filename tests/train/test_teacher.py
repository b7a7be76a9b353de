"""Learning from a finished model: its loss by hand, what it leaves alone, and which teacher cannot teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.model.small import reduced, small_model
from tests.train.small import MODEL, losses_of, run_steps, small_experiment
from tests.train.test_objective import batch, model

from svit.config import model_config, preset
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel, build
from svit.train.loop import Training
from svit.train.objective import PARTS, ClipLoss
from svit.train.start import start_teacher
from svit.train.teacher import Teacher
from svit.weights import load, save


def teacher_of(student: VideoModel, weight: float = 1.0, seed: int = 5) -> Teacher:
    return Teacher(small_model("tiny", seed, encoder__memory=3), student.config, weight)


def test_the_loss_is_the_distance_of_maps_and_of_what_the_teacher_is_sure_of() -> None:
    student, other, frames = small_model("tiny", 1), small_model("tiny", 2), batch().frames
    outputs = []
    for one in (student, other):
        assert one.pyramid is not None
        assert one.detector is not None
        with torch.no_grad():
            stages, _ = one.encoder(frames)
            outputs.append((stages, one.detector(one.pyramid(stages))))
    (own_stages, own), (stages, said) = outputs
    expected = sum(float(((a - b) ** 2).mean(2).sum()) for a, b in zip(own_stages, stages, strict=True))
    for ours, theirs in zip(own, said, strict=True):
        sure = theirs["obj"].sigmoid()
        expected += float(F.binary_cross_entropy_with_logits(ours["obj"], sure, reduction="sum"))
        classes = F.binary_cross_entropy_with_logits(ours["cls"], theirs["cls"].sigmoid(), reduction="none")
        l1 = (ours["box"] - theirs["box"]).abs().sum(2, keepdim=True)
        expected += float((sure * (classes + l1 + 5 * (1 - overlap(ours["box"], theirs["box"]) ** 2))).sum())
    loss = Teacher(other, student.config, 0.5).loss(frames, own_stages, own)
    assert float(loss) == pytest.approx(0.5 * expected, rel=1e-4)


def overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """IoU of box logits (B, T, 4, h, w) of the same cells, in cells: (B, T, 1, h, w)."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.unbind(2), b.unbind(2)
    sides = [
        (
            torch.minimum(x + w.exp() / 2, u + v.exp() / 2) - torch.maximum(x - w.exp() / 2, u - v.exp() / 2)
        ).clamp(0)
        for x, w, u, v in ((ax, aw, bx, bw), (ay, ah, by, bh))
    ]
    inter = sides[0] * sides[1]
    union = (aw + ah).exp() + (bw + bh).exp() - inter
    return (inter / union)[:, :, None]


def test_who_says_the_same_as_the_teacher_has_nothing_left_to_learn() -> None:
    student, frames = small_model("tiny", 5, encoder__memory=3), batch().frames
    assert student.pyramid is not None
    assert student.detector is not None
    with torch.no_grad():
        stages, _ = student.encoder(frames)
        maps = student.detector(student.pyramid(stages))
        loss = teacher_of(student).loss(frames, stages, maps)
    # What is left is how unsure the teacher itself is.
    unsure = 0.0
    for level in maps:
        sure, present = level["obj"].sigmoid(), level["cls"].sigmoid()
        unsure += float(F.binary_cross_entropy(sure, sure, reduction="sum"))
        unsure += float((sure * F.binary_cross_entropy(present, present, reduction="none")).sum())
    assert float(loss) == pytest.approx(unsure, rel=1e-4)


def test_it_is_a_part_of_the_total_and_no_part_of_the_model() -> None:
    student = model(encoder__drop_path=0.0)
    alone, taught = ClipLoss(student), ClipLoss(student, teacher=teacher_of(student))
    total, parts, _ = alone(batch(), use_l1=True)
    more, with_teacher, _ = taught(batch(), use_l1=True)
    extra = dict(zip(PARTS, with_teacher.tolist(), strict=False))["teacher"]
    assert extra > 0
    assert float(more.detach()) == pytest.approx(float(total.detach()) + extra, rel=1e-5)
    assert parts[PARTS.index("teacher")] == 0
    assert taught.state_dict().keys() == alone.state_dict().keys()
    assert len(list(taught.parameters())) == len(list(alone.parameters()))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A teacher of four blocks, of which the last has no residual convolution."""
    settings = {**MODEL, "encoder__depth": 4, "encoder__outputs": [1, 2, 3]}
    torch.manual_seed(0)
    path = tmp_path / "teacher.safetensors"
    save(build(preset("tiny", **settings)).eval(), path)
    return path


def test_a_run_learns_from_it_and_goes_on_after_a_stop(tmp_path: Path, finished: Path) -> None:
    before = finished.read_bytes()
    experiment = small_experiment(tmp_path, teacher={"weights": str(finished)}, schedule__epochs=4)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run_steps(Training(experiment, whole))
    losses = losses_of(whole)
    run_steps(Training(experiment, stopped), steps=5)
    run_steps(Training(experiment, stopped))
    assert losses_of(stopped) == losses
    assert sum(losses[6:]) < 0.95 * sum(losses[:6])
    assert finished.read_bytes() == before
    assert load(str(whole / "small.safetensors")).config.encoder.depth == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder__width": 24}, "encoder.width is 24, not 12"),
        ({"detector__class_names": ("person", "dog")}, r"classes is \('person', 'dog'\), not \('person',\)"),
        ({"detector": None}, "classes is None"),
        ({"input__mean": (0.0, 0.0, 0.0)}, "input.mean"),
    ],
)
def test_a_teacher_of_another_kind_is_an_error(changes: dict[str, Any], said: str) -> None:
    other = build(reduced("tiny", **changes))
    with pytest.raises(UsageError, match=said):
        Teacher(other, reduced("tiny"), 1.0)


def test_what_a_run_cannot_do_with_a_teacher_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a teacher needs form=clip"):
        small_experiment(tmp_path / "a", teacher={"weights": "tiny-person"}, form="step")
    missing = small_experiment(tmp_path / "b", teacher={"weights": str(tmp_path / "no.safetensors")})
    with pytest.raises(WeightsError, match=r"no\.safetensors"):
        Training(missing, tmp_path / "run")


def test_settings_of_the_teacher_may_be_changed(tmp_path: Path, finished: Path) -> None:
    teacher = {"weights": str(finished), "settings": {"encoder": {"window": 2}}}
    experiment = small_experiment(tmp_path / "a", teacher=teacher)
    changed = start_teacher(experiment, experiment.model_settings())
    assert changed is not None
    assert changed.model.config.encoder.window == 2
    weights = load(str(finished)).state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in changed.model.state_dict().items())
    teacher = {"weights": str(finished), "settings": {"encoder": {"width": 24}}}
    with pytest.raises(WeightsError, match=r"teacher\.safetensors"):
        start_teacher(small_experiment(tmp_path / "b", teacher=teacher), experiment.model_settings())


def test_the_settings_of_a_model_without_the_new_ones_read_as_before() -> None:
    old = preset("base").model_dump()
    del old["pyramid_width"], old["encoder"]["mlp_ratio"]
    assert model_config(old) == preset("base")
