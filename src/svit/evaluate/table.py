"""Tables of scores: the same numbers as text for a terminal and as HTML for the report."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svit.evaluate.mot import COMBINED, SequenceScore

if TYPE_CHECKING:
    from svit.evaluate.evaluation import SequenceResult

RATES = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDP", "IDR")
COUNTS = ("FP", "FN", "IDs", "MT", "ML", "Frag")
ALL = (*RATES, *COUNTS)
MAIN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", *COUNTS)
"""The columns of a terminal's table; files and the report hold all of them."""

ONLINE = ("online HOTA", "latency frames", "latency ms", "never found")
DETECTIONS = ("mAP@0.50", "mAP@0.60", "mAP@0.70", "mAP@0.80", "AP", "frames", "ms/frame")
OF_RUN = (*(metric for metric in MAIN if metric != "Frag"), *ONLINE, *DETECTIONS)
"""The columns of a model's run."""

MEANINGS = {
    "HOTA": "higher order tracking accuracy, per cent",
    "DetA": "detection accuracy within HOTA, per cent",
    "AssA": "association accuracy within HOTA, per cent",
    "LocA": "how well matched boxes fit, per cent",
    "MOTA": "1 - (misses + false positives + switches) / boxes, per cent",
    "MOTP": "mean overlap of matched boxes, per cent",
    "IDF1": "F1 of identified boxes, per cent",
    "IDP": "precision of identified boxes, per cent",
    "IDR": "recall of identified boxes, per cent",
    "FP": "false positives, boxes",
    "FN": "misses, boxes",
    "IDs": "identity switches",
    "MT": "mostly tracked people",
    "ML": "mostly lost people",
    "Frag": "interruptions of tracks",
    "AP": "COCO average precision, IoU 0.50 to 0.95, per cent",
    "online HOTA": "HOTA of what was known when each frame was answered, per cent",
    "frames": "frames evaluated",
    "latency frames": "frames from a person's first to the first online box on it, mean over people found",
    "latency ms": "the same in milliseconds of video",
    "never found": "people without any online box",
    "ms/frame": "computing time of a frame, milliseconds, mean",
    "top-1": "videos whose class is the first answer, per cent",
    "top-5": "videos whose class is among the first five answers, per cent",
    "mean class": "share of right answers of each class, mean over the classes, per cent",
    "AUC": "area under the ROC curve of two classes, per cent",
    "last frame top-1": "top-1 of the answer of the last frame alone, per cent",
    "scored": "videos that count",
    "damaged": "videos that count, of which only a part could be read",
    "unreadable": "videos that could not be read and do not count",
    "broken": "videos that were left out when the data set was prepared",
    "accuracy": "videos of the class that are right, per cent",
    "precision": "answers with the class that are right, per cent",
    "95 %": "what 95 per cent of the frames stay below",
}

LOWER_IS_BETTER = {"FP", "FN", "IDs", "ML", "Frag", "latency frames", "latency ms", "never found", "ms/frame"}
NOT_COMPARED = {"frames"}
VIDEOS = ("scored", "damaged", "unreadable", "broken")
WHOLE = {*COUNTS, *VIDEOS, "never found", "frames", "videos"}
UNKNOWN = "-"
SPACE = 2
"""Blanks between two columns of a text table."""


