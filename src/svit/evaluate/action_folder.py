"""The folder of a run of action recognition: what was said of each video, one file per video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from svit.evaluate.run_files import RunFiles, whole_file

Scores = npt.NDArray[np.float32]

SHARES = tuple(number / 10 for number in range(1, 11))
"""Of a video's duration, at which a streaming run is asked."""


@dataclass(frozen=True)
class VideoAnswers:
    """What was said of one video: probabilities of the model's classes, K of them.

    Attributes:
        views: (clips x crops, K), the answers at the end of each; none of them where views were not asked
            for, or the video cannot be read.
        verdicts: (10, K) `svit.evaluate.verdict.Verdict` after each of `SHARES`; none of them likewise.
        moments: (10, K) the answer of the last frame seen by then.
        ms: (F,) processing time of each frame of the streaming pass, milliseconds.
        notes: one line per thing that went wrong in reading.
    """

    views: Scores
    verdicts: Scores
    moments: Scores
    ms: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ActionFolder(RunFiles):
    """Where the files of such a run are; its pieces are videos, named by their number in the split."""

    parts: ClassVar[tuple[str, ...]] = ("videos",)

    def names_in(self, settings: Mapping[str, Any]) -> Iterable[str]:
        """The videos of the run that had these settings."""
        return map(video_name, range(int(settings.get("data", {}).get("videos", 0))))

    def finished(self, name: str) -> bool:
        """Whether a video's answers are there; one that could not be read is tried again."""
        return super().finished(name) and self.readable(self.read(name))

    def readable(self, answers: VideoAnswers) -> bool:
        """Whether there is every answer that the settings ask for."""
        wanted = {"views": answers.views, "streaming": answers.verdicts}
        return all(len(scores) for name, scores in wanted.items() if self.settings[name])

    def write(self, name: str, answers: VideoAnswers) -> None:
        """Writes a video's answers.

        Raises:
            OutputError: they cannot be written.
        """
        with whole_file(self.files(name)[0]) as file:
            np.savez(
                file, settings=np.array(self.key), **{**vars(answers), "notes": np.array(answers.notes, str)}
            )

    def read(self, name: str) -> VideoAnswers:
        """What `write` wrote."""
        with np.load(self.files(name)[0], allow_pickle=False) as arrays:
            values = {key: arrays[key] for key in VideoAnswers.__dataclass_fields__}
        return VideoAnswers(**{**values, "notes": tuple(values["notes"].tolist())})


def video_name(number: int) -> str:
    """What the file of video `number` of the split (from 0) is called."""
    return f"{number:06}"
