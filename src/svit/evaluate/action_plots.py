"""Plots of the report on action recognition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from svit.evaluate.plots import INK, RIVALS, WIDTH, short_name, style

Floats = npt.NDArray[np.float64]

NAMED_CLASSES = 40
"""With more, the confusion matrix has no names and its cells no numbers."""
NUMBERED_CLASSES = 16


def confusion_figure(confusion: npt.NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """The confusion matrix: each row as shares of the class's videos; a class without videos is empty.

    Args:
        confusion: (K, K) videos by class (row) and answer (column).
        classes: names.
    """
    side = min(WIDTH * 0.8, 2.6 + 0.32 * min(len(classes), NAMED_CLASSES))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    panel = figure.subplots()
    videos = confusion.sum(1, keepdims=True)
    shares = np.divide(100.0 * confusion, videos, out=np.zeros(confusion.shape), where=videos > 0)
    drawn = panel.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest", aspect="auto")
    bar = figure.colorbar(drawn, ax=panel, shrink=0.6)
    bar.set_label("share of the class's videos, per cent", color=INK, fontsize=8)
    bar.ax.tick_params(labelsize=7, colors=INK)
    if len(classes) <= NAMED_CLASSES:
        names = [short_name(name) for name in classes]
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        panel.set_yticks(range(len(names)), names, fontsize=7)
    if len(classes) <= NUMBERED_CLASSES:
        for row, column in np.ndindex(confusion.shape):
            ink = "white" if shares[row, column] > 55 else INK
            number = str(confusion[row, column])
            panel.text(column, row, number, ha="center", va="center", fontsize=8, color=ink)
    panel.set_xlabel("answer", color=INK, fontsize=9)
    panel.set_ylabel("class", color=INK, fontsize=9)
    panel.tick_params(length=0, colors=INK)
    return figure


def seen_figure(shares: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Figure:
    """Accuracy against the share of the video seen.

    Args:
        shares: 0 to 1.
        lines: name to per cent at each share.
    """
    figure = Figure(figsize=(WIDTH * 0.6, 3.4), layout="constrained")
    panel = figure.subplots()
    for number, (name, values) in enumerate(lines.items()):
        colour = RIVALS[number % len(RIVALS)]
        panel.plot(100 * np.asarray(shares), values, color=colour, label=name, marker="o", markersize=3.5)
    style(panel)
    panel.set_xlabel("share of the video seen, per cent", color=INK, fontsize=9)
    panel.set_ylabel("top-1, per cent", color=INK, fontsize=9)
    panel.set_xticks(range(10, 101, 10))
    panel.set_ylim(0, 100)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def roc_figure(alarms: Floats, hits: Floats, positive: str) -> Figure:
    """The ROC curve of two classes; `positive` is the one that is looked for."""
    figure = Figure(figsize=(WIDTH * 0.45, WIDTH * 0.42), layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=":")
    panel.plot(100 * alarms, 100 * hits, color=RIVALS[0], linewidth=1.8)
    style(panel)
    panel.set_xlabel(f"others taken for {short_name(positive)}, per cent", color=INK, fontsize=9)
    panel.set_ylabel(f"{short_name(positive)} found, per cent", color=INK, fontsize=9)
    panel.set_xlim(-1, 101)
    panel.set_ylim(-1, 101)
    return figure
