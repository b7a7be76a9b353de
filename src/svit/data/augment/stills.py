"""Still images that play a clip: the picture repeats, seen by a camera that drifts and zooms."""

from __future__ import annotations

import numpy as np

from svit.data.augment.clip import UNKNOWN, LabelledClip, Matrices, Numbers
from svit.data.augment.geometry import about, scaling, translation
from svit.data.augment.settings import StillConfig


def still_to_clip(
    still: LabelledClip, length: int, settings: StillConfig, rng: np.random.Generator
) -> LabelledClip:
    """Makes a clip of one picture (CrowdHuman) with a motion of its own, which a memory can follow.

    The picture is not copied: the motion is applied, to pixels and boxes, together with the rest by
    `pipeline.augment_clip`.

    Args:
        still: a clip of one frame.
        length: frames of the clip, at least 1.
        settings: how far it moves.
        rng: drawn from.

    Returns:
        A clip with `motion`. Boxes of unknown id get one each: over the clip they are tracks.

    Raises:
        ValueError: `still` has more than one frame, or length is below 1.
    """
    if len(still) != 1 or length < 1:
        raise ValueError(f"a clip of {length} frames from a still of {len(still)}: needs 1 or more, and 1")
    ids = _known_ids(still.ids[0])
    motion = draw_motion(still.height, still.width, length, settings, rng)
    return LabelledClip(
        list(still.frames) * length,
        list(still.boxes) * length,
        [ids] * length,
        list(still.classes) * length,
        list(still.ignore) * length,
        motion,
    )


def draw_motion(
    height: int, width: int, length: int, settings: StillConfig, rng: np.random.Generator
) -> Matrices:
    """Draws a smooth camera motion: (length, 3, 3) maps of a picture's pixels, the middle frame at rest.

    Shift and zoom per frame start anywhere in their range and wander by a random walk that `unrest` sets; all
    three stay in their range. Boxes stay upright and tight: there is no rotation.
    """
    limits = np.array([settings.drift * width, settings.drift * height, np.log1p(settings.zoom)])
    speed = rng.uniform(-1, 1, 3)
    speeds = np.empty((length, 3))
    for frame in range(length):
        speeds[frame] = speed
        speed = (1 - settings.unrest) * speed + settings.unrest * rng.uniform(-1, 1, 3)
    path = np.cumsum(speeds * limits, axis=0)
    # Measured from the middle frame, so that little of the picture leaves the frame at either end.
    path -= path[length // 2]
    moved = [
        translation(x, y) @ about(scaling(np.exp(zoom), np.exp(zoom)), width / 2, height / 2)
        for x, y, zoom in path
    ]
    return np.stack(moved)


def _known_ids(ids: Numbers) -> Numbers:
    first = 1 + int(ids.max(initial=UNKNOWN))
    unknown = ids == UNKNOWN
    return np.where(unknown, first + np.cumsum(unknown) - 1, ids)
