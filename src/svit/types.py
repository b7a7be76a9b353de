"""Values that travel between the parts: a decoded frame, and what the model saw in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import supervision as sv

Image = npt.NDArray[np.uint8]
"""One RGB picture: (height, width, 3), uint8."""

T = TypeVar("T")


class Progress(Protocol):
    """How long work tells how far it is: it hands on the items and watches them go."""

    def __call__(self, items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
        """The same items in the same order; `label` says what they are, `total` how many if known."""
        ...


def no_progress(items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
    """The `Progress` that says nothing."""
    return items


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of a source.

    Attributes:
        image: RGB, (height, width, 3) uint8.
        index: position in the source, from 0. Counts dropped frames too, so gaps are visible.
        timestamp: seconds since the source's first frame, from the container's clock.
    """

    image: Image
    index: int
    timestamp: float


@dataclass(frozen=True, slots=True, eq=False)
class ActionScores:
    """What a model takes a video for, at one of its frames.

    Attributes:
        names: of the classes.
        probabilities: (K,) float32, one per name; they sum to 1.
    """

    names: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]

    def top(self, count: int | None = None) -> list[tuple[str, float]]:
        """The `count` most probable classes (all if None) and their probabilities, falling."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.names[i], float(self.probabilities[i])) for i in order]


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What one step of a `Stream` says about one frame.

    Attributes:
        frame_index: position of the frame in its source, from 0.
        timestamp: seconds since the source's first frame.
        detections: everything the detector kept, boxes xyxy in pixels of the original frame.
        tracks: the boxes that belong to a track, with `tracker_id` set (ids from 0 per stream).
        image: the frame itself, RGB (height, width, 3) uint8; the caller's array, not a copy.
        actions: what the video is taken for up to this frame; None without an action head.
    """

    frame_index: int
    timestamp: float
    detections: sv.Detections
    tracks: sv.Detections
    image: Image
    actions: ActionScores | None = None
