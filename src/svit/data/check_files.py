"""The image and video files of a data set: are they there, and of the size that the records say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from svit.data.coco_types import CocoVideo
from svit.data.problems import Problems
from svit.errors import SourceError
from svit.types import Progress
from svit.video import open_source
from svit.video.images import DECODING_ERRORS

THREADS = 8
"""Opening files is mostly waiting, most of all on a network disk."""

BLOCK = 256
"""Images a thread looks at before it tells; a task for each would fill the memory."""

ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)
"""The EXIF tag, and its values that swap width and height."""

Finding = tuple[str, str]
"""A kind of problem and a case of it."""


def check_files(
    coco: CocoVideo, root: Path, problems: Problems, sample: int | None, progress: Progress
) -> tuple[int, int]:
    """Looks at the headers of image and video files, not at their pictures.

    Args:
        coco: the records.
        root: the folder that the file names start from.
        problems: what is found is added here.
        sample: look at so many evenly spaced image files only; None at all. Videos are always looked at.
        progress: watches the files go by.

    Returns:
        How many files were looked at, and how many there are.
    """
    in_video = np.array([name is not None for name in coco.videos.video_file] + [False])
    pictures = np.flatnonzero(~in_video[coco.images.video])  # -1, of no video, is the last
    videos = np.flatnonzero(in_video[:-1]).tolist()
    files = len(pictures) + len(videos)
    if sample is not None and sample < len(pictures):
        pictures = pictures[np.linspace(0, len(pictures) - 1, sample).round().astype(int)]
    blocks = [pictures[start : start + BLOCK].tolist() for start in range(0, len(pictures), BLOCK)]
    pool = ThreadPoolExecutor(THREADS)
    try:
        found = pool.map(partial(_look_at_images, coco, root), blocks)
        _take(progress(found, f"image files x {BLOCK}", len(blocks)), problems)
        found = pool.map(partial(_look_at_video, coco, root), videos)
        _take(progress(found, "video files", len(videos)), problems)
    finally:
        pool.shutdown(cancel_futures=True)  # or Ctrl-C would wait for all that is left
    return len(pictures) + len(videos), files


def _take(found: Iterable[list[Finding]], problems: Problems) -> None:
    for findings in found:
        for kind, example in findings:
            problems.add(kind, example)


def _look_at_images(coco: CocoVideo, root: Path, images: Sequence[int]) -> list[Finding]:
    findings = []
    for image in images:
        path = root / coco.images.file_name[image]
        told = f"image id {coco.images.id[image]}: {path}"
        wanted = int(coco.images.width[image]), int(coco.images.height[image])
        try:
            size = _size(path)
        except FileNotFoundError:
            findings.append(("missing images", told))
        except DECODING_ERRORS:
            findings.append(("images that cannot be read", told))
        else:
            if size != wanted:
                findings.append(("images of another size", f"{told} is {_times(size)}, not {_times(wanted)}"))
    return findings


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an image as `svit.video` would read it: turned as its EXIF orientation says."""
    with PillowImage.open(path) as image:
        # Asked only where the header holds it: for some formats Pillow would decode the whole picture.
        turned = "exif" in image.info and image.getexif().get(ORIENTATION) in TURNED
        return (image.height, image.width) if turned else image.size


def _look_at_video(coco: CocoVideo, root: Path, video: int) -> list[Finding]:
    path = root / (coco.videos.video_file[video] or "")
    told = f"video id {coco.videos.id[video]}: {path}"
    if not path.is_file():
        return [("missing videos", told)]
    try:
        with open_source(path) as source:
            size, frames = (source.width, source.height), source.frames
    except SourceError as error:
        return [("videos that cannot be read", f"video id {coco.videos.id[video]}: {error}")]
    return [*_beyond_end(coco, video, told, frames), *_other_sizes(coco, video, told, size)]


def _beyond_end(coco: CocoVideo, video: int, told: str, frames: int | None) -> Iterator[Finding]:
    last = int(coco.images.mot_frame_id[coco.video_frames[video]].max(initial=0))
    if frames is not None and last > frames:
        yield (
            "videos that end too early",
            f"{told} has {frames} frames, but there is an image of frame {last}",
        )


def _other_sizes(coco: CocoVideo, video: int, told: str, size: tuple[int, int]) -> Iterator[Finding]:
    for image in coco.video_frames[video]:
        wanted = int(coco.images.width[image]), int(coco.images.height[image])
        if wanted != size:
            where = f"as image id {coco.images.id[image]} says"
            yield "videos of another size", f"{told} is {_times(size)}, not {_times(wanted)} {where}"
            return


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
