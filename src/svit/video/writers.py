"""Results as text: MOTChallenge rows and JSON lines; and what all writers have in common."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from svit.types import ActionScores, FrameResult
from svit.video.output import LineFile


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What is said of a whole source when it has ended.

    Attributes:
        actions: what it is taken for.
        frame_index, timestamp: of its last frame.
        frames: how many were looked at.
        complete: it was looked at to its end.
    """

    actions: ActionScores
    frame_index: int
    timestamp: float
    frames: int
    complete: bool


class Writer(ABC):
    """Takes results in frame order. A context manager.

    The file gets its name on `close`; until then it is written beside it as `.NAME.part`. When the body of
    the `with` fails or is interrupted, what was written so far is finished and kept, readable; if nothing
    was written, an older file of that name stays as it was.
    """

    _written = 0

    def write(self, result: FrameResult) -> None:
        """Adds one frame.

        Raises:
            OutputError: it cannot be written; what was written before is kept.
        """
        self._append(result)
        self._written += 1

    def conclude(self, conclusion: Conclusion) -> None:
        """Adds what is said of the whole source, after its last frame; most outputs have no place for it.

        Raises:
            OutputError: it cannot be written.
        """
        return

    @abstractmethod
    def _append(self, result: FrameResult) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Finishes the file and gives it its name. Closing twice is fine."""

    @abstractmethod
    def discard(self) -> None:
        """Ends without a file; one that had the name before stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._written:
            self.discard()
        else:
            self.close()


class _LineWriter(Writer):
    """A writer of text: only the lines differ."""

    def __init__(self, path: Path, suffixes: tuple[str, ...]) -> None:
        self._lines = LineFile(path, suffixes)

    def close(self) -> None:
        """Gives the file its name."""
        self._lines.close()

    def discard(self) -> None:
        """Ends without a file."""
        self._lines.discard()


class MotWriter(_LineWriter):
    """MOTChallenge text, one row per track and frame: frame,id,x,y,w,h,conf,-1,-1,-1.

    Frames count from 1, x and y are the upper left corner, all in pixels with two decimals; conf is 0-1.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(Path(path), (".txt", ".csv"))

    def _append(self, result: FrameResult) -> None:
        frame = result.frame_index + 1
        rows = []
        for track in _tracks(result):
            x1, y1, x2, y2 = track.box
            score = 1.0 if track.score is None else track.score
            box = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
            rows.append(f"{frame},{track.id},{box},{score:.4f},-1,-1,-1\n")
        self._lines.append("".join(rows))


class JsonLinesWriter(_LineWriter):
    """JSON lines, one object per frame, frames without tracks too.

        {"frame": 12, "timestamp": 0.48, "tracks":
            [{"id": 3, "box": [x1, y1, x2, y2], "score": 0.91, "class": 0}], "detections": 5}

    `frame` counts from 0 and skips dropped frames; `timestamp` is seconds since the source's first frame;
    boxes are pixels; `score` and `class` are null where the tracker gives none; `detections` is the number of
    boxes the detector kept. A model with an action head adds what the video is taken for up to this frame,
    the most probable first:

        "actions": [{"label": "fight", "score": 0.83}, {"label": "no fight", "score": 0.17}]

    `conclude` adds a line on the whole source: frame and time of the last frame, and

        "verdict": true, "frames": 300, "complete": true, "actions": [...]

    Args:
        path: the file, .jsonl.
        actions: classes named per frame; None names all.
    """

    def __init__(self, path: str | Path, actions: int | None = 5) -> None:
        super().__init__(Path(path), (".jsonl", ".ndjson"))
        self._actions = actions

    def _append(self, result: FrameResult) -> None:
        tracks = [
            {
                "id": track.id,
                "box": [round(value, 2) for value in track.box],
                "score": None if track.score is None else round(track.score, 4),
                "class": track.class_id,
            }
            for track in _tracks(result)
        ]
        record: dict[str, object] = {
            "frame": int(result.frame_index),
            "timestamp": round(float(result.timestamp), 6),
            "tracks": tracks,
            "detections": len(result.detections),
        }
        if result.actions is not None:
            record["actions"] = self._named(result.actions)
        self._lines.append(json.dumps(record, allow_nan=False) + "\n")

    def conclude(self, conclusion: Conclusion) -> None:
        """Adds the line on the whole source."""
        record = {
            "verdict": True,
            "frame": int(conclusion.frame_index),
            "timestamp": round(float(conclusion.timestamp), 6),
            "frames": conclusion.frames,
            "complete": conclusion.complete,
            "actions": self._named(conclusion.actions),
        }
        self._lines.append(json.dumps(record, allow_nan=False) + "\n")

    def _named(self, actions: ActionScores) -> list[dict[str, object]]:
        best = actions.top(self._actions)
        return [{"label": label, "score": round(score, 4)} for label, score in best]


@dataclass(frozen=True, slots=True)
class _Track:
    """One row of a frame's tracks as plain numbers; score and class None where there are none."""

    id: int
    box: tuple[float, float, float, float]
    score: float | None
    class_id: int | None


def _tracks(result: FrameResult) -> Iterator[_Track]:
    """The frame's tracks; rows without an id or with a box that is not finite are left out."""
    tracks = result.tracks
    if tracks.tracker_id is None:
        return
    for row, track_id in enumerate(tracks.tracker_id):
        x1, y1, x2, y2 = (float(value) for value in tracks.xyxy[row])
        if not math.isfinite(x1 + y1 + x2 + y2):
            continue
        score = None if tracks.confidence is None else float(tracks.confidence[row])
        class_id = None if tracks.class_id is None else int(tracks.class_id[row])
        score = score if score is not None and math.isfinite(score) else None
        yield _Track(int(track_id), (x1, y1, x2, y2), score, class_id)
