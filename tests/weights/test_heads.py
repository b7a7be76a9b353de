"""Action heads come and go without touching the rest; a misfit says how to start a new one."""

from pathlib import Path

import pytest
import torch
from tests.weights.samples import same_weights, scrambled, small_config

from svit import weights
from svit.config import ActionConfig, ModelConfig
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel

NAMES = ("fight", "no fight")


def config_with(names: tuple[str, ...] = NAMES, **action: object) -> ModelConfig:
    settings = ActionConfig(**{"class_names": names, "window": 3, "depth": 2, **action})
    return small_config().model_copy(update={"action": settings})


@pytest.mark.parametrize("decoder", ["bidirectional", "causal", "mean", "patch_query"])
def test_a_checkpoint_carries_its_action_head(tmp_path: Path, decoder: str) -> None:
    token = "mean" if decoder == "patch_query" else "cls"
    model = scrambled(config_with(decoder=decoder, token=token))
    weights.save(model, tmp_path / "m.safetensors")
    loaded = weights.load(tmp_path / "m.safetensors", device="cpu")
    assert same_weights(loaded, model)
    assert loaded.config == model.config
    frames = torch.randn(1, 2, 3, 32, 64)
    assert torch.equal(loaded.classify(frames)[0], model.classify(frames)[0])


def test_a_detector_becomes_a_joint_model_with_its_own_weights() -> None:
    detector = scrambled(small_config())
    joint = weights.add_action_head(detector, {"class_names": NAMES, "token": "attention", "rate": 12.5})
    assert joint.config.action is not None
    assert joint.config.action.rate == 12.5
    assert detector.action is None
    ours, theirs = joint.state_dict(), detector.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {name.split(".")[0] for name in ours.keys() - theirs.keys()} == {"action"}
    ours["encoder.positions"].zero_()
    assert detector.encoder.positions.any(), "a copy"
    with pytest.raises(UsageError, match="did you mean 'window'"):
        weights.add_action_head(detector, {"class_names": NAMES, "windw": 3})


def test_other_classes_keep_all_but_the_last_layer() -> None:
    model = scrambled(config_with()).to(torch.float64)
    new = weights.replace_action_head(model, ["walk", "run", "rest"])
    assert new.config.action is not None
    assert new.config.action == config_with(("walk", "run", "rest")).action
    ours, theirs = new.state_dict(), model.state_dict()
    fresh = {"action.classifier.weight", "action.classifier.bias"}
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs.keys() - fresh)
    assert ours["action.classifier.weight"].shape == (3, 32)
    assert ours["action.classifier.weight"].dtype == torch.float64
    assert not new.training
    for names, message in (((), "class_names"), (("a", "a"), "two classes are named 'a'")):
        with pytest.raises(UsageError, match=message):
            weights.replace_action_head(model, names)
    with pytest.raises(UsageError, match=r"has no action head; svit\.weights\.add_action_head gives one"):
        weights.replace_action_head(scrambled(small_config()), NAMES)


def test_fine_tuning_starts_from_weights_that_fit() -> None:
    source, target = scrambled(config_with()), scrambled(config_with(dropout=0.3), seed=1)
    weights.copy_weights(source, target, "m.safetensors")
    assert same_weights(source, target)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            config_with(),
            config_with(("a", "b", "c")),
            r"m.safetensors has 2 action classes, model 'small' 3; start a new last layer with "
            r"svit.weights.replace_action_head",
        ),
        (
            small_config(),
            config_with(),
            "has no action head, model 'small' has; start one with svit.weights.add_action_head",
        ),
        (config_with(), small_config(), r"does not fit the model 'small': action\..* nothing"),
        (config_with(), config_with(window=4), r"action.decoder.positions is \(3, 32\) and \(4, 32\)"),
    ],
    ids=["classes", "no head", "no head in the model", "window"],
)
def test_weights_that_do_not_fit_say_how_to_go_on(
    source: ModelConfig, target: ModelConfig, message: str
) -> None:
    model = scrambled(target, seed=1)
    with pytest.raises(WeightsError, match=message) as error:
        weights.copy_weights(scrambled(source), model, "m.safetensors")
    assert "\n" not in str(error.value)
    assert same_weights(model, scrambled(target, seed=1))


def test_the_new_head_then_fits() -> None:
    source, target = scrambled(config_with()), VideoModel(config_with(("a", "b", "c")))
    weights.copy_weights(weights.replace_action_head(source, ("a", "b", "c")), target, "m.safetensors")
    assert torch.equal(target.encoder.positions, source.encoder.positions)
