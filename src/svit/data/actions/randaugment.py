"""RandAugment for clips (Cubuk et al. 2020): operations and strengths are drawn once, for all frames.

Operations, probabilities and ranges are those of timm's `rand-m7-n4-mstd0.5-inc1`, as video models are
trained with. Different here: contrast, autocontrast and equalize look at the whole clip, so that it does not
flicker (timm: at each frame); what a shift lays bare is ImageNet's mean colour (timm: 128); interpolation is
bilinear (timm: bilinear or bicubic at random).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageEnhance, ImageOps

from svit.data.actions.settings import RandAugmentConfig

Clip = npt.NDArray[np.uint8]
"""(T, height, width, 3), RGB."""

LOOKS = (
    "autocontrast",
    "equalize",
    "invert",
    "posterize",
    "solarize",
    "solarize_add",
    "colour",
    "contrast",
    "brightness",
)
"""Operations that change each pixel by itself."""

MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
"""Operations that move pixels."""

OPERATIONS = (*LOOKS, "sharpness", *MOVES)

STRONGEST = 10.0
"""The magnitude at which an operation does its utmost."""

THRESHOLD = 128
"""Solarize-add changes what is darker than this."""


@dataclass(frozen=True)
class Operation:
    """One drawn operation.

    Attributes:
        name: one of `OPERATIONS`.
        magnitude: 0 to 10.
        sign: -1 or 1, for operations that go two ways.
    """

    name: str
    magnitude: float
    sign: int


def draw_operations(config: RandAugmentConfig, rng: np.random.Generator) -> list[Operation]:
    """Draws what is done to a clip; each of `layers` operations only with its probability."""
    drawn = []
    for name in rng.choice(OPERATIONS, config.layers):
        done, sign = rng.random() < config.probability, 1 if rng.random() < 0.5 else -1
        magnitude = float(np.clip(rng.normal(config.magnitude, config.spread), 0, STRONGEST))
        if done:
            drawn.append(Operation(str(name), magnitude, sign))
    return drawn


def apply_operation(clip: Clip, operation: Operation, fill: tuple[int, int, int]) -> Clip:
    """The clip after an operation, the same for all frames.

    Args:
        clip: (T, height, width, 3) uint8.
        operation: see `draw_operations`.
        fill: RGB of what moving lays bare.
    """
    if operation.name in MOVES:
        return _each(clip, _move(operation, clip.shape[2], clip.shape[1], fill))
    if operation.name == "sharpness":
        factor = _enhancement(operation)
        return _each(clip, lambda image: ImageEnhance.Sharpness(image).enhance(factor))
    # Frames below each other are one picture: one call, and one mean and histogram of the whole clip.
    tall = PillowImage.fromarray(clip.reshape(-1, *clip.shape[2:]))
    return np.asarray(_look(tall, operation)).reshape(clip.shape)


def _each(clip: Clip, change: Callable[[PillowImage.Image], PillowImage.Image]) -> Clip:
    return np.stack([np.asarray(change(PillowImage.fromarray(frame))) for frame in clip])


def _look(image: PillowImage.Image, operation: Operation) -> PillowImage.Image:
    strength = operation.magnitude / STRONGEST
    changes: dict[str, Callable[[], PillowImage.Image]] = {
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "invert": lambda: ImageOps.invert(image),
        "posterize": lambda: ImageOps.posterize(image, 4 - int(strength * 4)),
        "solarize": lambda: ImageOps.solarize(image, 256 - int(strength * 256)),
        "solarize_add": lambda: image.point(_solarize_add(int(strength * 110))),
        "colour": lambda: ImageEnhance.Color(image).enhance(_enhancement(operation)),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(_enhancement(operation)),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(_enhancement(operation)),
    }
    return changes[operation.name]()


def _enhancement(operation: Operation) -> float:
    """Pillow's factor: 1 changes nothing, 0.1 and 1.9 most."""
    return max(0.1, 1 + operation.sign * operation.magnitude / STRONGEST * 0.9)


def _solarize_add(more: int) -> list[int]:
    return [min(255, level + more) if level < THRESHOLD else level for level in range(256)] * 3


def _move(
    operation: Operation, width: int, height: int, fill: tuple[int, int, int]
) -> Callable[[PillowImage.Image], PillowImage.Image]:
    by = operation.sign * operation.magnitude / STRONGEST
    bilinear = PillowImage.Resampling.BILINEAR
    if operation.name == "rotate":
        return lambda image: image.rotate(30 * by, bilinear, fillcolor=fill)
    # Pillow wants, for a pixel of the result, where it comes from.
    matrix = {
        "shear_x": (1, 0.3 * by, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, 0.3 * by, 1, 0),
        "translate_x": (1, 0, 0.45 * by * width, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, 0.45 * by * height),
    }[operation.name]
    affine = PillowImage.Transform.AFFINE
    return lambda image: image.transform(image.size, affine, matrix, bilinear, fillcolor=fill)
