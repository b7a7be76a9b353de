"""COCO-video files: COCO's JSON with `videos`, and images that are frames of them.

The layout is mmtracking's CocoVID, which the official S-ViT converters write; a plain COCO file is one
without videos. `docs/data.md` explains every field.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from svit.data.bad_rows import BadRows
from svit.data.coco_columns import Column, Columns, no_records, read_columns
from svit.data.coco_types import Boxes, CocoVideo, Images, Ints, SmallInts, Videos
from svit.data.coco_writer import CocoVideoWriter
from svit.types import Progress, no_progress

__all__ = ["Boxes", "CocoVideo", "CocoVideoWriter", "Images", "Videos", "read_coco_video"]


def read_coco_video(
    path: str | Path, bad_rows: BadRows | None = None, progress: Progress = no_progress
) -> CocoVideo:
    """Reads a COCO-video, CocoVID or plain COCO file, piece by piece.

    Args:
        path: of the JSON file; its sections may come in any order.
        bad_rows: what to do with a malformed record, or one that belongs to an unknown image, video or
            category; None raises.
        progress: watches the records go by.

    Raises:
        DataError: a missing, truncated or malformed file, a bad record, or ids that repeat so that nobody
            knows what belongs to what; the message names file, section and record.
    """
    path, bad_rows = Path(path), bad_rows or BadRows()
    columns = read_columns(path, bad_rows, progress)
    return link(path, columns, bad_rows)


def link(path: Path, columns: dict[str, Columns], bad_rows: BadRows) -> CocoVideo:
    """Puts the columns of `svit.data.coco_columns.read_columns` in relation; see `read_coco_video`.

    Of records with the same id the first counts; the others are bad rows.
    """
    linker = _Linker(path, bad_rows)
    categories = linker.unique("categories", columns["categories"])
    videos = linker.unique("videos", columns.get("videos") or no_records("videos"))
    images = linker.images(linker.unique("images", columns["images"]), videos["id"])
    annotations = columns.get("annotations") or no_records("annotations")
    boxes = linker.boxes(annotations, images["id"], categories["id"])
    return CocoVideo(
        path=path,
        categories=dict(zip(categories["id"].tolist(), categories["name"].tolist(), strict=True)),
        videos=_videos(videos),
        images=_images(images),
        boxes=boxes,
        annotated="annotations" in columns,
        offsets=np.searchsorted(boxes.image, np.arange(len(images["id"]) + 1)),
        video_frames=_video_frames(images, len(videos["id"])),
        stills=np.flatnonzero(images["video"] < 0),
    )


def repeated(keys: Column) -> npt.NDArray[np.bool_]:
    """(N,) True where the same key was there before."""
    _, first = np.unique(keys, return_index=True)
    again = np.ones(len(keys), bool)
    again[first] = False
    return again


def positions(ids: Ints, wanted: Ints) -> SmallInts:
    """(N,) where each wanted id is in `ids`, -1 where it is not."""
    if not len(ids):
        return np.full(len(wanted), -1, np.int32)
    order = np.argsort(ids, kind="stable")
    place = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    found = order[place].astype(np.int32)
    return np.where(ids[found] == wanted, found, np.int32(-1))


def frame_keys(video: SmallInts, frame_id: SmallInts) -> Ints:
    """(N,) one number for each frame of each video, ascending as they are."""
    return (video.astype(np.int64) << 32) + frame_id


class _Linker:
    """Finds the records that do not fit the others, and goes on without them."""

    def __init__(self, path: Path, bad_rows: BadRows) -> None:
        self._path, self._bad_rows = path, bad_rows

    def unique(self, section: str, columns: Columns) -> Columns:
        return self._without(columns, repeated(columns["id"]), section, "is there before")

    def images(self, images: Columns, video_ids: Ints) -> Columns:
        """The images with their `video`, an index, -1 for a picture of its own."""
        images["video"] = positions(video_ids, images["video_id"])
        framed = images["video_id"] >= 0
        unknown = framed & (images["video"] < 0)
        images = self._without(images, unknown, "images", "belongs to video {video_id}, which is not there")
        lost = (images["video"] >= 0) & (images["frame_id"] < 0)
        images = self._without(images, lost, "images", "belongs to a video; its frame_id is missing")
        again = (images["video"] >= 0) & repeated(frame_keys(images["video"], images["frame_id"]))
        return self._without(images, again, "images", "frame_id {frame_id} of its video is there before")

    def boxes(self, boxes: Columns, image_ids: Ints, category_ids: Ints) -> Boxes:
        boxes["image"] = positions(image_ids, boxes["image_id"])
        unknown = boxes["image"] < 0
        boxes = self._without(
            boxes, unknown, "annotations", "belongs to image {image_id}, which is not there"
        )
        boxes["category"] = positions(category_ids, boxes["category_id"])
        unknown = boxes["category"] < 0
        boxes = self._without(boxes, unknown, "annotations", "category {category_id} is not there")
        return _boxes(boxes)

    def _without(self, columns: Columns, bad: Column, section: str, problem: str) -> Columns:
        """The columns without their bad rows, each of which is reported."""
        if not bad.any():
            return columns
        for row in np.flatnonzero(bad).tolist():
            values = {name: columns[name][row] for name in columns}
            what = problem.format(**values)
            self._bad_rows.report(f"{self._path}: {section} id {values['id']}: {what}")
        return {name: column[~bad] for name, column in columns.items()}


def _videos(columns: Columns) -> Videos:
    return Videos(
        id=columns["id"],
        name=columns["name"].tolist(),
        fps=columns["fps"],
        width=columns["width"],
        height=columns["height"],
        video_file=[name or None for name in columns["video_file"].tolist()],
    )


def _images(columns: Columns) -> Images:
    told = columns["mot_frame_id"]
    return Images(
        id=columns["id"],
        video=columns["video"],
        frame_id=columns["frame_id"],
        mot_frame_id=np.where(told >= 0, told, columns["frame_id"] + 1),
        file_name=columns["file_name"].tolist(),
        width=columns["width"],
        height=columns["height"],
    )


def _boxes(columns: Columns) -> Boxes:
    order = np.argsort(columns["image"], kind="stable")
    in_order = (order[1:] > order[:-1]).all()

    def column(name: str) -> Column:
        return columns[name] if in_order else columns[name][order]

    def optional(name: str) -> Column | None:
        return None if np.isnan(columns[name]).all() else column(name)

    return Boxes(
        id=column("id"),
        image=column("image"),
        category=column("category"),
        instance_id=column("instance_id"),
        xywh=column("bbox"),
        iscrowd=column("iscrowd") | column("ignore"),
        visibility=optional("visibility"),
        mot_conf=optional("mot_conf"),
        score=optional("score"),
    )


def _video_frames(images: Columns, videos: int) -> list[Ints]:
    order = np.argsort(frame_keys(images["video"], images["frame_id"]), kind="stable")
    bounds = np.searchsorted(images["video"][order], np.arange(videos + 1))
    return [order[start:end] for start, end in pairwise(bounds)]