@dataclass(frozen=True)
class Table:
    """Scores by row and column.

    Attributes:
        heading: of the first column: what the rows are.
        rows: name and numbers of each row; a number that is None, NaN or missing is shown as "-".
        columns: which numbers, in order; the keys of the rows.
        title: a line above, or nothing.
        compared: rows are rivals: the best number of each column stands out in the report.
    """

    heading: str
    rows: Sequence[tuple[str, Mapping[str, float | None]]]
    columns: Sequence[str] = field(default=MAIN)
    title: str = ""
    compared: bool = False

    def text(self, width: int = 120) -> str:
        """Lines of at most `width` characters: columns that do not fit go into further blocks below.

        The first column is never cut, so a very long name makes a line longer.
        """
        names = _aligned([self.heading, *(name for name, _ in self.rows)], str.ljust)
        cells = [
            _aligned([title, *(shown(title, row.get(title)) for _, row in self.rows)], str.rjust)
            for title in self.columns
        ]
        blocks = _blocks(names, cells, width)
        lines = ["\n".join(map("".join, zip(names, *block, strict=True))) for block in blocks]
        return "\n".join([*([self.title] if self.title else []), "\n\n".join(lines)])

    def html(self) -> str:
        """A `<table>`; names are escaped."""
        head = "".join(
            f'<th title="{html.escape(_meaning(title))}">{html.escape(title)}</th>' for title in self.columns
        )
        best = {title: self._best(title) for title in self.columns} if self.compared else {}
        body = "".join(self._html_row(name, row, best) for name, row in self.rows)
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return (
            f'<div class="wide"><table>{caption}<thead><tr><th>{html.escape(self.heading)}</th>{head}</tr>'
            f"</thead><tbody>{body}</tbody></table></div>"
        )

    def _html_row(self, name: str, row: Mapping[str, float | None], best: Mapping[str, float | None]) -> str:
        mark = ' class="combined"' if name == COMBINED else ""
        cells = ""
        for title in self.columns:
            value = row.get(title)
            stands_out = value is not None and value == best.get(title)
            cells += f"<td{' class=best' if stands_out else ''}>{shown(title, value)}</td>"
        return f"<tr{mark}><th>{html.escape(name)}</th>{cells}</tr>"

    def _best(self, title: str) -> float | None:
        values = [row.get(title) for _, row in self.rows]
        numbers = [value for value in values if value is not None and math.isfinite(value)]
        if title in NOT_COMPARED or len(set(numbers)) < 2:
            return None
        return min(numbers) if title in LOWER_IS_BETTER else max(numbers)


def scores_table(scores: Iterable[SequenceScore], columns: Sequence[str] = MAIN) -> Table:
    """A row for each score."""
    return Table("sequence", [(score.name, score.metrics) for score in scores], columns)


def rivals_table(trackers: Mapping[str, SequenceScore], columns: Sequence[str] = MAIN) -> Table:
    """A row for each tracker, over all sequences."""
    rows = [(name, score.metrics) for name, score in trackers.items()]
    return Table("tracker", rows, columns, title="All sequences", compared=True)


def hota_table(trackers: Mapping[str, Sequence[SequenceScore]]) -> Table:
    """A row for each tracker with its HOTA in every sequence."""
    rows = [
        (name, {score.name: score.metrics["HOTA"] for score in scores}) for name, scores in trackers.items()
    ]
    sequences = list(rows[0][1])
    return Table("tracker", rows, sequences, title="HOTA of each sequence", compared=True)


def run_table(results: Iterable[SequenceResult], columns: Sequence[str] = OF_RUN, title: str = "") -> Table:
    """A row for each sequence of a run: tracks, online tracks, detections and time."""
    return Table("sequence", [(result.name, _numbers(result)) for result in results], columns, title)


def _numbers(result: SequenceResult) -> dict[str, float]:
    return {
        **result.detection,
        **result.tracking,
        "online HOTA": result.online["HOTA"],
        "latency frames": result.latency.frames,
        "latency ms": result.latency.ms,
        "never found": result.latency.never,
        "frames": result.speed.frames,
        "ms/frame": result.speed.detector_ms + result.speed.tracker_ms,
    }


def shown(title: str, value: float | None) -> str:
    """A number as tables show it: counts whole, rates and times with two digits after the point."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.0f}" if title in WHOLE else f"{value:.2f}"


def _meaning(title: str) -> str:
    if title.startswith("mAP@"):
        return f"mean average precision at IoU {title.removeprefix('mAP@')}, area under the curve, per cent"
    return MEANINGS.get(title, title)


def _aligned(cells: Sequence[str], align: Callable[[str, int], str]) -> list[str]:
    width = max(map(len, cells))
    return [align(cell, width) for cell in cells]


def _blocks(names: Sequence[str], cells: Iterable[list[str]], width: int) -> list[list[list[str]]]:
    """Columns, each with the blanks before it, cut into groups that fit beside the names."""
    blocks: list[list[list[str]]] = [[]]
    used = len(names[0])
    for column in cells:
        padded = [" " * SPACE + cell for cell in column]
        if blocks[-1] and used + len(padded[0]) > width:
            blocks.append([])
            used = len(names[0])
        blocks[-1].append(padded)
        used += len(padded[0])
    return blocks
