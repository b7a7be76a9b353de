"""Data sets to evaluate on: by name, or any folder of sequences in MOTChallenge's layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from svit.data.mot_files import Rows

Part = Literal["all", "half-train", "half-val"]


@dataclass(frozen=True)
class EvalSequence:
    """A sequence to evaluate on.

    Attributes:
        name: what its results are called.
        source: folder of its images, or a video file.
        first, last: the frames to look at, counted from 1 in the whole sequence; both belong to it.
        rate: frames per second.
        width, height: of a frame, pixels.
        ground_truth: rows (N, C) of `gt.txt` with first <= frame <= last; see `svit.data.mot_files.Rows`.
        part: which part of the sequence that is.
    """

    name: str
    source: Path
    first: int
    last: int
    rate: float
    width: int
    height: int
    ground_truth: Rows = field(repr=False, compare=False)
    part: Part = "all"

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1
