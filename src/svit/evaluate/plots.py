"""Plots of the report, as SVG. Figures are made one by one: matplotlib's global state is left alone."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from svit.evaluate.hota import ALPHAS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, npt.NDArray[np.float64]]
"""Metric to its (19,) values in per cent over `ALPHAS`."""

COLOURS = {"HOTA": "#1f5fbf", "DetA": "#d9822b", "AssA": "#2a9d6f", "MOTA": "#d9822b", "IDF1": "#2a9d6f"}
RIVALS = ("#1f5fbf", "#d9822b", "#2a9d6f", "#a2438f", "#7a7a7a", "#b8a02a", "#3aa6c4", "#c23b3b")
"""Colours of several trackers; a ninth begins again, with dashes."""
INK, FAINT = "#333a45", "#d8dde4"
COLUMNS = 4
WIDTH = 10.6
"""Inches; the page scales a figure to its own width."""
LONGEST_NAME = 30
LOWEST = -100.0
"""MOTA has no lower end; bars do, so that one bad sequence does not flatten all others."""


def threshold_figure(curves: Mapping[str, Curves]) -> Figure:
    """HOTA, DetA and AssA over the thresholds: a panel for each name (a sequence, COMBINED, a tracker)."""
    columns = min(COLUMNS, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(WIDTH * columns / COLUMNS + 0.4, 2.3 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for panel, (name, values) in zip(panels, curves.items(), strict=False):
        for metric in ("HOTA", "DetA", "AssA"):
            panel.plot(ALPHAS, values[metric], color=COLOURS[metric], label=metric, linewidth=1.8)
        _style_curves(panel, short_name(name))
    for panel in panels[len(curves) :]:
        panel.remove()
    # The panel above a removed one has lost its shared axis' numbers.
    for panel in panels[: len(curves)][-columns:]:
        panel.tick_params(labelbottom=True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.supxlabel("localisation threshold (IoU)", color=INK, fontsize=9)
    return figure


def rival_figure(curves: Mapping[str, Curves]) -> Figure:
    """HOTA, DetA and AssA over the thresholds in a panel each, with a line for every tracker."""
    figure = Figure(figsize=(WIDTH, 3.4 + 0.2 * math.ceil(len(curves) / 4)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for panel, metric in zip(panels, ("HOTA", "DetA", "AssA"), strict=True):
        for number, (name, values) in enumerate(curves.items()):
            panel.plot(
                ALPHAS,
                values[metric],
                color=RIVALS[number % len(RIVALS)],
                linestyle="--" if number >= len(RIVALS) else "-",
                label=short_name(name),
                linewidth=1.8,
            )
        _style_curves(panel, metric)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    figure.supxlabel("localisation threshold (IoU)", color=INK, fontsize=9)
    return figure


def bar_figure(scores: Mapping[str, Mapping[str, float]], bars: Sequence[str]) -> Figure:
    """Horizontal bars for each name, in per cent.

    Args:
        scores: name (a sequence) to its numbers; one that is missing or NaN has no bar.
        bars: which numbers, top to bottom: metrics, or the names of trackers.
    """
    names, thickness = list(scores), 0.8 / len(bars)
    figure = Figure(figsize=(WIDTH, len(names) * (0.2 + 0.17 * len(bars)) + 1), layout="constrained")
    panel = figure.subplots()
    for number, bar in enumerate(bars):
        values = np.array([scores[name].get(bar, np.nan) for name in names], dtype=np.float64)
        places = np.arange(len(names)) + (number - (len(bars) - 1) / 2) * thickness
        colour = COLOURS.get(bar, RIVALS[number % len(RIVALS)])
        lengths = np.nan_to_num(values).clip(min=LOWEST)
        drawn = panel.barh(places, lengths, thickness * 0.9, color=colour, label=short_name(bar))
        labels = [f"{value:.1f}" if math.isfinite(value) else "" for value in values]
        panel.bar_label(drawn, labels, padding=3, fontsize=7, color=INK)
    panel.set_yticks(range(len(names)), [short_name(name) for name in names])
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.margins(x=0.06)
    low, high = panel.get_xlim()
    panel.set_xlim(low if low < 0 else 0, max(high, 100))
    style(panel)
    panel.grid(axis="y", visible=False)
    panel.axvline(0, color=INK, linewidth=0.8)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def svg(figure: Figure) -> str:
    """The figure as an SVG document; letters are shapes, so it looks the same everywhere."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue().decode()


def _style_curves(panel: Axes, title: str) -> None:
    style(panel)
    panel.set_title(title, fontsize=10, color=INK)
    panel.set_xlim(0, 1)
    panel.set_xticks([0.25, 0.5, 0.75])
    panel.set_ylim(0, 100)


def style(panel: Axes) -> None:
    """The look that all panels share."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(FAINT)
    panel.tick_params(colors=INK, labelsize=8, length=0)
    panel.grid(color=FAINT, linewidth=0.6)
    panel.set_axisbelow(True)


def short_name(name: str) -> str:
    """A name that fits; its dollar signs are no formulas, and a leading _ does not hide it from a legend."""
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return f" {short}".replace("$", r"\$") if short.startswith("_") else short.replace("$", r"\$")
