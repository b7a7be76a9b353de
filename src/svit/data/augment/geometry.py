"""Affine maps as 3x3 matrices of points (x, y, 1), and what they do to boxes.

Points are continuous: pixel i covers i to i + 1, so that scaling by s maps a picture's right edge W to s W
and boxes stay on their pixels. (OpenCV counts pixel centres; `warp` converts.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from svit.data.augment.clip import Boxes, FrameLabels
from svit.data.augment.settings import AffineConfig

Matrix = npt.NDArray[np.float64]
"""(3, 3), the last row 0 0 1."""

Points = npt.NDArray[np.float64]
"""(N, 2): x, y in pixels."""

Size = tuple[int, int]
"""Height and width, pixels."""


def translation(x: float, y: float) -> Matrix:
    """Moves by x and y pixels."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def scaling(x: float, y: float) -> Matrix:
    """Scales about the origin."""
    return np.diag([x, y, 1.0])


def mirror(width: float) -> Matrix:
    """Mirrors a picture of this width left to right."""
    return np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]], np.float64)


def about(matrix: Matrix, x: float, y: float) -> Matrix:
    """The same map with the point (x, y) in the origin's place."""
    return translation(x, y) @ matrix @ translation(-x, -y)


def draw_affine(settings: AffineConfig, size: Size, rng: np.random.Generator) -> Matrix:
    """Draws a map about the origin: scaled, rotated, sheared, then moved (in this order, as in YOLOX).

    Args:
        settings: the ranges.
        size: height and width that the translation is a fraction of.
        rng: drawn from.
    """
    angle = np.deg2rad(rng.uniform(-settings.max_rotation, settings.max_rotation))
    factor = rng.uniform(*settings.scale)
    shear_x, shear_y = np.tan(np.deg2rad(rng.uniform(-settings.max_shear, settings.max_shear, 2)))
    move_x, move_y = rng.uniform(-settings.max_translation, settings.max_translation, 2)
    rotate = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    shear = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]], np.float64)
    moved: Matrix = translation(move_x * size[1], move_y * size[0]) @ shear @ rotate @ scaling(factor, factor)
    return moved


def fit_scale(source: Size, size: Size) -> tuple[float, float, Size]:
    """How a picture fits a frame with its ratio kept.

    Returns:
        The factors of x and y, and the whole pixels (height, width) that the picture then covers.
    """
    ratio = min(size[0] / source[0], size[1] / source[1])
    height, width = max(1, int(source[0] * ratio + 1e-6)), max(1, int(source[1] * ratio + 1e-6))
    return width / source[1], height / source[0], (height, width)


def transform_points(points: Points, matrix: Matrix) -> Points:
    """The points' images."""
    moved: Points = points @ matrix[:2, :2].T + matrix[:2, 2]
    return moved


def corners(left: float, top: float, right: float, bottom: float) -> Points:
    """The four corners of a rectangle, in order round it."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def transform_boxes(boxes: Boxes, matrix: Matrix) -> Boxes:
    """The upright boxes around the images of boxes: larger than these where the map rotates or shears."""
    points = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2).astype(np.float64)
    around = transform_points(points, matrix).reshape(-1, 4, 2)
    return np.concatenate([around.min(axis=1), around.max(axis=1)], axis=1).astype(np.float32)


def move_labels(labels: FrameLabels, matrix: Matrix) -> FrameLabels:
    """A frame's labels after a map."""
    return labels._replace(
        boxes=transform_boxes(labels.boxes, matrix), ignore=transform_boxes(labels.ignore, matrix)
    )


def labels_within(
    labels: FrameLabels, size: Size, cut: float | None = None, min_box: float = 0.0
) -> FrameLabels:
    """Drops what lies wholly outside a picture or is too small to be seen.

    Args:
        labels: of one frame.
        size: the picture's height and width.
        cut: cut what is left at the picture's border; boxes of which less than this share stays become
            ignore regions. None: they may reach beyond (official).
        min_box: boxes and ignore regions not both wider and higher than this are dropped, pixels.
    """
    limits = np.array([size[1], size[0]], np.float32)

    def visible(boxes: Boxes) -> npt.NDArray[np.bool_]:
        inside = (boxes[:, :2] < limits) & (boxes[:, 2:] > 0)
        big = boxes[:, 2:] - boxes[:, :2] > min_box
        return np.asarray((inside & big).all(axis=1))

    if cut is not None:
        labels = _cut(labels, np.tile(limits, 2), cut)
    return labels.keep(visible(labels.boxes), visible(labels.ignore))


def _cut(labels: FrameLabels, edges: npt.NDArray[np.float32], least: float) -> FrameLabels:
    """Cuts boxes and ignore regions; boxes of which too little is left become ignore regions."""
    boxes, ignore = (regions.clip(0, edges).astype(np.float32) for regions in (labels.boxes, labels.ignore))
    seen = _areas(boxes) >= least * _areas(labels.boxes)
    return FrameLabels(
        boxes[seen], labels.ids[seen], labels.classes[seen], np.concatenate([ignore, boxes[~seen]])
    )


def _areas(boxes: Boxes) -> npt.NDArray[np.float32]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def meets(rectangle: Points, matrix: Matrix, size: Size) -> bool:
    """Whether a rectangle (its corners) is at all to be seen in a picture after a map."""
    frame = corners(0, 0, size[1], size[0])
    # Two parallelograms are apart exactly if they are along one of their edges' directions: look both ways.
    forth = transform_points(rectangle, matrix)
    back = transform_points(frame, np.linalg.inv(matrix).astype(np.float64))
    return _bounds_meet(forth, frame) and _bounds_meet(back, rectangle)


def _bounds_meet(first: Points, second: Points) -> bool:
    low = np.maximum(first.min(axis=0), second.min(axis=0))
    high = np.minimum(first.max(axis=0), second.max(axis=0))
    return bool((low < high).all())
