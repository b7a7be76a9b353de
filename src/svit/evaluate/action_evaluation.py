"""What a run of action recognition finds: scores, and what became of every video."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svit.data.actions import ActionIndex
from svit.errors import DataError
from svit.evaluate.action import class_scores, confusion_matrix, score_actions
from svit.evaluate.action_folder import SHARES, ActionFolder, Scores, VideoAnswers, video_name
from svit.evaluate.run_files import whole_file
from svit.model.video_model import VideoModel
from svit.types import ActionScores

NAMED = 5
"""Classes that the list of predictions names per video."""


@dataclass(frozen=True)
class VideoPrediction:
    """What became of one video of the split.

    Attributes:
        path: in the index.
        label: its class, of the model's.
        answer: probabilities (K,), the mean of its views, or without views the verdict of the stream on all
            of it; None where it cannot be read.
        notes: what went wrong in reading.
    """

    path: str
    label: int
    answer: Scores | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class StreamScores:
    """How good a stream is when it has seen a part of each video.

    Attributes:
        shares: of the videos' durations seen, 0.1 to 1.
        verdicts: scores of the verdicts so far, per share; see `svit.evaluate.action.score_actions`.
        moments: of the answers of the last frame by then.
        frames: how many were processed.
        ms: processing time of a frame: "mean", "median", "95 %"; reading and decoding are not in it.
    """

    shares: tuple[float, ...]
    verdicts: list[dict[str, float]]
    moments: list[dict[str, float]]
    frames: int
    ms: dict[str, float]


@dataclass(frozen=True)
class ActionEvaluation:
    """What a run found.

    Attributes:
        model: name of the model's configuration.
        output: the folder with `videos/*.npz`, `run.json`, `results.json` and `predictions.jsonl`.
        settings: what the results depend on, as in `run.json`.
        classes: the model's.
        videos: every video of the split, in the index's order.
        broken: path and reason of those that the index lists as unusable.
        scores: of the views; None without.
        streaming: None without.
        confusion: (K, K) videos by class and answer.
    """

    model: str
    output: Path
    settings: dict[str, Any]
    classes: tuple[str, ...]
    videos: tuple[VideoPrediction, ...]
    broken: tuple[tuple[str, str], ...]
    scores: dict[str, float] | None
    streaming: StreamScores | None
    confusion: npt.NDArray[np.int64]

    @property
    def counts(self) -> dict[str, int]:
        """How many videos became what.

        "scored"; "damaged": scored too, from what could be read of them; "unreadable" now, not scored;
        "broken": left out when the index was made, not scored.
        """
        return {
            "scored": sum(video.answer is not None for video in self.videos),
            "damaged": sum(video.answer is not None and bool(video.notes) for video in self.videos),
            "unreadable": sum(video.answer is None for video in self.videos),
            "broken": len(self.broken),
        }

    def lost(self) -> list[tuple[str, str]]:
        """Path and reason of every video that was not scored, or only in part."""
        return [(video.path, "; ".join(video.notes)) for video in self.videos if video.notes] + list(
            self.broken
        )

    def as_json(self) -> dict[str, Any]:
        """The content of `results.json`: all numbers, per cent unless named otherwise; NaN is None."""
        per_class = class_scores(self.confusion)
        classes = {
            name: {key: _number(values[place]) for key, values in per_class.items()}
            for place, name in enumerate(self.classes)
        }
        streaming = None
        if self.streaming is not None:
            rows = zip(self.streaming.shares, self.streaming.verdicts, self.streaming.moments, strict=True)
            streaming = {
                "frames": self.streaming.frames,
                "ms per frame": self.streaming.ms,
                "shares": [
                    {"seen": 100 * share, "video so far": _numbers(so_far), "last frame": _numbers(last)}
                    for share, so_far, last in rows
                ],
            }
        return {
            "model": self.model,
            "settings": self.settings,
            "videos": self.counts,
            "views": None if self.scores is None else _numbers(self.scores),
            "streaming": streaming,
            "classes": classes,
            "confusion": self.confusion.tolist(),
            "lost": [{"path": path, "reason": reason} for path, reason in self.lost()],
        }

    def write_predictions(self, path: Path) -> None:
        """Writes a JSON line per video of the split: path, label, the first five answers, notes.

        Raises:
            OutputError: it cannot be written.
        """
        with whole_file(path) as file:
            for video in self.videos:
                file.write(json.dumps(self._record(video), ensure_ascii=False).encode() + b"\n")

    def _record(self, video: VideoPrediction) -> dict[str, Any]:
        actions = None
        if video.answer is not None:
            best = ActionScores(self.classes, video.answer).top(NAMED)
            actions = [{"label": label, "score": round(score, 6)} for label, score in best]
        label = self.classes[video.label]
        return {"path": video.path, "label": label, "actions": actions, "notes": list(video.notes)}


def score_answers(
    model: VideoModel, index: ActionIndex, folder: ActionFolder, split: str, classes: list[int]
) -> ActionEvaluation:
    """Scores a run from its files.

    Args:
        model: whose run it is.
        index: the data set.
        folder: where the answers are.
        split: which videos.
        classes: the model's class of each of the data set's.

    Raises:
        DataError: none of the videos could be read.
    """
    action, videos = model.config.action, index.of(split)
    assert action is not None
    answers = [folder.read(video_name(number)) for number in range(len(videos))]
    readable = [each for each in answers if folder.readable(each)]
    if not readable:
        raise DataError(f"none of the {len(videos)} videos can be read; the first: {answers[0].notes[0]}")
    labels = [classes[video.label] for video in videos]
    right = np.array([label for label, each in zip(labels, answers, strict=True) if folder.readable(each)])
    predictions = tuple(
        VideoPrediction(video.path, label, _answer(each) if folder.readable(each) else None, each.notes)
        for video, label, each in zip(videos, labels, answers, strict=True)
    )
    said = np.stack([_answer(each) for each in readable])
    broken = tuple((video.path, video.reason) for video in index.broken if video.split == split)
    return ActionEvaluation(
        model.config.name,
        folder.path,
        folder.settings,
        action.class_names,
        predictions,
        broken,
        score_actions(said, right) if folder.settings["views"] else None,
        _stream_scores(readable, right) if folder.settings["streaming"] else None,
        confusion_matrix(said, right),
    )


def _answer(answers: VideoAnswers) -> Scores:
    """The probabilities (K,) that stand for a video."""
    mean: Scores = answers.views.mean(0) if len(answers.views) else answers.verdicts[-1]
    return mean


def _stream_scores(answers: list[VideoAnswers], right: npt.NDArray[np.int64]) -> StreamScores:
    verdicts, moments = (
        [score_actions(scores, right) for scores in np.stack(found, 1)]
        for found in ([each.verdicts for each in answers], [each.moments for each in answers])
    )
    ms = np.concatenate([each.ms for each in answers])
    times = {"mean": ms.mean(), "median": np.median(ms), "95 %": np.percentile(ms, 95)}
    return StreamScores(
        SHARES, verdicts, moments, len(ms), {name: float(value) for name, value in times.items()}
    )


def _numbers(scores: dict[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in scores.items()}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
