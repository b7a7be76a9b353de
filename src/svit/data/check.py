"""Is a COCO-video file fit to train from: its records, the boxes in them, and the images they speak of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from svit.data.bad_rows import BadRows
from svit.data.check_files import check_files
from svit.data.coco_columns import Columns, read_columns
from svit.data.coco_types import CocoVideo
from svit.data.coco_video import link, repeated
from svit.data.images_root import find_images
from svit.data.problems import Problem, Problems
from svit.errors import DataError
from svit.types import Progress, no_progress


@dataclass(frozen=True)
class CheckReport:
    """What `check_coco_video` found.

    Attributes:
        coco: what could be read, without the records that are of no use.
        root: the folder of the images, None where none of them was found.
        files_checked: of how many image and video files the header was looked at.
        files: how many there are; more than that in a sample.
        problems: by kind, empty if all is well.
    """

    coco: CocoVideo
    root: Path | None
    files_checked: int
    files: int
    problems: list[Problem]


def check_coco_video(
    path: str | Path, images: Path | None = None, sample: int | None = None, progress: Progress = no_progress
) -> CheckReport:
    """Checks a COCO-video or plain COCO file against itself and against its images.

    Args:
        path: of the JSON file.
        images: the folder of the images; None looks for it beside the file.
        sample: look at so many evenly spaced image files only; None at all.
        progress: watches the records and files go by.

    Raises:
        DataError: the file is missing, no JSON, or no COCO file at all. Anything else is a `Problem`.
    """
    path, problems, bad_rows = Path(path), Problems(), BadRows(skip=True)
    columns = read_columns(path, bad_rows, progress)
    for message in bad_rows.messages:
        problems.add("malformed records", message.removeprefix(f"{path}: "))
    if "annotations" in columns:
        _check_annotation_ids(columns["annotations"], problems)
    coco = link(path, columns, problems.add_rows)
    _check_people(coco, problems)
    _check_boxes(coco, problems)
    for video in range(len(coco.videos)):
        _check_frames(coco, video, problems)
    root, checked, files = None, 0, 0
    try:
        root = find_images(coco, images)
        checked, files = check_files(coco, root, problems, sample, progress)
    except DataError as error:
        problems.add("folder of the images not found", str(error))
    return CheckReport(coco, root, checked, files, list(problems.kinds.values()))


def name_of(coco: CocoVideo, image: int) -> str:
    """How a message calls an image."""
    return f"image id {coco.images.id[image]} ({coco.images.file_name[image]})"


def _check_annotation_ids(annotations: Columns, problems: Problems) -> None:
    ids = annotations["id"]
    problems.add_rows(
        "annotations ids that repeat",
        np.flatnonzero(repeated(ids)),
        lambda row: f"annotations id {ids[row]}: is there before",
    )


def _check_people(coco: CocoVideo, problems: Problems) -> None:
    """The same person cannot be twice in one image."""
    boxes = coco.boxes
    order = np.lexsort((boxes.instance_id, boxes.image))
    instance, image = boxes.instance_id[order], boxes.image[order]
    same = (instance[1:] == instance[:-1]) & (image[1:] == image[:-1]) & (instance[1:] >= 0)
    problems.add_rows(
        "people who are twice in one image",
        np.flatnonzero(same) + 1,
        lambda row: (
            f"instance_id {instance[row]}: annotations id {boxes.id[order[row - 1]]} and "
            f"{boxes.id[order[row]]}, {name_of(coco, image[row])}"
        ),
    )


def _check_boxes(coco: CocoVideo, problems: Problems) -> None:
    left, top, width, height = coco.boxes.xywh.T
    image = coco.boxes.image
    empty = (width <= 0) | (height <= 0)
    outside = (left >= coco.images.width[image]) | (top >= coco.images.height[image])
    outside |= (left + width <= 0) | (top + height <= 0)

    def describe(row: int) -> str:
        box = ", ".join(f"{value:g}" for value in coco.boxes.xywh[row])
        picture = int(image[row])
        size = f"{coco.images.width[picture]}x{coco.images.height[picture]}"
        return f"annotations id {coco.boxes.id[row]}: x, y, w, h {box}; {name_of(coco, picture)} is {size}"

    problems.add_rows("boxes of no size", np.flatnonzero(empty), describe)
    problems.add_rows("boxes outside their image", np.flatnonzero(outside & ~empty), describe)


def _check_frames(coco: CocoVideo, video: int, problems: Problems) -> None:
    """The frames of a video are listed in their order, from 0, and none is missing."""
    frames = coco.video_frames[video]
    numbers = coco.images.frame_id[frames]
    called = f"video id {coco.videos.id[video]} ({coco.videos.name[video]})"
    if not len(frames):
        problems.add("videos without frames", called)
        return
    problems.add_rows(
        "frames out of order in the file",
        np.flatnonzero(np.diff(frames) < 0),
        lambda row: (
            f"{called}: frame_id {numbers[row + 1]} stands before {numbers[row]}, "
            f"{name_of(coco, int(frames[row + 1]))}"
        ),
    )
    before = np.concatenate([[-1], numbers[:-1]])
    problems.add_rows(
        "gaps between the frames of a video",
        np.flatnonzero(numbers - before > 1),
        lambda row: f"{called}: frame_id {before[row] + 1} to {numbers[row] - 1} missing",
    )
