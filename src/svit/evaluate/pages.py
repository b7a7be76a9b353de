"""What is on the report page of scored files, of several trackers, and of a model's run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from svit.data.mot_files import read_rows, read_sequence_info
from svit.data.video_frames import FrameReader, open_frames
from svit.evaluate.failures import Failure, draw_failure, find_misses, find_switches, jpeg, worst
from svit.evaluate.plots import bar_figure, rival_figure, svg, threshold_figure
from svit.evaluate.report import Card, Page, Section
from svit.evaluate.table import ALL, DETECTIONS, ONLINE, Table, run_table

if TYPE_CHECKING:
    from svit.data.datasets import EvalSequence
    from svit.data.mot_files import Rows
    from svit.evaluate.evaluation import Evaluation
    from svit.evaluate.mot import SequenceScore
    from svit.evaluate.mot_input import Pair

SHOWN = 12
"""Failures of each kind on a page."""

OVER_THRESHOLDS = "Accuracy over thresholds"
NO_PICTURES = " There are no pictures beside the ground truth."


@dataclass(frozen=True)
class _Kind:
    """A kind of failure: its heading, the order, and what its pictures show."""

    heading: str
    order: str
    pictures: str


SWITCHES = _Kind(
    "Identity switches",
    "The costliest first, one for each person: those that cut a long track into two long pieces.",
    " Left is the last matched frame before the switch, right the frame of the switch. Dashed white: the "
    "person's box in the ground truth; in colour: the tracks before and after, with their ids.",
)
MISSES = _Kind(
    "Misses",
    "The longest first, one for each person, in the frame in which the person is largest.",
    " Dashed white: the person's box in the ground truth; in colour: tracks nearby, with their ids.",
)


@dataclass(frozen=True)
class Recording:
    """A scored sequence with what its failures are drawn from.

    Attributes:
        score: its scores, switches and misses.
        gt: rows of the ground truth.
        results: rows of the tracker.
        pictures: folder of its images, or its video; None where there are none.
    """

    score: SequenceScore
    gt: Rows
    results: Rows
    pictures: Path | None


def recordings_of(scores: Sequence[SequenceScore], pairs: Sequence[Pair]) -> list[Recording]:
    """Scored files with what their failures are drawn from; pictures are looked for beside the ground truth.

    Raises:
        DataError: a file cannot be read.
    """
    return [
        Recording(score, pair.read_truth().rows, pair.read_results().rows, find_pictures(pair.truth))
        for score, pair in zip(scores, pairs, strict=True)
    ]


def find_pictures(truth: Path | Rows) -> Path | None:
    """The images or the video of the sequence that a ground truth file SEQ/gt/gt.txt belongs to, if any.

    Raises:
        DataError: seqinfo.ini is malformed.
    """
    if not isinstance(truth, Path) or truth.parent.name != "gt":
        return None
    folder = truth.parent.parent
    pictures: Path | None = folder / "img1"
    if (folder / "seqinfo.ini").is_file():
        info = read_sequence_info(folder)
        pictures = info.video or info.images
    if pictures is None or not pictures.exists():
        return None
    return None if pictures.is_dir() and not any(pictures.iterdir()) else pictures


def scores_page(
    title: str,
    facts: Sequence[tuple[str, str]],
    tables: Sequence[Table],
    recordings: Sequence[Recording],
    combined: SequenceScore,
) -> Page:
    """The page of one tracker: table, curves, bars, and what went wrong.

    Raises:
        SvitError: a picture of a failure cannot be read.
    """
    scores = [recording.score for recording in recordings]
    shown = [combined, *scores] if len(scores) > 1 else scores  # one sequence is all there is
    curves = {score.name: score.curves for score in shown}
    bars = {score.name: score.metrics for score in scores}
    return Page(
        title,
        facts,
        (
            Section("Scores", tables=tables),
            Section(OVER_THRESHOLDS, plots=[(OVER_THRESHOLDS, svg(threshold_figure(curves)))]),
            Section("Sequences", plots=[("Sequences", svg(bar_figure(bars, ("HOTA", "MOTA", "IDF1"))))]),
            *failure_sections(recordings),
        ),
    )


def run_page(
    title: str, facts: Sequence[tuple[str, str]], evaluation: Evaluation, dataset: Sequence[EvalSequence]
) -> Page:
    """The page of a model's run over a data set.

    Raises:
        SvitError: a picture of a failure cannot be read.
    """
    sequences = {sequence.name: sequence for sequence in dataset}
    recordings = [
        Recording(
            score,
            sequences[score.name].ground_truth,
            read_rows(evaluation.output / "tracks" / f"{score.name}.txt"),
            sequences[score.name].source,
        )
        for score in evaluation.scores
    ]
    rows = [*evaluation.sequences, evaluation.combined]
    tables = [
        run_table(rows, ALL, "Tracks, their gaps filled in"),
        run_table(rows, ONLINE, "Tracks as they were known when each frame was answered"),
        run_table(rows, DETECTIONS, "Detections, and computing time"),
    ]
    return scores_page(title, facts, tables, recordings, evaluation.combined_score)


def rivals_page(
    title: str,
    facts: Sequence[tuple[str, str]],
    tables: Sequence[Table],
    scores: Mapping[str, Sequence[SequenceScore]],
    combined: Mapping[str, SequenceScore],
) -> Page:
    """The page of several trackers on the same sequences, side by side.

    Args:
        title: its first line.
        facts: what was scored: name and value.
        tables: their scores.
        scores: of each tracker by sequence.
        combined: of each tracker over all sequences.
    """
    curves = {name: score.curves for name, score in combined.items()}
    hota: dict[str, dict[str, float]] = {}
    for tracker, of_tracker in scores.items():
        for score in of_tracker:
            hota.setdefault(score.name, {})[tracker] = score.metrics["HOTA"]
    return Page(
        title,
        facts,
        (
            Section("Scores", tables=tables),
            Section(OVER_THRESHOLDS, plots=[(OVER_THRESHOLDS, svg(rival_figure(curves)))]),
            Section("HOTA of each sequence", plots=[("HOTA", svg(bar_figure(hota, list(scores))))]),
        ),
    )


def failure_sections(recordings: Sequence[Recording]) -> list[Section]:
    """The worst identity switches, then the longest misses.

    Raises:
        SvitError: a picture cannot be read.
    """
    switches = [
        failure
        for one in recordings
        for failure in find_switches(one.score.name, one.gt, one.score.switches, one.score.misses)
    ]
    misses = [
        failure for one in recordings for failure in find_misses(one.score.name, one.gt, one.score.misses)
    ]
    with ExitStack() as opened:
        albums = {one.score.name: _Album(one, opened) for one in recordings}
        return [_failures(SWITCHES, switches, albums), _failures(MISSES, misses, albums)]


class _Album:
    """A sequence's failures as cards; its pictures are opened once, when first needed."""

    def __init__(self, recording: Recording, opened: ExitStack) -> None:
        self._recording, self._opened = recording, opened

    @cached_property
    def _frames(self) -> FrameReader | None:
        path = self._recording.pictures
        return None if path is None else self._opened.enter_context(open_frames(path))

    def card(self, failure: Failure) -> Card:
        if self._frames is None:
            return Card(failure.caption(), ())
        pictures = draw_failure(failure, self._frames, self._recording.gt, self._recording.results)
        below = [f"frame {number}" for number in failure.frames]
        return Card(failure.caption(), list(zip(below, map(jpeg, pictures), strict=True)))


def _failures(kind: _Kind, failures: Sequence[Failure], albums: Mapping[str, _Album]) -> Section:
    cards = [albums[failure.sequence].card(failure) for failure in worst(failures, SHOWN)]
    if not cards:
        return Section(kind.heading, "None.")
    explanation = kind.pictures if any(card.pictures for card in cards) else NO_PICTURES
    return Section(kind.heading, kind.order + explanation, cards=cards)
