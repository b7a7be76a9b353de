from __future__ import annotations

import pytest
from pydantic import ValidationError

from svit.data.augment import AugmentConfig
from svit.data.augment.opencv import cv2, use_one_thread
from svit.data.augment.settings import AffineConfig, MixupConfig, MultiScaleConfig


def test_defaults_are_the_official_settings():
    config = AugmentConfig()
    assert (config.height, config.width, config.mosaic, config.flip) == (800, 1440, 1, 0.5)
    assert (config.mosaic_centre, config.fill) == ((0.5, 1.5), 114)
    assert (config.affine.scale, config.affine.max_rotation) == ((0.1, 2), 10)
    assert (config.affine.max_shear, config.affine.max_translation) == (2, 0.1)
    assert (config.mixup.probability, config.mixup.scale, config.mixup.flip) == (1, (0.8, 1.6), 0.5)
    assert (config.colour.hue, config.colour.saturation, config.colour.value) == (5, 30, 30)
    assert (config.clip_boxes, config.min_box, config.alone) == (False, 1, None)
    assert MultiScaleConfig() == MultiScaleConfig(smallest=18, largest=32)


@pytest.mark.parametrize(
    "values",
    [
        {"height": 810},
        {"mosaic": 1.5},
        {"mosaic_centre": (1.5, 0.5)},
        {"affine": {"scale": (0, 1)}},
        {"affine": {"max_shear": 60}},
        {"mixup": {"scale": (2, 1)}},
        {"colour": {"hue": 200}},
        {"fill": 300},
        {"mosiac": 1},
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(values: dict[str, object]):
    with pytest.raises(ValidationError):
        AugmentConfig(**values)


def test_sizes_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError):
        MultiScaleConfig(smallest=5, largest=4)


def test_every_setting_says_what_it_is():
    for model in (AugmentConfig, AffineConfig, MixupConfig, MultiScaleConfig):
        for name, field in model.model_fields.items():
            documented = field.description or getattr(field.annotation, "__doc__", None)
            assert documented, f"{model.__name__}.{name}"


def test_a_worker_can_keep_opencv_to_one_thread():
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        use_one_thread()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(threads)
