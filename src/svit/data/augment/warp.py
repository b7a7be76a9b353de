"""Painting a clip's frames into a result through affine maps, with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from svit.data.augment.clip import Matrices
from svit.data.augment.geometry import Matrix, Points, mirror, scaling, translation
from svit.data.augment.opencv import cv2
from svit.types import Image

SUBPIXEL_BITS = 4
"""Corners of a window are rounded to 1/16 pixel."""


def paint(
    sources: Sequence[Image] | npt.NDArray[np.uint8],
    matrices: Matrices,
    window: Points,
    frames: npt.NDArray[np.uint8],
    border: int | None,
) -> None:
    """Paints each of T pictures into its frame, bilinearly, and only inside one window.

    Args:
        sources: T pictures (height, width, 3) uint8.
        matrices: (T, 3, 3), from each picture to its frame, continuous pixels.
        window: (4, 2) corners of a parallelogram in the frames: pixels outside stay.
        frames: (T, height, width, 3) uint8, painted into.
        border: grey of what lies in the window beside the picture; None repeats the picture's edge.
    """
    height, width = frames.shape[1:3]
    left, top = np.maximum(np.floor(window.min(axis=0) + 0.5), 0).astype(int)
    right, bottom = np.minimum(np.floor(window.max(axis=0) + 0.5), (width, height)).astype(int)
    if left >= right or top >= bottom:
        return
    mask = None if _is_upright(window) else _mask(window - (left, top), (bottom - top, right - left))
    for source, matrix, frame in zip(sources, matrices, frames, strict=True):
        region = frame[top:bottom, left:right]
        to_region = translation(-left, -top) @ matrix
        if mask is None:
            _warp(source, to_region, region, border)
        else:
            warped = np.empty(region.shape, np.uint8)
            _warp(source, to_region, warped, border)
            cv2.copyTo(warped, mask, region)


def _is_upright(window: Points) -> bool:
    """Whether a parallelogram's sides are those of the picture (to a thousandth of a pixel)."""
    sides = np.abs(np.diff(window, axis=0))
    return bool((sides.min(axis=1) < 1e-3).all())


def _mask(window: Points, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    mask = np.zeros(size, np.uint8)
    # OpenCV counts pixel centres, and fills the pixels that the outline touches as well.
    points = np.rint((window - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillConvexPoly(mask, points, 255, shift=SUBPIXEL_BITS)
    return mask


def _warp(source: Image, matrix: Matrix, target: npt.NDArray[np.uint8], border: int | None) -> None:
    source, matrix = _shrink(source, matrix)
    height, width = target.shape[:2]
    fit = scaling(width / source.shape[1], height / source.shape[0])
    mirrored = matrix[0, 0] < 0
    # Fitting a whole picture is all that a clip that stays alone may need: resizing is several times faster.
    if np.allclose(matrix, mirror(width) @ fit if mirrored else fit, atol=1e-6):
        cv2.resize(source, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
        if mirrored:
            cv2.flip(target, 1, dst=target)
        return
    # OpenCV's points are pixel centres: its 0 is our 0.5.
    centres = (translation(-0.5, -0.5) @ matrix @ translation(0.5, 0.5))[:2]
    cv2.warpAffine(
        source,
        centres,
        (width, height),
        dst=target,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT,
        borderValue=(border or 0,) * 3,
    )


def _shrink(source: Image, matrix: Matrix) -> tuple[Image, Matrix]:
    """Halves (thirds, ...) a picture by averaging before a map that makes it smaller still.

    Bilinear interpolation looks at 2 x 2 pixels: below half size it would skip the pixels between and turn
    distant people into noise. It is also faster so.
    """
    size = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    factor = min(int(1 / max(size, 1e-3) + 1e-6), *source.shape[:2])
    if factor < 2:
        return source, matrix
    height, width = source.shape[0] // factor, source.shape[1] // factor
    small = cast(Image, cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA))
    return small, matrix @ scaling(source.shape[1] / width, source.shape[0] / height)
