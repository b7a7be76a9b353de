"""Pictures of augmented clips: what the training sees, for a person to check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import supervision as sv
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from svit.data.actions import ActionSample
from svit.data.augment.clip import UNKNOWN, FrameLabels, LabelledClip, Numbers
from svit.types import Image
from svit.video.draw import draw_tracks
from svit.video.output import PartFile, output_error

BACKGROUND, IGNORED, INK = (24, 24, 27), (190, 190, 190), (228, 228, 231)
GAP, CAPTION = 6, 22
"""Pixels between the pictures, and for the caption above a row that has one."""

ACTION_SHARE = 4
"""A clip of actions has more frames, and they are so many times narrower."""


class _Row(NamedTuple):
    """A clip on the sheet: its pictures, all of one size, and what is written above them."""

    cells: list[Image]
    caption: str = ""

    @property
    def width(self) -> int:
        return sum(cell.shape[1] + GAP for cell in self.cells)

    @property
    def height(self) -> int:
        return len(self.cells[0]) + GAP + (CAPTION if self.caption else 0)


def preview(
    clips: Sequence[LabelledClip | ActionSample],
    path: str | Path,
    classes: Sequence[str] = (),
    width: int = 480,
) -> None:
    """Writes a sheet of clips: one row each, its frames from left to right.

    Boxes have one colour per id. Ids that are not known are written as numbers below 0, one per box; ignore
    regions are crossed out. Above a clip of actions are its class and the name of its video.

    Args:
        clips: augmented, so without `motion`; at least one; sizes and lengths may differ.
        path: ends in .png.
        classes: names of the actions, by label.
        width: of a picture on the sheet, pixels; those of actions have a quarter of it.

    Raises:
        ValueError: no clips, or one with `motion`.
        OutputError: the path cannot be written.
    """
    if not clips or any(isinstance(clip, LabelledClip) and clip.motion is not None for clip in clips):
        raise ValueError("preview needs one clip or more, and augmented ones")
    place = PartFile(Path(path), (".png",))
    try:
        _sheet([_row(clip, classes, width) for clip in clips]).save(place.part, format="PNG")
    except OSError as error:
        place.discard()
        raise output_error(place.target, error) from error
    place.commit()


def _sheet(rows: list[_Row]) -> PillowImage.Image:
    size = max(row.width for row in rows) + GAP, sum(row.height for row in rows) + GAP
    sheet = PillowImage.new("RGB", size, BACKGROUND)
    pen, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(14), GAP
    for row in rows:
        pen.text((GAP + 2, top + CAPTION / 2), row.caption, fill=INK, font=font, anchor="lm")
        below = top + (CAPTION if row.caption else 0)
        for column, cell in enumerate(row.cells):
            sheet.paste(PillowImage.fromarray(cell), (GAP + column * (cell.shape[1] + GAP), below))
        top += row.height
    return sheet


def _row(clip: LabelledClip | ActionSample, classes: Sequence[str], width: int) -> _Row:
    if isinstance(clip, LabelledClip):
        return _Row([_cell(clip, frame, width) for frame in range(len(clip))])
    cells = [np.asarray(_resized(frame, width // ACTION_SHARE)) for frame in clip.frames]
    return _Row(cells, f"{classes[clip.label]}   {clip.name}")


def _resized(frame: Image, width: int) -> PillowImage.Image:
    height = max(1, round(frame.shape[0] * width / frame.shape[1]))
    picture = PillowImage.fromarray(np.ascontiguousarray(frame))
    return picture.resize((width, height), PillowImage.Resampling.BOX)


def _cell(clip: LabelledClip, frame: int, width: int) -> Image:
    scale = width / clip.width
    picture, labels = _resized(clip.frames[frame], width), clip.labels(frame)
    _cross_out(picture, labels, scale)
    tracks = sv.Detections(xyxy=labels.boxes * scale, tracker_id=_drawable_ids(labels.ids))
    return draw_tracks(np.asarray(picture), tracks)


def _cross_out(picture: PillowImage.Image, labels: FrameLabels, scale: float) -> None:
    pen = ImageDraw.Draw(picture)
    for left, top, right, bottom in (labels.ignore * scale).tolist():
        pen.rectangle((left, top, right, bottom), outline=IGNORED)
        pen.line((left, top, right, bottom), fill=IGNORED)
        pen.line((left, bottom, right, top), fill=IGNORED)


def _drawable_ids(ids: Numbers) -> Numbers:
    """Unknown ids as -1, -2, ...: boxes are drawn by id, so each needs one of its own."""
    unknown = ids == UNKNOWN
    return np.where(unknown, -np.cumsum(unknown), ids)
