"""Where clips go: four in a mosaic, or one alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from svit.data.augment.canvas import Part
from svit.data.augment.clip import LabelledClip
from svit.data.augment.geometry import Matrix, Points, Size, corners, fit_scale, meets, scaling, translation

Load = Callable[[np.random.Generator], LabelledClip]
"""Gives a random clip of the data set, as long as the clip that is augmented."""

Point = tuple[int, int]


def draw_centre(span: tuple[float, float], size: Size, rng: np.random.Generator) -> Point:
    """Draws where the four clips of a mosaic meet: x, y in whole pixels of the canvas."""
    return int(rng.uniform(*span) * size[1]), int(rng.uniform(*span) * size[0])


def place_in_quadrant(clip: LabelledClip, quadrant: int, centre: Point, size: Size) -> Part:
    """Fits a clip to the result's size and puts one of its corners to the centre of a mosaic.

    Args:
        clip: of any size.
        quadrant: 0 above left of the centre, 1 above right, 2 below left, 3 below right.
        centre: x, y on the canvas of twice `size`, which cuts off what reaches beyond.
        size: height and width of the result.
    """
    across, down, (height, width) = fit_scale((clip.height, clip.width), size)
    left = centre[0] - (0 if quadrant % 2 else width)
    top = centre[1] - (0 if quadrant // 2 else height)
    right, bottom = min(left + width, 2 * size[1]), min(top + height, 2 * size[0])
    matrix = translation(left, top) @ scaling(across, down)
    return Part(clip, matrix, (max(left, 0), max(top, 0), right, bottom))


def fill_mosaic(
    clip: LabelledClip, load: Load, centre: Point, shown: tuple[Matrix, Size], rng: np.random.Generator
) -> list[Part]:
    """Puts `clip` above left of a mosaic's centre and random clips around it.

    A quadrant that is not to be seen stays empty and its clip is not even loaded.

    Args:
        clip: comes first in the list, seen or not.
        load: called with `rng` for each of the others.
        centre: x, y on the canvas.
        shown: the view from the canvas to the result, and the result's height and width.
        rng: handed to `load`.
    """
    view, size = shown
    parts = [place_in_quadrant(clip, 0, centre, size)]
    for quadrant in (1, 2, 3):
        if meets(_quadrant(quadrant, centre, size), view, size):
            parts.append(place_in_quadrant(load(rng), quadrant, centre, size))
    return parts


def _quadrant(quadrant: int, centre: Point, size: Size) -> Points:
    left, right = ((0, centre[0]), (centre[0], 2 * size[1]))[quadrant % 2]
    top, bottom = ((0, centre[1]), (centre[1], 2 * size[0]))[quadrant // 2]
    return corners(left, top, right, bottom)


def place_alone(clip: LabelledClip, size: Size) -> Part:
    """Fits a clip into the top left of the result, as the detector's own preprocessing does."""
    across, down, (height, width) = fit_scale((clip.height, clip.width), size)
    return Part(clip, scaling(across, down), (0, 0, width, height))
