"""The report page: one HTML file that opens anywhere, without a network and without a script."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from svit.evaluate.table import Table
from svit.video.output import PartFile, output_error

STYLE = """
:root { color: #20262e; background: #fff; font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
body { max-width: 74rem; margin: 2rem auto 4rem; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #d8dde4; padding-bottom: .3rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: 0; color: #4a5360; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 0 0 1.4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
caption { text-align: left; color: #4a5360; padding: .2rem 0 .4rem; }
th, td { padding: .22rem .55rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; padding-left: 0; }
thead th { border-bottom: 2px solid #20262e; font-weight: 600; }
tbody tr + tr > * { border-top: 1px solid #e9edf1; }
tr.combined > * { font-weight: 700; border-top: 2px solid #9aa4b1 !important; }
td.best { font-weight: 700; color: #1f5fbf; }
.note { color: #4a5360; margin: .2rem 0 1rem; }
img { display: block; max-width: 100%; height: auto; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1.1rem; }
.pair { grid-template-columns: repeat(auto-fill, minmax(33rem, 1fr)); }
figure { margin: 0; break-inside: avoid; }
.shots { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 4px; }
.shots img { width: 100%; border-radius: 3px; }
.shots span { font-size: .78rem; color: #4a5360; }
figcaption { font-size: .88rem; font-weight: 600; overflow-wrap: anywhere; }
@media (max-width: 40rem) { .sheet, .pair { grid-template-columns: 1fr; } }
@media print { body { max-width: none; margin: 0; } h2, .note { break-after: avoid; }
  .wide { overflow: visible; } table { font-size: .62rem; } th, td { padding: .12rem .25rem; }
  .sheet { grid-template-columns: 1fr 1fr 1fr; } .pair { grid-template-columns: 1fr 1fr; }
  * { print-color-adjust: exact; } }
"""


@dataclass(frozen=True)
class Card:
    """A failure on the page: a line, and one picture or several side by side.

    Attributes:
        caption: what is to be seen.
        pictures: what is written below each, and its JPEG file.
    """

    caption: str
    pictures: Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Section:
    """A part of the page, below its heading: a note, tables, plots (name and SVG document), pictures."""

    heading: str
    note: str = ""
    tables: Sequence[Table] = ()
    plots: Sequence[tuple[str, str]] = ()
    cards: Sequence[Card] = ()


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: its first line.
        facts: what was evaluated and how: name and value.
        sections: its parts, in order.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = field(default=())

    def html(self) -> str:
        """The whole page; every name in it is escaped."""
        title = html.escape(self.title)
        facts = "".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in self.facts
        )
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{STYLE}</style></head>\n"
            f"<body><h1>{title}</h1><dl>{facts}</dl>\n"
            f"{''.join(map(_section, self.sections))}</body></html>\n"
        )


def write_page(page: Page, path: Path) -> None:
    """Writes the page; it appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(page.html(), path)


def write_text(text: str, path: Path) -> None:
    """Writes a text file, .html or .json; it appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    place = PartFile(path, (".html", ".json"))
    try:
        place.part.write_text(text, encoding="utf-8")
    except OSError as error:
        place.discard()
        raise output_error(path, error) from error
    place.commit()


def _section(section: Section) -> str:
    note = f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
    tables = "".join(table.html() for table in section.tables)
    # As pictures of their own, so that the names inside one SVG document cannot meet those of another.
    plots = "".join(_image(name, "svg+xml", svg.encode()) for name, svg in section.plots)
    wide = " pair" if any(len(card.pictures) > 1 for card in section.cards) else ""
    cards = f'<div class="sheet{wide}">{"".join(map(_card, section.cards))}</div>' if section.cards else ""
    return f"<h2>{html.escape(section.heading)}</h2>{note}{tables}{plots}{cards}\n"


def _card(card: Card) -> str:
    shots = "".join(
        f"<div>{_image(card.caption, 'jpeg', data)}<span>{html.escape(below)}</span></div>"
        for below, data in card.pictures
    )
    line = f"<figcaption>{html.escape(card.caption)}</figcaption>"
    return f'<figure>{line}<div class="shots">{shots}</div></figure>'


def _image(name: str, kind: str, data: bytes) -> str:
    return f'<img alt="{html.escape(name)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
