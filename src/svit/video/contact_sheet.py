"""One picture of a whole video: evenly spaced frames with their tracks in a grid."""

from __future__ import annotations

import math
from copy import copy
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from svit.errors import UsageError
from svit.types import FrameResult, Image
from svit.video.draw import TrackPainter
from svit.video.letterbox import fit, letterbox
from svit.video.output import PartFile, output_error
from svit.video.writers import Writer

SPARE = 4
"""So many times the cells are kept while the length is unknown: the final choice is even to 1/SPARE."""

BACKGROUND, INK = (24, 24, 27), (228, 228, 231)
GAP, CAPTION = 8, 22
"""Pixels between cells, and for the caption below each."""


class ContactSheet(Writer):
    """A PNG grid of `cells` frames, evenly spaced over however long the video turns out to be.

    Keeps a bounded number of small pictures: when there are `SPARE` x `cells`, every second one goes and from
    then on only every second frame is looked at. Each cell says frame number (from 0) and time.

    Args:
        path: ends in .png.
        columns: cells in a row, at least 1.
        cells: frames on the sheet (fewer where the video has fewer), at least 1.
        width: of a cell, pixels; the height follows from the first frame's shape.
        painter: draws the tracks; a `TrackPainter` of its own if None.

    Raises:
        UsageError: columns, cells or width below 1.
        OutputError: the path cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        columns: int = 3,
        cells: int = 12,
        width: int = 480,
        painter: TrackPainter | None = None,
    ) -> None:
        if min(columns, cells, width) < 1:
            raise UsageError(f"contact sheet {path}: columns, cells and width must be at least 1")
        self._place = PartFile(Path(path), (".png",))
        self._columns, self._cells, self._width = columns, cells, width
        self._painter = painter or TrackPainter()
        self._kept: list[tuple[str, Image]] = []
        self._step = 1
        self._finished = False

    def _append(self, result: FrameResult) -> None:
        height, width = result.image.shape[:2]
        if not self._kept:
            self._height = max(1, round(self._width * height / width))
        scale = min(self._width / width, self._height / height)
        # Drawn at the size of the cell, so that lines and letters stay sharp and readable.
        tracks = copy(result.tracks)
        tracks.xyxy = tracks.xyxy * scale
        self._painter.update(tracks)
        if self._written % self._step:
            return
        small, _ = fit(result.image, self._width, self._height)
        picture = letterbox(self._painter.draw(small, tracks), self._width, self._height)
        self._kept.append((f"frame {result.frame_index}   {result.timestamp:.1f} s", picture))
        if len(self._kept) == SPARE * self._cells:
            del self._kept[1::2]
            self._step *= 2

    def close(self) -> None:
        """Writes the PNG. Without a single frame there is none, and an older file stays."""
        if self._finished:
            return
        if not self._kept:
            self.discard()
            return
        self._finished = True
        try:
            self._sheet().save(self._place.part, format="PNG")
        except OSError as error:
            self._place.discard()
            raise output_error(self._place.target, error) from error
        self._place.commit()

    def discard(self) -> None:
        """Ends without a file."""
        if not self._finished:
            self._finished = True
            self._place.discard()

    def _sheet(self) -> PillowImage.Image:
        chosen = np.unique(np.linspace(0, len(self._kept) - 1, self._cells).round().astype(int))
        columns = min(self._columns, len(chosen))
        rows = math.ceil(len(chosen) / columns)
        pitch_x, pitch_y = self._width + GAP, self._height + CAPTION + GAP
        sheet = PillowImage.new("RGB", (columns * pitch_x + GAP, rows * pitch_y + GAP), BACKGROUND)
        pen = ImageDraw.Draw(sheet)
        font = ImageFont.load_default(14)
        for cell, kept in enumerate(chosen):
            caption, picture = self._kept[kept]
            x, y = GAP + cell % columns * pitch_x, GAP + cell // columns * pitch_y
            sheet.paste(PillowImage.fromarray(picture), (x, y))
            pen.text((x + 2, y + self._height + CAPTION / 2), caption, fill=INK, font=font, anchor="lm")
        return sheet
