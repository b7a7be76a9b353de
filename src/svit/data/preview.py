"""A picture of a COCO-video file: some of its images with their boxes and ids."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image as PillowImage
from PIL import ImageDraw

from svit.data.coco_types import CocoVideo
from svit.data.video_frames import open_frames
from svit.errors import DataError, SourceError
from svit.types import Image
from svit.video import ContactSheet, draw_tracks
from svit.video.images import read_image
from svit.video.letterbox import fit, letterbox

CELLS, COLUMNS, WIDTH = 12, 3, 480
"""Images on the sheet, how many side by side, and the width of one in pixels."""

CAPTION_LENGTH = 56
"""Characters below an image."""

NO_ID, CROWD = (57, 255, 120), (190, 190, 190)
"""Colours of boxes without an id, and of crowd boxes, which are crossed out."""


def draw_preview(coco: CocoVideo, root: Path, path: Path) -> int:
    """Draws evenly spaced images with their boxes, those that have some first, and writes a PNG.

    A box with an id has the id's colour and its number, one without is green, a crowd box grey and crossed
    out. Images that cannot be read are left out.

    Args:
        coco: the records.
        root: the folder that file names start from.
        path: of the PNG to write.

    Returns:
        How many images are on it; with none, nothing is written.

    Raises:
        OutputError: the path cannot be written.
    """
    sheet, drawn = _Sheet(path, columns=COLUMNS, cells=CELLS, width=WIDTH), 0
    try:
        for image in _spread(coco):
            with suppress(SourceError, DataError):
                sheet.add(coco, image, _read(coco, root, image))
                drawn += 1
    except BaseException:
        sheet.discard()
        raise
    sheet.close()
    return drawn


class _Sheet(ContactSheet):
    """A contact sheet whose cells are records of a file, not frames of one video."""

    def add(self, coco: CocoVideo, image: int, picture: Image) -> None:
        """Adds an image with its boxes; all cells have the shape of most images of the file."""
        shape = float(np.median(coco.images.height / coco.images.width))
        self._height = round(self._width * min(max(shape, 0.25), 2))
        small, scale = fit(picture, self._width, self._height)
        cell = letterbox(_draw_boxes(small, coco, image, scale), self._width, self._height)
        self._kept.append((_caption(coco, image), cell))


def _spread(coco: CocoVideo) -> list[int]:
    """Up to `CELLS` images, evenly spaced over those with boxes, else over all."""
    images = np.flatnonzero(np.diff(coco.offsets))
    if not len(images):
        images = np.arange(len(coco.images))
    places = np.linspace(0, max(0, len(images) - 1), min(CELLS, len(images)))
    return [int(image) for image in images[places.round().astype(int)]]


def _read(coco: CocoVideo, root: Path, image: int) -> Image:
    video = int(coco.images.video[image])
    file = coco.videos.video_file[video] if video >= 0 else None
    if file is None:
        return read_image(root / coco.images.file_name[image])
    with open_frames(root / file) as frames:
        return frames[int(coco.images.mot_frame_id[image]) - 1]


def _draw_boxes(picture: Image, coco: CocoVideo, image: int, scale: float) -> Image:
    rows = coco.boxes_of(image)
    ids, crowd = coco.boxes.instance_id[rows], coco.boxes.iscrowd[rows]
    xyxy = coco.boxes.xywh[rows] * scale
    xyxy[:, 2:] += xyxy[:, :2]
    xyxy[:, 2:] = np.maximum(xyxy[:, :2], xyxy[:, 2:])  # a box of no size, which Pillow would refuse
    canvas = PillowImage.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    for box in xyxy[crowd].tolist():
        pen.rectangle(box, outline=CROWD, width=2)
        pen.line(box, fill=CROWD, width=2)
    for box in xyxy[~crowd & (ids < 0)].tolist():
        pen.rectangle(box, outline=NO_ID, width=2)
    named = ~crowd & (ids >= 0)
    return draw_tracks(np.asarray(canvas), sv.Detections(xyxy[named], tracker_id=ids[named]))


def _caption(coco: CocoVideo, image: int) -> str:
    rows = coco.boxes_of(image)
    crowd = int(np.count_nonzero(coco.boxes.iscrowd[rows]))
    boxes = f"boxes: {rows.stop - rows.start - crowd}" + (f", crowd: {crowd}" if crowd else "")
    name = coco.images.file_name[image]
    room = CAPTION_LENGTH - len(boxes)
    return f"{name if len(name) <= room else '...' + name[3 - room :]}   {boxes}"
