"""COCO-video files: COCO's JSON with `videos`, and images that are frames of them.

The layout is mmtracking's CocoVID, which the official S-ViT converters write; a plain COCO file is one
without videos. `docs/data.md` explains every field.
"""

from __future__ import annotations

from collections.abc import Callable
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

Report = Callable[[str, Ints, Callable[[int], str]], None]
"""Is told of bad rows: what is wrong with them, their numbers (at least one), and what says it of one."""


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

    def report(kind: str, rows: Ints, describe: Callable[[int], str]) -> None:
        for row in rows.tolist():
            bad_rows.report(f"{path}: {describe(row)}")

    return link(path, columns, report)


def link(path: Path, columns: dict[str, Columns], report: Report) -> CocoVideo:
    """Puts the columns of `svit.data.coco_columns.read_columns` in relation.

    Records that do not fit the others are reported and left out; of those with the same id, all but the
    first.
    """
    linker = _Linker(report)
    categories = linker.unique("categories", columns["categories"])
    videos = linker.unique("videos", columns.get("videos") or no_records("videos"))
    images = linker.images(linker.unique("images", columns["images"]), videos)
    annotations = columns.get("annotations") or no_records("annotations")
    boxes = _boxes(linker.boxes(annotations, images["id"], categories["id"]))
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

    def __init__(self, report: Report) -> None:
        self._report = report

    def unique(self, section: str, columns: Columns) -> Columns:
        bad = repeated(columns["id"])
        return self._without(
            columns, bad, f"{section} ids that repeat", section + " id {id}: is there before"
        )

    def images(self, images: Columns, videos: Columns) -> Columns:
        """The images with their `video`, an index, -1 for a picture of its own."""
        images["video"] = positions(videos["id"], images["video_id"])
        images = self._without(
            images,
            (images["video_id"] >= 0) & (images["video"] < 0),
            "images of unknown videos",
            "images id {id}: belongs to video {video_id}, which is not there",
        )
        images = self._without(
            images,
            (images["video"] >= 0) & (images["frame_id"] < 0),
            "frames without a frame_id",
            "images id {id}: belongs to video {video_id}; its frame_id is missing",
        )
        return self._without(
            images,
            (images["video"] >= 0) & repeated(frame_keys(images["video"], images["frame_id"])),
            "frames that are there twice",
            "images id {id}: frame_id {frame_id} of video {video_id} is there before",
        )

    def boxes(self, boxes: Columns, image_ids: Ints, category_ids: Ints) -> Columns:
        """The boxes with their `image` and `category`, indices."""
        boxes["image"] = positions(image_ids, boxes["image_id"])
        boxes = self._without(
            boxes,
            boxes["image"] < 0,
            "annotations of unknown images",
            "annotations id {id}: belongs to image {image_id}, which is not there",
        )
        del boxes["image_id"]  # millions of boxes: what is no longer needed goes
        boxes["category"] = positions(category_ids, boxes["category_id"])
        boxes = self._without(
            boxes,
            boxes["category"] < 0,
            "annotations of unknown categories",
            "annotations id {id}: category {category_id} is not there",
        )
        del boxes["category_id"]
        return boxes

    def _without(self, columns: Columns, bad: Column, kind: str, message: str) -> Columns:
        """The columns without their bad rows; `message` is filled in with a row's values."""
        if not bad.any():
            return columns

        def describe(row: int) -> str:
            return message.format(**{name: column[row] for name, column in columns.items()})

        self._report(kind, np.flatnonzero(bad), describe)
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
    """The boxes image by image; takes the columns out of `columns`."""
    image = columns["image"]
    in_order = not len(image) or bool((image[1:] >= image[:-1]).all())
    order = slice(None) if in_order else np.argsort(image, kind="stable")

    def column(name: str) -> Column:
        return np.ascontiguousarray(columns.pop(name)[order])

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
