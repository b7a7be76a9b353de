"""A clip with its labels: what a loader hands to the augmentation, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from svit.types import Image

Boxes = npt.NDArray[np.float32]
"""(N, 4): left, top, right, bottom in pixels; pixel i of a row covers i to i + 1."""

Numbers = npt.NDArray[np.int64]
"""(N,): one whole number per box."""

Matrices = npt.NDArray[np.float64]
"""(T, 3, 3): one affine map of points (x, y, 1) per frame, pixels to pixels."""

UNKNOWN = -1
"""The id of a box of which nobody knows whose it is."""


class FrameLabels(NamedTuple):
    """The labels of one frame.

    Attributes:
        boxes: (N, 4), see `Boxes`.
        ids: (N,) instance ids; `UNKNOWN` where there is none.
        classes: (N,) from 0.
        ignore: (M, 4) regions that are neither a target nor background.
    """

    boxes: Boxes
    ids: Numbers
    classes: Numbers
    ignore: Boxes

    def keep(self, boxes: npt.NDArray[np.bool_], ignore: npt.NDArray[np.bool_]) -> FrameLabels:
        """The labels without the boxes and ignore regions whose entry is False."""
        return FrameLabels(self.boxes[boxes], self.ids[boxes], self.classes[boxes], self.ignore[ignore])


def join_labels(labels: Sequence[FrameLabels]) -> FrameLabels:
    """The labels of several pictures that became one; none at all is fine."""
    empty = FrameLabels(
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        np.zeros((0, 4), np.float32),
    )
    return FrameLabels(*(np.concatenate(column) for column in zip(empty, *labels, strict=True)))


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """T successive frames of one video, all of one size, with their labels.

    Attributes:
        frames: T RGB pictures (height, width, 3) uint8: a list, or one array (T, height, width, 3).
        boxes: per frame (N, 4) float32, see `Boxes`; may reach beyond the picture.
        ids: per frame (N,) int64 instance ids, one person's the same in all frames; `UNKNOWN` if not known.
        classes: per frame (N,) int64, from 0.
        ignore: per frame (M, 4) float32 regions that are neither a target nor background.
        motion: (T, 3, 3) maps that pictures and labels are still to be moved by, or None. A still image that
            plays a clip has it (see `stills`): moved with all the rest, its pixels are interpolated once.

    Raises:
        ValueError: the parts do not fit together.
    """

    frames: Sequence[Image] | npt.NDArray[np.uint8]
    boxes: Sequence[Boxes]
    ids: Sequence[Numbers]
    classes: Sequence[Numbers]
    ignore: Sequence[Boxes]
    motion: Matrices | None = None

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.frames, self.boxes, self.ids, self.classes, self.ignore)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"a clip needs labels for each of its frames, got lengths {sorted(lengths)}")
        shapes = {frame.shape for frame in self.frames}
        if len(shapes) != 1 or len(shape := shapes.pop()) != 3 or shape[2] != 3:
            raise ValueError("the frames of a clip must all be (height, width, 3) of one size")
        if self.motion is not None and self.motion.shape != (len(self), 3, 3):
            raise ValueError(f"motion must be ({len(self)}, 3, 3), got {self.motion.shape}")
        for number in range(len(self)):
            _check_labels(self.labels(number), number)

    @classmethod
    def of(cls, frames: Sequence[Image] | npt.NDArray[np.uint8], labels: Sequence[FrameLabels]) -> Self:
        """A clip from its frames and as many `FrameLabels`."""
        boxes, ids, classes, ignore = zip(*labels, strict=True)
        return cls(frames, boxes, ids, classes, ignore)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def height(self) -> int:
        """Of a frame, pixels."""
        return int(self.frames[0].shape[0])

    @property
    def width(self) -> int:
        """Of a frame, pixels."""
        return int(self.frames[0].shape[1])

    def labels(self, frame: int) -> FrameLabels:
        """What is labelled in a frame (from 0), `motion` not applied."""
        return FrameLabels(self.boxes[frame], self.ids[frame], self.classes[frame], self.ignore[frame])


def _check_labels(labels: FrameLabels, frame: int) -> None:
    count = len(labels.boxes)
    if labels.boxes.shape != (count, 4) or labels.ignore.shape != (len(labels.ignore), 4):
        raise ValueError(f"frame {frame}: boxes and ignore regions must be (N, 4)")
    if labels.ids.shape != (count,) or labels.classes.shape != (count,):
        raise ValueError(f"frame {frame}: {count} boxes need as many ids and classes")
