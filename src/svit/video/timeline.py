"""A picture of how the scores of actions change over a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from svit.errors import OutputError
from svit.types import FrameResult
from svit.video.output import PartFile, output_error
from svit.video.writers import Writer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 2000
"""Kept at most; then neighbours become their mean. A picture shows no more, and a camera never ends."""

CLASSES = 6
"""Classes with a line: those whose scores were highest at some time."""

COLOURS = ("#1f5fbf", "#d9822b", "#2a9d6f", "#a2438f", "#7a7a7a", "#b8a02a")
INK, FAINT, REST = "#333a45", "#d8dde4", "#c9ced6"
LONGEST_NAME = 44


class Timeline(Writer):
    """A PNG with a line per class over time, and a strip that says which class was first when.

    Memory is bounded however long the video is. Without a single frame with actions there is no picture.

    Args:
        path: ends in .png.
    """

    def __init__(self, path: str | Path) -> None:
        self._place = PartFile(Path(path), (".png",))
        if self._place.direct:
            raise OutputError(f"{path}: not a regular file; a picture can only be written to a file")
        self._names: tuple[str, ...] = ()
        self._times: list[float] = []
        self._scores: list[npt.NDArray[np.float32]] = []
        self._waiting: list[tuple[float, npt.NDArray[np.float32]]] = []
        self._step, self._finished = 1, False

    def _append(self, result: FrameResult) -> None:
        if result.actions is None:
            return
        self._names = result.actions.names
        self._waiting.append((result.timestamp, result.actions.probabilities))
        if len(self._waiting) == self._step:
            self._keep()
        if len(self._times) == POINTS:
            pairs = np.stack(self._scores).reshape(POINTS // 2, 2, -1)
            self._scores, self._times = list(pairs.mean(1)), self._times[::2]
            self._step *= 2

    def close(self) -> None:
        """Draws the picture."""
        if self._finished:
            return
        if self._waiting:
            self._keep()
        if not self._times:
            self.discard()
            return
        self._finished = True
        figure = timeline_figure(np.array(self._times), np.stack(self._scores), self._names)
        try:
            figure.savefig(self._place.part, format="png", dpi=110)
        except OSError as error:
            self._place.discard()
            raise output_error(self._place.target, error) from error
        self._place.commit()

    def discard(self) -> None:
        """Ends without a file."""
        if not self._finished:
            self._finished = True
            self._place.discard()

    def _keep(self) -> None:
        """Makes a point of the frames that wait."""
        self._times.append(self._waiting[0][0])
        self._scores.append(np.mean([scores for _, scores in self._waiting], axis=0))
        self._waiting = []


def timeline_figure(
    times: npt.NDArray[np.float64], scores: npt.NDArray[np.floating], names: tuple[str, ...]
) -> Figure:
    """The figure: a strip of the first class over lines of the classes that came highest.

    Args:
        times: (T,) seconds, rising.
        scores: (T, K) 0 to 1.
        names: K classes.
    """
    from matplotlib.figure import Figure  # takes longer to import than a short video takes

    shown = np.argsort(-scores.max(0), kind="stable")[:CLASSES].tolist()
    # A point lasts until the next one; the last as long as the one before it.
    ends = np.append(times[1:], times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1.0))
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    strip, panel = figure.subplots(2, 1, sharex=True, height_ratios=(1, 9))
    first = scores.argmax(1)
    for number in sorted({*first.tolist()}, key=lambda n: n not in shown):
        spans = [(times[i], ends[i] - times[i]) for i in np.flatnonzero(first == number)]
        colour = COLOURS[shown.index(number)] if number in shown else REST
        strip.broken_barh(spans, (0, 1), facecolor=colour, linewidth=0)
    for place, number in enumerate(shown):
        values, label = np.append(scores[:, number], scores[-1, number]), _short(names[number])
        panel.step(np.append(times, ends[-1]), values, where="post", color=COLOURS[place], label=label)
    for axes in (strip, panel):
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8, length=0)
    strip.set_yticks([])
    strip.set_ylabel("first", rotation=0, ha="right", va="center", color=INK, fontsize=8)
    panel.set_xlim(times[0], ends[-1])
    panel.set_ylim(0, 1.02)
    panel.grid(color=FAINT, linewidth=0.6)
    panel.set_xlabel("seconds", color=INK, fontsize=9)
    panel.set_ylabel("score", color=INK, fontsize=9)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _short(name: str) -> str:
    """A name that fits; its dollar signs are no formulas, and a leading _ does not hide it from a legend."""
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return f" {short}".replace("$", r"\$") if short.startswith("_") else short.replace("$", r"\$")
