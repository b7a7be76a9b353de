"""Fitting a picture into a given size without distorting it."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage

from svit.types import Image


def fit(image: Image, width: int, height: int) -> tuple[Image, float]:
    """Scales a picture to the largest size of its own shape within (width, height).

    Returns:
        The picture, RGB uint8, and the factor by which it was scaled.
    """
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    if size == (image.shape[1], image.shape[0]):
        return image, 1.0
    resized = PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BILINEAR)
    return np.asarray(resized), scale


def letterbox(image: Image, width: int, height: int) -> Image:
    """Scales a picture to fit (width, height) and centres it on black; unchanged where it has that size."""
    if image.shape[:2] == (height, width):
        return image
    fitted, _ = fit(image, width, height)
    top, left = (height - fitted.shape[0]) // 2, (width - fitted.shape[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return canvas
