"""Where the images of a COCO-video file are: the folder that its file names start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from svit.data.coco_types import CocoVideo
from svit.errors import DataError

SUBFOLDERS = ("train", "val", "test", "images")
"""Names of folders of images, beside the file or beside its folder."""

PROBES = 25
"""So many files are looked for, evenly spread, to tell whether a folder is the one."""


def find_images(coco: CocoVideo, given: Path | None = None) -> Path:
    """The folder of the images: the given one, or that which holds most of those looked for.

    Looked at are the file's folder and that one's parent, and `SUBFOLDERS` of both: so for
    data/MOT17/annotations/half-train_cocoformat.json data/MOT17/train is found, and for
    data/MOTSynth/all_cocoformat.json data/MOTSynth/train.

    Raises:
        DataError: none of the files looked for is there; the message says where was looked, and in which
            folder next to the given one they are, if so.
    """
    names = probe_names(coco)
    if not names or (given and _found(given, names)):
        return given or coco.path.parent
    base = given or coco.path.absolute().parent
    best = max(_around(base), key=lambda folder: _found(folder, names))
    if not _found(best, names):
        below = ", ".join(SUBFOLDERS)
        tried = f"{names[0]} is neither in {base} nor in {base.parent}, nor in {below} of both"
        raise DataError(f"{coco.path}: {tried}; give the folder of the images (--images)")
    if given:
        raise DataError(f"{given}: holds no image of {coco.path}; did you mean {best}?")
    return best


def probe_names(coco: CocoVideo) -> list[str]:
    """Some of the files that the images are in, relative to their root, without repeats."""
    step = max(1, len(coco.images) // PROBES)
    return list(dict.fromkeys(file_of(coco, image) for image in range(0, len(coco.images), step)))


def file_of(coco: CocoVideo, image: int) -> str:
    """The file an image is in, relative to the root: its own, or the video that it is a frame of."""
    video = int(coco.images.video[image])
    return (coco.videos.video_file[video] if video >= 0 else None) or coco.images.file_name[image]


def _around(folder: Path) -> list[Path]:
    return [below for base in (folder, folder.parent) for below in (base, *(base / n for n in SUBFOLDERS))]


def _found(folder: Path, names: Sequence[str]) -> int:
    return sum((folder / name).is_file() for name in names)
