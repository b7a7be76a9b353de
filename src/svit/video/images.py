"""A folder of images, or one image, as a source of frames."""

from __future__ import annotations

import configparser
import re
from collections.abc import Generator
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps

from svit.errors import SourceError
from svit.types import Frame, Image
from svit.video.base import DEFAULT_RATE, Source

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

DECODING_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, PillowImage.DecompressionBombError)
"""What Pillow raises on damaged images, by decoder."""


class ImageFolder(Source):
    """The images of a folder in natural order (2.jpg before 10.jpg), not those of its subfolders.

    The frame rate is that of a MOTChallenge `seqinfo.ini` in the folder's parent, if there is one, else
    `DEFAULT_RATE`; timestamps follow from it.

    Raises:
        SourceError: on opening, where there are no images or the first one is broken; while iterating,
            at a broken image, after the frames before it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._paths = image_paths(folder)
        if not self._paths:
            raise SourceError(_no_images(folder))
        self.frames = len(self._paths)
        self.rate = _sequence_rate(folder.parent / "seqinfo.ini")
        self.height, self.width = read_image(self._paths[0]).shape[:2]

    def reads(self, path: Path) -> bool:
        """Whether `path` is one of the folder's images."""
        target = path.resolve()
        return any(target == image.resolve() for image in self._paths)

    def _read(self) -> Generator[Frame]:
        for index, path in enumerate(self._paths):
            yield Frame(read_image(path), index, index / self.rate)

    def _release(self) -> None:
        """Nothing is held open between two images."""


class ImageFile(Source):
    """One image as a source of one frame."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._image = read_image(path)
        self.height, self.width = self._image.shape[:2]
        self.frames = 1

    def reads(self, path: Path) -> bool:
        """Whether `path` is this image."""
        return path.resolve() == self._path.resolve()

    def _read(self) -> Generator[Frame]:
        yield Frame(self._image, 0, 0.0)

    def _release(self) -> None:
        """Nothing is held open."""


def image_paths(folder: Path) -> list[Path]:
    """The image files of a folder in natural order, hidden ones left out.

    Raises:
        SourceError: the folder cannot be read.
    """
    try:
        names = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read ({error.strerror})") from error
    return sorted((path for path in names if not path.name.startswith(".")), key=_natural)


def read_image(path: Path) -> Image:
    """Reads an image as RGB (height, width, 3) uint8, turned as its EXIF orientation says.

    16 bits are scaled by their full range (65535 becomes 255), the same for every image, so a sequence does
    not flicker; floating point is taken as 0-1 (0-255 where it goes beyond 1); alpha is dropped.

    Raises:
        SourceError: the file is missing, broken or not an image.
    """
    try:
        with PillowImage.open(path) as opened:
            return _as_rgb(ImageOps.exif_transpose(opened))
    except DECODING_ERRORS as error:
        detail = getattr(error, "strerror", None) or "damaged or not an image"
        raise SourceError(f"{path}: cannot be read ({detail}); replace or remove it") from error


def _as_rgb(image: PillowImage.Image) -> Image:
    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, np.float64), posinf=0.0, neginf=0.0)
        full = 65535.0 if image.mode != "F" else 1.0 if values.max() <= 1.0 else 255.0
        grey = np.rint(np.clip(values / full, 0.0, 1.0) * 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts numbers inside a name by value: ("frame", 2) before ("frame", 10)."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _no_images(folder: Path) -> str:
    kinds = "jpg, png, bmp, tif, webp"
    below = next((child for child in sorted(folder.iterdir()) if child.is_dir() and image_paths(child)), None)
    hint = f"did you mean {below}?" if below else "give a folder that holds the images themselves"
    return f"{folder}: no images in this folder ({kinds}); {hint}"


def _sequence_rate(path: Path) -> float:
    parser = configparser.ConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        rate = parser.getfloat("Sequence", "frameRate", fallback=DEFAULT_RATE)
    except (configparser.Error, ValueError, OSError):
        return DEFAULT_RATE
    return rate if rate > 0 else DEFAULT_RATE
