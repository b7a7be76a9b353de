"""Clips laid out on a canvas, and the canvas seen through an affine view: pixels are interpolated once.

A mosaic is a canvas of twice the result's sides of which the affine view shows a part. Here that canvas is
never painted: each frame goes straight to its place in the result, which is the same picture, sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svit.data.augment.clip import UNKNOWN, FrameLabels, LabelledClip, Matrices, Numbers, join_labels
from svit.data.augment.geometry import Matrix, Size, corners, labels_within, move_labels, transform_points
from svit.data.augment.warp import paint

Frames = npt.NDArray[np.uint8]
"""(T, height, width, 3), RGB."""


@dataclass(frozen=True)
class Part:
    """A clip's place on a canvas.

    Attributes:
        clip: what is shown.
        matrix: from the clip's pixels to the canvas.
        window: left, top, right, bottom on the canvas, whole pixels; nothing of the clip shows outside.
    """

    clip: LabelledClip
    matrix: Matrix
    window: tuple[int, int, int, int]

    def matrices(self) -> Matrices:
        """(T, 3, 3): from each frame's pixels to the canvas, the clip's own motion included."""
        motion = np.eye(3) if self.clip.motion is None else self.clip.motion
        return np.broadcast_to(self.matrix @ motion, (len(self.clip), 3, 3))


def paint_parts(parts: Sequence[Part], view: Matrix, frames: Frames, fill: int) -> None:
    """Paints all frames of clips into a result, later parts over earlier ones.

    Args:
        parts: clips as long as `frames`.
        view: from the canvas to the result's pixels.
        frames: (T, height, width, 3) uint8, painted into.
        fill: grey of what a moving still leaves bare inside its window.
    """
    for part in parts:
        window = transform_points(corners(*part.window), view)
        border = None if part.clip.motion is None else fill
        matrices = view @ part.matrices()
        paint(part.clip.frames, matrices, window, frames, border)


def view_labels(
    parts: Sequence[Part],
    canvas: Size,
    view: Matrix,
    size: Size,
    cut: float | None,
    above: Sequence[FrameLabels] = (),
) -> list[FrameLabels]:
    """The labels of clips on a canvas as the view shows them.

    Args:
        parts: the clips, at least one.
        canvas: height and width of the canvas; what lies wholly outside is dropped.
        view: from the canvas to the result's pixels.
        size: height and width of the result; what lies wholly outside is dropped.
        cut: cut boxes at the borders of canvas and result; see `labels_within`.
        above: labels whose ids are taken.

    Returns:
        One per frame. The first clip's known ids stay what they are unless some are taken; those of the
        others go up so that no two clips share one.
    """
    collected: list[list[FrameLabels]] = [[] for _ in parts[0].clip.frames]
    shift = _next_id([labels.ids for labels in above])
    for part in parts:
        for number, matrix in enumerate(part.matrices()):
            labels = move_labels(_shift_ids(part.clip.labels(number), shift), matrix)
            labels = move_labels(labels_within(labels, canvas, cut), view)
            collected[number].append(labels_within(labels, size, cut))
        shift += _next_id(part.clip.ids)
    return [join_labels(labels) for labels in collected]


def _next_id(ids: Sequence[Numbers]) -> int:
    """One more than the highest id; 0 where none is known."""
    return 1 + max((int(numbers.max(initial=UNKNOWN)) for numbers in ids), default=UNKNOWN)


def _shift_ids(labels: FrameLabels, shift: int) -> FrameLabels:
    return labels._replace(ids=np.where(labels.ids == UNKNOWN, UNKNOWN, labels.ids + shift))
