"""Tables and the report page of a run of action recognition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from svit.evaluate.action import NAMES, class_scores, roc_curve
from svit.evaluate.action_evaluation import ActionEvaluation, StreamScores
from svit.evaluate.action_plots import confusion_figure, roc_figure, seen_figure
from svit.evaluate.plots import bar_figure, svg
from svit.evaluate.report import Page, Section
from svit.evaluate.table import VIDEOS, Table

SHOWN = 20
"""Classes, pairs of classes and videos named on the page; files hold all."""

LAST = "last frame top-1"
MIXED_UP = "videos"


def scores_table(evaluation: ActionEvaluation) -> Table:
    """One row: the accuracy and what became of the videos."""
    if evaluation.scores is not None:
        views = evaluation.settings["views"]
        name, scores = f"{views['clips']}x{views['crops']}", evaluation.scores
    else:
        assert evaluation.streaming is not None
        name, scores = "streaming", evaluation.streaming.verdicts[-1]
    counts = evaluation.counts
    shown = [key for key in VIDEOS if key == "scored" or counts[key]]
    columns = [*_told(scores), *shown]
    return Table("views", [(name, {**scores, **counts})], columns)


def seen_table(streaming: StreamScores) -> Table:
    """A row for each share of the videos seen."""
    rows = [
        (f"{100 * share:.0f} %", {**so_far, LAST: last["top-1"]})
        for share, so_far, last in zip(streaming.shares, streaming.verdicts, streaming.moments, strict=True)
    ]
    return Table("seen", rows, [*_told(streaming.verdicts[-1]), LAST], title="One pass over each video")


def time_table(streaming: StreamScores) -> Table:
    """How long a frame takes."""
    values = {**streaming.ms, "frames": streaming.frames}
    return Table("time of a frame", [("ms", values)], list(values))


def action_page(title: str, facts: Sequence[tuple[str, str]], evaluation: ActionEvaluation) -> Page:
    """The page of a run: scores, streaming, confusion, classes, and the videos that went wrong."""
    sections = [Section("Scores", tables=[scores_table(evaluation)], plots=_roc(evaluation))]
    if evaluation.streaming is not None:
        sections.append(_streaming(evaluation.streaming))
    plot = svg(confusion_figure(evaluation.confusion, evaluation.classes))
    pairs = _confused(evaluation)
    sections.append(Section("Confusion", tables=[pairs] if pairs.rows else [], plots=[("Confusion", plot)]))
    sections.append(_classes(evaluation))
    sections.append(_mistakes(evaluation))
    if evaluation.lost():
        sections.append(_lost(evaluation))
    return Page(title, facts, sections)


def _told(scores: dict[str, float]) -> list[str]:
    """The numbers that say something."""
    return [name for name in NAMES if not np.isnan(scores[name])]


def _roc(evaluation: ActionEvaluation) -> list[tuple[str, str]]:
    """The ROC curve where there are two classes with videos."""
    scored = [video for video in evaluation.videos if video.answer is not None]
    labels = np.array([video.label for video in scored])
    if len(evaluation.classes) != 2 or len(set(labels.tolist())) != 2:
        return []
    answers = np.array([video.answer for video in scored])
    # The rarer class is the one that somebody looks for.
    sought = int((labels == 1).mean() < 0.5)
    curve = roc_curve(answers[:, sought] - answers[:, 1 - sought], labels == sought)
    return [("ROC", svg(roc_figure(*curve, evaluation.classes[sought])))]


def _streaming(streaming: StreamScores) -> Section:
    lines = {
        "video so far": [scores["top-1"] for scores in streaming.verdicts],
        "last frame": [scores["top-1"] for scores in streaming.moments],
    }
    return Section(
        "Streaming",
        "One pass over each whole video, frame by frame: how good the answer is when a part of it has been "
        "seen. “Video so far” is the mean of the answers given with a full window, “last frame” the answer "
        "of that moment. The time is that of the model, without reading the video.",
        tables=[seen_table(streaming), time_table(streaming)],
        plots=[("Streaming", svg(seen_figure(streaming.shares, lines)))],
    )


def _confused(evaluation: ActionEvaluation) -> Table:
    """The pairs of classes that are mixed up most."""
    mistakes = evaluation.confusion - np.diag(evaluation.confusion.diagonal())
    order = np.argsort(-mistakes, axis=None, kind="stable")[:SHOWN]
    rows: list[tuple[str, dict[str, float | None]]] = []
    for row, column in zip(*np.unravel_index(order, mistakes.shape), strict=True):
        if mistakes[row, column]:
            name = f"{evaluation.classes[row]} → {evaluation.classes[column]}"
            rows.append((name, {MIXED_UP: float(mistakes[row, column])}))
    return Table("class → answer", rows, [MIXED_UP], title="Mixed up most often")


def _classes(evaluation: ActionEvaluation) -> Section:
    scores = class_scores(evaluation.confusion)
    rows = [
        (name, {key: float(values[place]) for key, values in scores.items()})
        for place, name in enumerate(evaluation.classes)
        if scores["videos"][place]
    ]
    rows.sort(key=lambda row: row[1]["accuracy"])
    shown = rows if len(rows) <= 2 * SHOWN else [*rows[:SHOWN], *rows[-SHOWN:]]
    note = "" if len(shown) == len(rows) else f"The {SHOWN} worst and the {SHOWN} best of {len(rows)}."
    plot = svg(bar_figure(dict(shown), ("accuracy", "precision")))
    table = Table("class", shown, list(scores))
    return Section("Classes", note, tables=[table], plots=[("Classes", plot)])


def _mistakes(evaluation: ActionEvaluation) -> Section:
    """The videos whose wrong answer was surest."""
    rows: list[tuple[str, dict[str, float | None]]] = []
    for video in evaluation.videos:
        if video.answer is None or int(video.answer.argmax()) == video.label:
            continue
        best = int(video.answer.argmax())
        name = f"{video.path}: {evaluation.classes[video.label]} → {evaluation.classes[best]}"
        sure, right = (100 * float(video.answer[place]) for place in (best, video.label))
        rows.append((name, {"answer": sure, "class": right}))
    rows.sort(key=lambda row: -(row[1]["answer"] or 0))
    if not rows:
        return Section("Surest mistakes", "None.")
    table = Table("video: class → answer", rows[:SHOWN], ["answer", "class"])
    note = f"Probabilities in per cent. {len(rows)} of {evaluation.counts['scored']} videos are wrong."
    return Section("Surest mistakes", note, tables=[table])


def _lost(evaluation: ActionEvaluation) -> Section:
    counts, lost = evaluation.counts, evaluation.lost()
    note = (
        f"{counts['unreadable']} unreadable and {counts['broken']} left out when the data set was prepared: "
        f"not in the scores. {counts['damaged']} damaged: scored from what could be read."
    )
    rows: list[tuple[str, dict[str, float | None]]] = [(f"{path}: {reason}", {}) for path, reason in lost]
    return Section("Videos that could not be read", note, tables=[Table("video", rows, [])])
