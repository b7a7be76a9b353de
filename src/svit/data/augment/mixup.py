"""Mixup: another clip blended half and half over a sample, at one place for all frames."""

from __future__ import annotations

import numpy as np

from svit.data.augment.canvas import Frames, Part, paint_parts
from svit.data.augment.geometry import Matrix, Size, corners, mirror, scaling, transform_points, translation
from svit.data.augment.opencv import cv2
from svit.data.augment.settings import MixupConfig


def draw_mixup(settings: MixupConfig, size: Size, rng: np.random.Generator) -> Matrix:
    """Draws how the clip that is blended in is shown: scaled, maybe mirrored, if larger a random part of it.

    Args:
        settings: the ranges.
        size: height and width of the result, and of the canvas that the other clip was fitted into.
        rng: drawn from.

    Returns:
        The view from that canvas to the result.
    """
    factor = rng.uniform(*settings.scale)
    flipped = rng.random() < settings.flip
    height, width = max(1, int(size[0] * factor)), max(1, int(size[1] * factor))
    left, top = (int(rng.integers(max(spare, 1))) for spare in (width - size[1], height - size[0]))
    view = scaling(width / size[1], height / size[0])
    if flipped:
        view = mirror(width) @ view
    shown: Matrix = translation(-left, -top) @ view
    return shown


def blend(part: Part, view: Matrix, frames: Frames, fill: int) -> None:
    """Makes each frame the mean of itself and a clip's frame.

    Args:
        part: the clip on a canvas of the frames' size.
        view: from the canvas to the result, without rotation or shear.
        frames: (T, height, width, 3), blended in place.
        fill: grey of the canvas beside the clip; what the canvas does not cover is black (official).
    """
    height, width = frames.shape[1:3]
    others = np.zeros_like(frames)
    canvas = transform_points(corners(0, 0, width, height), view)
    left, top = np.rint(canvas.min(axis=0)).clip(0).astype(int)
    right, bottom = np.rint(canvas.max(axis=0)).clip(0).astype(int)
    others[:, top:bottom, left:right] = fill
    paint_parts([part], view, others, fill)
    for frame, other in zip(frames, others, strict=True):
        cv2.addWeighted(frame, 0.5, other, 0.5, 0, dst=frame)
