"""A head alone in a file, and the weights it is on."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.weights.samples import same_weights

from svit import weights
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel

BASE = weights.DEFAULT_MODEL


@pytest.fixture
def joint() -> VideoModel:
    torch.manual_seed(0)
    return weights.add_action_head(weights.load(BASE, "cpu"), {"class_names": ("a", "b"), "depth": 1})


def test_a_head_is_a_small_file_that_opens_as_the_whole_model(joint: VideoModel, tmp_path: Path) -> None:
    weights.save_head(joint, path := tmp_path / "head.safetensors", BASE)
    opened = weights.load(path, "cpu")
    assert opened.config == joint.config
    assert same_weights(opened, joint)
    with safe_open(path, "pt") as file:
        assert all(name.startswith("action.") for name in file.keys())  # noqa: SIM118 - it is no mapping


def test_a_head_on_its_own_encoder_needs_no_detector(joint: VideoModel, tmp_path: Path) -> None:
    alone = weights.add_action_head(joint, {"class_names": ("a", "b")})
    settings = {**alone.config.model_dump(), "detector": None, "pyramid": False}
    config = type(alone.config).model_validate(settings)
    model = VideoModel(config).eval()
    model.load_state_dict({n: t for n, t in alone.state_dict().items() if n in model.state_dict()})
    weights.save_head(model, path := tmp_path / "head.safetensors", BASE)
    assert same_weights(weights.load(path, "cpu"), model)


def test_what_was_trained_further_is_not_left_out(joint: VideoModel, tmp_path: Path) -> None:
    with torch.no_grad():
        joint.encoder.blocks[2].norm1.weight[0] += 1
    with pytest.raises(UsageError, match=r"encoder\.blocks\.2\.norm1\.weight is not that of tiny-person"):
        weights.save_head(joint, path := tmp_path / "head.safetensors", BASE)
    assert not path.exists()


def test_weights_that_are_not_there_or_are_others_now_are_one_line(joint: VideoModel, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(UsageError, match="no weights 'base' come with svit"):
        weights.save_head(joint, path, "base")
    weights.save_head(joint, path, BASE)
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for key, value, message in (
        ("base_fingerprint", "0", "another version of the weights 'tiny-person'"),
        ("base", "elsewhere", "on weights 'elsewhere', which do not come"),
    ):
        save_file(tensors, path, {**metadata, key: value})
        with pytest.raises(WeightsError, match=message):
            weights.load(path, "cpu")
    del tensors["action.norm.weight"]
    save_file(tensors, path, metadata)
    with pytest.raises(WeightsError, match=r"action\.norm\.weight"):
        weights.load(path, "cpu")


@torch.no_grad()
def test_the_bundled_model_of_both_tasks_finds_what_tiny_person_finds() -> None:
    joint, person = weights.load("tiny-person-actions", "cpu"), weights.load(BASE, "cpu")
    own = joint.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in person.state_dict().items())
    assert joint.config.tracker == person.config.tracker
    frames = torch.randn(1, 3, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    both, _ = joint.perceive(frames)
    alone, _ = person.detect(frames)
    assert both.logits is not None
    assert both.logits.shape == (1, 3, 2)
    assert both.detections is not None
    for ours, theirs in zip(both.detections[0], alone[0], strict=True):
        assert (ours.xyxy == theirs.xyxy).all()
        assert (ours.confidence == theirs.confidence).all()
