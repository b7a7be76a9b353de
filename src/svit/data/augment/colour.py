"""One shift of hue, saturation and value for all frames of a clip, as in YOLOX."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from svit.data.augment.opencv import cv2
from svit.data.augment.settings import ColourConfig

Shifts = npt.NDArray[np.int16]
"""(3,): hue in units of 2 degrees, saturation and value of 0-255."""

HUES = 180
"""OpenCV's hues in bytes: units of 2 degrees."""


def draw_colour(settings: ColourConfig, rng: np.random.Generator) -> Shifts:
    """Draws the shifts of a clip: each uniform up to its largest, or 0 half the time."""
    largest = (settings.hue, settings.saturation, settings.value)
    return (rng.uniform(-1, 1, 3) * largest * rng.integers(0, 2, 3)).astype(np.int16)


def shift_colour(frames: npt.NDArray[np.uint8], shifts: Shifts) -> None:
    """Shifts the colours of RGB frames (T, height, width, 3) uint8 in place; hue wraps, the others stop."""
    if not shifts.any():
        return
    levels = np.arange(256)
    hue = (levels + shifts[0]) % HUES
    saturation, value = np.clip(levels + shifts[1], 0, 255), np.clip(levels + shifts[2], 0, 255)
    table = np.stack([hue, saturation, value], axis=-1)[None].astype(np.uint8)
    for frame in frames:
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
        cv2.LUT(hsv, table, dst=hsv)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=frame)
