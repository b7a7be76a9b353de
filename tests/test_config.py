"""Settings are checked before anything is built, and a mistake is answered in one line."""

import pytest
from pydantic import ValidationError

from svit.config import ModelConfig, model_config, preset, preset_names
from svit.errors import UsageError
from svit.model.video_model import build


def test_presets_are_the_four_sizes_and_valid() -> None:
    assert preset_names() == ["base", "large", "small", "tiny"]
    assert [preset(name).name for name in preset_names()] == preset_names()


def test_base_is_the_papers_model() -> None:
    config = preset("base")
    assert (config.encoder.width, config.encoder.depth, config.encoder.heads) == (768, 12, 12)
    assert (config.encoder.windows, config.encoder.outputs) == ((14,) * 12, (5, 8, 11))
    assert (config.encoder.memory, config.encoder.eviction) == (32, "merge")
    assert (config.input.short_side, config.input.long_side, config.stride) == (800, 1440, 32)


def test_large_has_strides_7_14_28() -> None:
    assert build(
        preset(
            "large",
            encoder__depth=4,
            encoder__width=32,
            encoder__heads=2,
            detector=None,
            encoder__residual_blocks=(),
            encoder__outputs=(1, 2, 3),
        )
    ).strides == (7, 14, 28)


def test_overrides_reach_nested_settings() -> None:
    config = preset("tiny", encoder__memory=3, tracker__high=0.4, name="mine")
    assert (config.encoder.memory, config.tracker.high, config.name) == (3, 0.4, "mine")
    assert preset("tiny").encoder.memory == 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"encoder__memry": 3}, "did you mean 'memory'"),
        ({"detectr": None}, "did you mean 'detector'"),
        ({"encoder__memory": 0}, "encoder.memory"),
        ({"encoder__heads": 5}, "not a multiple of heads"),
        ({"encoder__window": (7, 7)}, "window lists 2 blocks, depth is 4"),
        ({"encoder__outputs": (1, 2, 9)}, "must rise and lie in 0..3"),
        ({"encoder__eviction": "lifo"}, "encoder.eviction"),
        ({"input__short_side": 1000}, "larger than long_side"),
        ({"pyramid": False}, "a detector needs the pyramid"),
        ({"tracker__high": 1.5}, "tracker.high"),
        ({"name__x": 1}, "'name' has no settings of its own"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(overrides: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("..", r"\.\.")) as error:
        preset("tiny", **overrides)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "suggestion"), [("tinny", "'tiny'"), ("bse", "'base'"), ("q", "known: base")]
)
def test_an_unknown_preset_suggests_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(UsageError, match=suggestion):
        build(name)


def test_a_configuration_survives_json_and_cannot_be_changed() -> None:
    config = preset("large", encoder__window=tuple(range(24)))
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    assert model_config(config.model_dump()) == config
    with pytest.raises(ValidationError):
        config.encoder.memory = 5
