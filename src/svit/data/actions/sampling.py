"""Which frames of a video make a clip: by time, so that frame rates, even varying ones, do not matter.

Everything works on a video's clock: the time of each frame, in seconds, and the video's duration. At a time
t a video shows the last frame that is not later than t.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from svit.data.actions.index import ActionVideo, Times
from svit.data.actions.settings import SamplingConfig

Numbers = npt.NDArray[np.int64]
"""(T,): frame numbers from 0."""

ROUNDING = 1e-4
"""A time this near before a frame's, in mean frame intervals, is the frame's: sums of floats fall short."""


def frames_at(clock: Times, moments: Times) -> Numbers:
    """The frames that a video shows at these times.

    Args:
        clock: (frames,) seconds of each frame, rising from 0.
        moments: seconds; before the first frame that one is shown, after the last the last.
    """
    step = (clock[-1] - clock[0]) / max(len(clock) - 1, 1)
    shown = np.searchsorted(clock, moments + step * ROUNDING, side="right") - 1
    numbers: Numbers = shown.clip(0, len(clock) - 1).astype(np.int64)
    return numbers


def sample_training_frames(video: ActionVideo, config: SamplingConfig, rng: np.random.Generator) -> Numbers:
    """Draws the frames of a training clip.

    Uniform: a random moment in each of `length` equal parts of the duration (temporal segment networks).
    Dense: a window of `length` moments, `stride` apart, that begins anywhere it fits; in a shorter video it
    begins at the start, and its last frame repeats.

    Returns:
        (length,) frame numbers from 0, never falling; a video of fewer frames repeats some.
    """
    if config.kind == "uniform":
        moments = segment_moments(video.duration, config.length, rng.random(config.length))
    else:
        moments = _window(video, config, rng.random() * _room(video, config))
    return frames_at(video.clock(), moments)


def sample_test_frames(video: ActionVideo, config: SamplingConfig, clips: int) -> Numbers:
    """The frames of a video's test clips; nothing is random.

    Uniform: clip c of n takes the moment (c + 1/2) / n of each part, so a single clip takes the middles.
    Dense: windows evenly spread from the video's start to its end, a single one in the middle.

    Returns:
        (clips, length) frame numbers from 0.
    """
    clock, found = video.clock(), []
    for clip in range(clips):
        if config.kind == "uniform":
            moments = segment_moments(video.duration, config.length, (clip + 0.5) / clips)
        else:
            latest = _room(video, config) - 1 / video.rate
            moments = _window(video, config, latest * (clip / (clips - 1) if clips > 1 else 0.5))
        found.append(frames_at(clock, moments))
    return np.stack(found)


def segment_moments(duration: float, length: int, within: float | npt.NDArray[np.float64]) -> Times:
    """Moments `within` (0 to 1) each of `length` equal parts of a duration; seconds."""
    return np.asarray((np.arange(length) + within) * (duration / length), np.float64)


def _room(video: ActionVideo, config: SamplingConfig) -> float:
    """Seconds within which a dense window can begin: at least the first frame's."""
    return max(video.duration - (config.length - 1) * _step(video, config), 1 / video.rate)


def _window(video: ActionVideo, config: SamplingConfig, start: float) -> Times:
    """Moments of a dense window that begins at `start` seconds."""
    return np.asarray(start + _step(video, config) * np.arange(config.length), np.float64)


def _step(video: ActionVideo, config: SamplingConfig) -> float:
    return config.stride / (config.rate or video.rate)
