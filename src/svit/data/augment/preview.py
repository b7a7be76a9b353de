"""Pictures of augmented clips: what the training sees, for a person to check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image as PillowImage
from PIL import ImageDraw

from svit.data.augment.clip import UNKNOWN, FrameLabels, LabelledClip, Numbers
from svit.types import Image
from svit.video.draw import draw_tracks
from svit.video.output import PartFile, output_error

BACKGROUND, IGNORED = (24, 24, 27), (190, 190, 190)
GAP = 6
"""Pixels between the pictures."""


def preview(clips: Sequence[LabelledClip], path: str | Path, width: int = 480) -> None:
    """Writes a sheet of clips: one row each, its frames from left to right, boxes in one colour per id.

    Ids that are not known are written as numbers below 0, one per box; ignore regions are crossed out.

    Args:
        clips: augmented, so without `motion`; at least one; sizes and lengths may differ.
        path: ends in .png.
        width: of a picture on the sheet, pixels.

    Raises:
        ValueError: no clips, or one with `motion`.
        OutputError: the path cannot be written.
    """
    if not clips or any(clip.motion is not None for clip in clips):
        raise ValueError("preview needs one clip or more, and augmented ones")
    place = PartFile(Path(path), (".png",))
    try:
        _sheet([[_cell(clip, frame, width) for frame in range(len(clip))] for clip in clips]).save(
            place.part, format="PNG"
        )
    except OSError as error:
        place.discard()
        raise output_error(place.target, error) from error
    place.commit()


def _sheet(rows: list[list[Image]]) -> PillowImage.Image:
    width = max(len(row) * (row[0].shape[1] + GAP) for row in rows) + GAP
    height = sum(row[0].shape[0] + GAP for row in rows) + GAP
    sheet = PillowImage.new("RGB", (width, height), BACKGROUND)
    top = GAP
    for row in rows:
        for column, cell in enumerate(row):
            sheet.paste(PillowImage.fromarray(cell), (GAP + column * (cell.shape[1] + GAP), top))
        top += row[0].shape[0] + GAP
    return sheet


def _cell(clip: LabelledClip, frame: int, width: int) -> Image:
    scale = width / clip.width
    picture = PillowImage.fromarray(np.ascontiguousarray(clip.frames[frame]))
    picture = picture.resize((width, max(1, round(clip.height * scale))), PillowImage.Resampling.BOX)
    labels = clip.labels(frame)
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
