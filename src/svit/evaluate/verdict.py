"""What a whole video is taken for, from what was said at each of its frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from svit.config import ActionConfig
from svit.stream import Sampling
from svit.types import ActionScores, FrameResult
from svit.video import Conclusion


class Verdict:
    """The mean of the answers given with a full window, one per frame that entered it.

    A video too short to fill the window is what its last frame's answer says. So a short clip is judged as a
    clip, and of a long video, which the window cannot hold, every part counts the same.

    Args:
        action: settings of the head that answers.
    """

    def __init__(self, action: ActionConfig) -> None:
        self._window, self._sampling = action.window, Sampling(action.rate)
        self._names = action.class_names
        self._entered = self._counted = 0
        self._frames, self._index, self._time = 0, 0, 0.0
        self._sum = np.zeros(len(action.class_names))
        self._last: npt.NDArray[np.float64] | None = None

    def add(self, result: FrameResult) -> None:
        """Takes the next frame's answer; a result without one is passed over."""
        if result.actions is None:
            return
        self._last = result.actions.probabilities.astype(np.float64)
        self._frames, self._index, self._time = self._frames + 1, result.frame_index, result.timestamp
        enters, self._sampling = self._sampling.next(result.timestamp)
        self._entered += enters
        if enters and self._entered >= self._window:
            self._sum += self._last
            self._counted += 1

    @property
    def scores(self) -> ActionScores | None:
        """The verdict on the frames so far; None before the first."""
        if self._last is None:
            return None
        mean = self._sum / self._counted if self._counted else self._last
        return ActionScores(self._names, mean.astype(np.float32))

    @property
    def best(self) -> str:
        """The first class so far; empty before the first frame."""
        return self.scores.top(1)[0][0] if self.scores else ""

    def conclusion(self, complete: bool) -> Conclusion | None:
        """The verdict as outputs take it; None before the first frame.

        Args:
            complete: the source was seen to its end.
        """
        scores = self.scores
        return None if scores is None else Conclusion(scores, self._index, self._time, self._frames, complete)
