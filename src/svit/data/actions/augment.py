"""Augmentation of action clips: one draw for all frames, so that they stay frames of one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from svit.config import InputConfig
from svit.data.actions.randaugment import Clip, apply_operation, draw_operations
from svit.data.actions.settings import ActionAugmentConfig, ErasingConfig
from svit.types import Image

TRIES = 10
"""So many rectangles are drawn until one fits the picture."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class AugmentedClip:
    """A clip after augmentation.

    Attributes:
        frames: (T, size, size, 3) uint8, RGB.
        mirrored: whether left and right are swapped.
    """

    frames: Clip
    mirrored: bool


def augment_action_clip(
    frames: Sequence[Image], config: ActionAugmentConfig, may_mirror: bool, rng: np.random.Generator
) -> AugmentedClip:
    """A random resized crop, maybe mirrored, after RandAugment, with a rectangle erased: in this order.

    Args:
        frames: T RGB pictures (height, width, 3) uint8 of one size.
        config: the settings.
        may_mirror: False where the data set's flip rule forbids it.
        rng: drawn from, the same number of times whether mirroring is allowed or not.
    """
    height, width = frames[0].shape[:2]
    box = draw_crop(height, width, config, rng)
    clip = resize_crop(frames, box, config.size)
    mirrored = bool(rng.random() < config.flip) and may_mirror
    if mirrored:
        clip = np.ascontiguousarray(clip[:, :, ::-1])
    if config.randaugment:
        for operation in draw_operations(config.randaugment, rng):
            clip = apply_operation(clip, operation, config.randaugment.fill)
    if config.erasing and rng.random() < config.erasing.probability:
        clip = erase(clip, config.erasing, rng)
    return AugmentedClip(clip, mirrored)


def resize_crop(frames: Sequence[Image], box: Box, size: int) -> Clip:
    """A part of each frame, resized to a square, bilinearly and averaged where it shrinks.

    Args:
        frames: T pictures of one size.
        box: the part, within the pictures.
        size: side of the result, pixels.

    Returns:
        (T, size, size, 3) uint8.
    """
    found = np.empty((len(frames), size, size, 3), np.uint8)
    for number, frame in enumerate(frames):
        image = PillowImage.fromarray(frame)
        found[number] = np.asarray(image.resize((size, size), PillowImage.Resampling.BILINEAR, box=box))
    return found


def draw_crop(height: int, width: int, config: ActionAugmentConfig, rng: np.random.Generator) -> Box:
    """Draws a rectangle of random area and shape (Szegedy et al. 2015); where none fits, the largest."""
    lowest, highest = np.log(config.ratio)
    for _ in range(TRIES):
        area = height * width * rng.uniform(*config.scale)
        ratio = np.exp(rng.uniform(lowest, highest))
        wide, high = max(1, round(np.sqrt(area * ratio))), max(1, round(np.sqrt(area / ratio)))
        if wide <= width and high <= height:
            left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
            return left, top, left + wide, top + high
    ratio = float(np.clip(width / height, *config.ratio))
    wide, high = min(width, round(height * ratio)), min(height, round(width / ratio))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + max(wide, 1), top + max(high, 1)


def erase(clip: Clip, config: ErasingConfig, rng: np.random.Generator) -> Clip:
    """A rectangle of noise, the same in all frames; normalised, it has mean 0 and deviation 1.

    As in video masked autoencoders' training, but that draws new noise for each frame.
    """
    height, width = clip.shape[1:3]
    lowest, highest = np.log(config.ratio)
    for _ in range(TRIES):
        area = height * width * rng.uniform(*config.area)
        ratio = np.exp(rng.uniform(lowest, highest))
        high, wide = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < high < height and 0 < wide < width:
            top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
            pixels = InputConfig()
            noise = rng.normal(pixels.mean, pixels.std, (high, wide, 3))
            erased = clip.copy()
            erased[:, top : top + high, left : left + wide] = noise.round().clip(0, 255)
            return erased
    return clip
