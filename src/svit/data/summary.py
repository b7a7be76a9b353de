"""What is in a COCO-video file, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from svit.data.coco_types import CocoVideo

HEIGHTS = (0, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Edges of the histogram's bins, pixels; the last has no end."""

BAR = 40
"""Characters of the histogram's longest bar."""

SIZES_SHOWN = 3


def summarise(coco: CocoVideo) -> str:
    """A table: videos, frames, boxes, ids, boxes per image, and a histogram of the boxes' heights.

    The histogram is of the boxes that are targets: without crowd regions.
    """
    rows = [*_image_rows(coco), *(_box_rows(coco) if coco.annotated else [("boxes", "none: a test set")])]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _image_rows(coco: CocoVideo) -> Iterator[tuple[str, str]]:
    files = sum(name is not None for name in coco.videos.video_file)
    yield "videos", f"{len(coco.videos)}{f', {files} of them video files' if files else ''}"
    if len(coco.videos):
        yield "frames per video", _range(np.array([len(frames) for frames in coco.video_frames]))
    stills = f", {len(coco.stills)} of no video" if len(coco.videos) and len(coco.stills) else ""
    yield "images", f"{len(coco.images)}{stills}"
    sizes, counts = np.unique([coco.images.width, coco.images.height], axis=1, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:SIZES_SHOWN]
    told = [f"{sizes[0, k]}x{sizes[1, k]} ({counts[k]})" for k in most]
    rest = [f"{len(counts) - len(most)} other sizes"] if len(counts) > len(most) else []
    yield "image sizes", ", ".join([*told, *rest]) or "-"


def _box_rows(coco: CocoVideo) -> Iterator[tuple[str, str]]:
    boxes = coco.boxes
    yield "boxes", str(len(boxes))
    names = list(coco.categories.values())
    counts = np.bincount(boxes.category, minlength=len(names))
    yield "categories", ", ".join(f"{name} ({count})" for name, count in zip(names, counts, strict=True))
    yield "crowd boxes", f"{np.count_nonzero(boxes.iscrowd)}, to be ignored"
    if boxes.mot_conf is not None:
        yield "confidence 0", str(np.count_nonzero(boxes.mot_conf == 0))
    yield "beyond the edge", f"{np.count_nonzero(_beyond_edge(coco))}, as boxes of whole people may be"
    people = boxes.instance_id >= 0
    pairs = np.stack([coco.images.video[boxes.image[people]], boxes.instance_id[people]])
    yield "people with an id", str(np.unique(pairs, axis=1).shape[1])
    per_image = np.diff(coco.offsets)
    yield "boxes per image", f"{_range(per_image)}; {np.count_nonzero(per_image == 0)} images without"
    heights = boxes.xywh[~boxes.iscrowd, 3]
    yield "box height", f"{_range(heights)} pixels" if len(heights) else "-"
    yield from _histogram(heights)


def _beyond_edge(coco: CocoVideo) -> npt.NDArray[np.bool_]:
    left, top, width, height = coco.boxes.xywh.T
    beyond_right = left + width > coco.images.width[coco.boxes.image]
    beyond_bottom = top + height > coco.images.height[coco.boxes.image]
    return np.asarray((left < 0) | (top < 0) | beyond_right | beyond_bottom)


def _histogram(heights: npt.NDArray[np.float32]) -> Iterator[tuple[str, str]]:
    """A line per bin, from the first that is not empty to the last."""
    counts = np.bincount(np.digitize(heights, HEIGHTS[1:]), minlength=len(HEIGHTS))
    labels = [*(f"{low} to {high}" for low, high in pairwise(HEIGHTS)), f"{HEIGHTS[-1]} and more"]
    used = np.flatnonzero(counts)
    digits = len(str(counts.max()))
    for row in range(used.min(initial=len(counts)), used.max(initial=-1) + 1):
        bar = "#" * int(np.ceil(BAR * counts[row] / counts.max()))
        yield f"  {labels[row]}", f"{counts[row]:{digits}} {bar}".rstrip()


def _range(values: npt.NDArray[Any]) -> str:
    if not len(values):
        return "-"
    low, middle, high = (f"{value:.4g}" for value in (values.min(), np.median(values), values.max()))
    return f"{low} to {high}, median {middle}"
