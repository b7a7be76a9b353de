"""Settings of an action head: defaults follow the encoder, and a misfit is one line."""

import pytest

from svit.config import ModelConfig, preset, preset_names
from svit.errors import UsageError
from svit.model.video_model import build

NAMES = ("fight", "no fight")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "action.class_names.*required"),
        ({"class_names": ()}, "action.class_names"),
        ({"class_names": ("a", "b", "a")}, "two classes are named 'a'"),
        ({"class_names": NAMES, "windw": 3}, "did you mean 'window'"),
        ({"class_names": NAMES, "window": 0}, "action.window"),
        ({"class_names": NAMES, "rate": 0}, "action.rate"),
        ({"class_names": NAMES, "token": "max"}, "action.token"),
        ({"class_names": NAMES, "width": 100, "heads": 3}, "width 100 is not a multiple of action heads 3"),
        ({"class_names": NAMES, "heads": 5}, "action width 192 is not a multiple of action heads 5"),
        ({"class_names": NAMES, "decoder": "patch_query", "token": "cls"}, "token 'cls' would not be used"),
        ({"class_names": NAMES, "decoder": "patch_query", "rate": 12}, "rate would not be used"),
        (
            {"class_names": NAMES, "decoder": "patch_query", "depth": 5},
            "last 5 blocks, but encoder.depth is 4",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        preset("tiny", action=settings)
    assert "\n" not in str(error.value)


def test_what_the_head_needs_of_the_encoder_is_checked() -> None:
    bare = {"pyramid": False, "detector": None, "encoder__outputs": ()}
    with pytest.raises(UsageError, match="an action head needs an output of the encoder"):
        preset("tiny", action={"class_names": NAMES}, **bare)
    with pytest.raises(UsageError, match=r"token change reads the memory; encoder\.temporal is off"):
        preset("tiny", encoder__temporal=False, action={"class_names": NAMES, "token": "change"})
    with pytest.raises(UsageError, match=r"patch_query reads the memory; encoder\.temporal is off"):
        preset("tiny", encoder__temporal=False, action={"class_names": NAMES, "decoder": "patch_query"})


@pytest.mark.parametrize("name", preset_names())
def test_the_decoder_is_as_wide_as_the_encoder(name: str) -> None:
    config = preset(name, action__class_names=NAMES)
    assert config.action_size == (config.encoder.width, config.encoder.heads)
    assert config.action is not None
    assert (config.action.layers, config.action.window) == (4, 16)
    assert preset(name, action={"class_names": NAMES, "decoder": "mean"}).action.layers == 1


def test_a_configuration_with_an_action_head_survives_json() -> None:
    config = preset("tiny", action={"class_names": NAMES, "rate": 12.5, "token": "cls"})
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


def test_a_preset_has_no_action_head_unless_asked() -> None:
    assert build("tiny").action is None
    model = build("tiny", action__class_names=NAMES)
    assert model.action is not None
    assert model.action.classifier.out_features == 2
