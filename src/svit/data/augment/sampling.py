"""Which frames of a video make a clip."""

from __future__ import annotations

import numpy as np


def sample_clip_indices(
    video_length: int,
    length: int,
    strides: tuple[int, int],
    rng: np.random.Generator,
    start: int | None = None,
    may_reverse: bool = False,
) -> list[int]:
    """Draws the frames of a clip, one stride apart.

    Args:
        video_length: frames of the video, at least 1.
        length: frames of the clip, at least 1.
        strides: lowest and highest stride, both drawn; official: (1, 4).
        rng: drawn from.
        start: the first frame, from 0, for a data set that goes through all frames; past the video's end its
            last frame repeats (official). None draws it such that the clip fits, with a smaller stride if
            need be.
        may_reverse: let half the clips run backwards.

    Returns:
        `length` frame numbers from 0.

    Raises:
        ValueError: a number out of its range.
    """
    low, high = strides
    if min(video_length, length, low) < 1 or low > high:
        raise ValueError(f"no clip of {length} frames, strides {low} to {high}, from {video_length} frames")
    if start is None:
        fitting = (video_length - 1) // max(length - 1, 1)
        stride = int(rng.integers(low, max(low, min(high, fitting)) + 1))
        start = int(rng.integers(max(video_length - (length - 1) * stride, 1)))
    elif not 0 <= start < video_length:
        raise ValueError(f"frame {start} of a video of {video_length}")
    else:
        stride = int(rng.integers(low, high + 1))
    indices = [min(start + step * stride, video_length - 1) for step in range(length)]
    return indices[::-1] if may_reverse and rng.random() < 0.5 else indices
