"""Clips drawn by the tests: a rectangle of a pure colour on black, whose place can be measured."""

from __future__ import annotations

import numpy as np

from svit.data.augment import FrameLabels, LabelledClip
from svit.data.augment.mosaic import Load

COLOURS = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)], np.uint8
)
"""By class: told apart from each other and from grey by which channels stand out."""

BOX = (60.0, 40.0, 100.0, 80.0)


def rectangle_clip(
    kind: int = 0,
    length: int = 3,
    size: tuple[int, int] = (120, 160),
    step: int = 4,
    box: tuple[float, float, float, float] = BOX,
) -> LabelledClip:
    """A rectangle of class `kind` and id 10 + `kind` that moves `step` pixels right per frame."""
    frames = np.zeros((length, *size, 3), np.uint8)
    labels = []
    for number, frame in enumerate(frames):
        moved = np.array([box], np.float32) + np.array([number * step, 0] * 2, np.float32)
        left, top, right, bottom = moved[0].astype(int)
        frame[max(top, 0) : bottom, max(left, 0) : right] = COLOURS[kind]
        labels.append(FrameLabels(moved, np.array([10 + kind]), np.array([kind]), moved - 1))
    return LabelledClip.of(frames, labels)


def loader(length: int = 3, step: int = 4) -> Load:
    """Gives rectangles of the classes 1, 2, 3, ... in turn, so that every clip of a sample has its own."""
    kinds = iter(range(1, 10**6))
    return lambda _rng: rectangle_clip(1 + (next(kinds) - 1) % (len(COLOURS) - 1), length, step=step)


def empty_clip(length: int = 3, size: tuple[int, int] = (120, 160)) -> LabelledClip:
    """Nobody on a white floor."""
    none, nobody = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    frames = np.full((length, *size, 3), 255, np.uint8)
    return LabelledClip.of(frames, [FrameLabels(none, nobody, nobody, none)] * length)


def coloured_box(frame: np.ndarray, kind: int, threshold: int = 60) -> np.ndarray | None:
    """Left, top, right, bottom of the pixels in which exactly the channels of a class stand out, or None."""
    channels = frame.astype(int)
    high = COLOURS[kind] > 0
    stands_out = channels[..., high].min(axis=-1) - channels[..., ~high].max(axis=-1) > threshold
    if not stands_out.any():
        return None
    rows, columns = np.flatnonzero(stands_out.any(axis=1)), np.flatnonzero(stands_out.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
