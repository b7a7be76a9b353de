"""Any frame of a video file or an image folder by its number, without going through those before it."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from av.video.frame import VideoFrame

from svit.data.mot_files import read_sequence_info
from svit.data.video_index import build_index
from svit.data.video_seeker import SeekingDecoder
from svit.errors import DataError, SourceError
from svit.types import Image
from svit.video.decode import to_rgb
from svit.video.images import image_paths, read_image

CACHE = 16
"""Decoded frames kept: a video's last ones, so that going back a little costs nothing."""


class FrameReader(Protocol):
    """Frames by number, from 0; what `open_frames` opens."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> Image: ...
    def __iter__(self) -> Iterator[Image]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: Any) -> None: ...

    def close(self) -> None:
        """Gives back files and memory."""
        ...


def open_frames(path: str | Path, *, cache: int = CACHE) -> FrameReader:
    """Opens a video file, a folder of images, or a MOTChallenge sequence (a folder with seqinfo.ini).

    Args:
        path: of the file or folder.
        cache: decoded frames to keep, of a video; see `VideoFrames`.

    Raises:
        DataError: an image folder without images or with a missing frame, a malformed seqinfo.ini.
        SourceError: a video that is missing or broken.
    """
    path = Path(path)
    if (path / "seqinfo.ini").is_file():
        info = read_sequence_info(path)
        path = info.video or info.images or path
    return ImageFrames(path) if path.is_dir() else VideoFrames(path, cache=cache)


class ImageFrames:
    """The images of a folder by their place, from 0, in natural order; nothing is kept between two reads.

    Where names end in a number (000001.jpg), numbers must follow each other: a gap would shift all later
    frames against their annotations.

    Raises:
        DataError: no images, or a number is missing; the message names it.
        SourceError: the folder cannot be read; on reading, an image that is broken.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._paths = image_paths(self._folder)
        if not self._paths:
            raise DataError(f"{folder}: no images in this folder; give the folder that holds them (img1)")
        _check_numbers(self._folder, self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Image:
        """The image at place `number`: RGB (height, width, 3) uint8.

        Raises:
            DataError: there is no such frame.
            SourceError: the image is broken.
        """
        return read_image(self._paths[_checked(number, len(self), self._folder)])

    def __iter__(self) -> Iterator[Image]:
        return (self[number] for number in range(len(self)))

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class VideoFrames:
    """The frames of a video file by number: frame n is the n-th that decoding from the start gives, from 0.

    Exact also with B-frames, open groups of pictures and a variable frame rate. Opening reads the file once
    to find its keyframes; a frame is then decoded from the keyframe before it, or from where the last read
    stopped: reading in order never seeks. AVI files, and codecs whose packets do not tell the order of
    frames, are decoded once, whole, when opened.

    It can be pickled, and used after a fork: the other process opens the file anew and does not search it
    again. Not for several threads at a time. `close` gives back the file and the frames kept; reading again
    opens it again.

    Args:
        path: the video file.
        cache: decoded frames to keep (1.5 bytes a pixel with 8 bits 4:2:0, 3 MB in full HD).
        threads: that decode; 0 is one per core. More than one makes a lone frame come later, not sooner.

    Raises:
        SourceError: the file is missing, broken, cut off or holds no video; on reading, a damaged frame.
    """

    def __init__(self, path: str | Path, *, cache: int = CACHE, threads: int = 1) -> None:
        self.path = Path(path)
        self._threads = threads
        self._size = cache
        self._index = build_index(self.path)
        self._cache: OrderedDict[int, VideoFrame] = OrderedDict()
        self._decoder: SeekingDecoder | None = None
        self._inherited: list[SeekingDecoder] = []

    def __len__(self) -> int:
        return len(self._index.packets)

    def __getitem__(self, number: int) -> Image:
        """Frame `number`: RGB (height, width, 3) uint8, turned as the file says.

        Raises:
            DataError: there is no such frame.
            SourceError: the frame is damaged, or the file is not what it was when opened.
        """
        number = _checked(number, len(self), self.path)
        frame = self._cache.get(number)
        if frame is None:
            frame = self._decode(number)
        else:
            self._cache.move_to_end(number)
        return to_rgb(frame)

    def __iter__(self) -> Iterator[Image]:
        return (self[number] for number in range(len(self)))

    def close(self) -> None:
        """Gives back the file and the frames kept. Closing twice is fine."""
        self._cache.clear()
        if self._decoder and self._decoder.process == os.getpid():
            self._decoder.close()
            self._decoder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_decoder": None, "_inherited": [], "_cache": OrderedDict()}

    def _decode(self, number: int) -> VideoFrame:
        """Decodes until frame `number` comes; keeps what comes on the way."""
        decoder = self._own_decoder()
        place = self._index.start(number)
        # What a file calls a keyframe need not be one: then an earlier one helps, or the beginning.
        starts: list[int | None] = [place, max(place - 1, -1), -1]
        if decoder.reads_on(number, place):
            starts.insert(0, None)
        for start in dict.fromkeys(starts):
            if start is not None:
                decoder.go(start)
            for found, frame in decoder.frames:
                self._keep(found, frame)
                if found == number:
                    return frame
                if found > number:
                    break
        raise SourceError(f"{self.path}: frame {number} cannot be decoded; the file is damaged there")

    def _own_decoder(self) -> SeekingDecoder:
        if self._decoder and self._decoder.process != os.getpid():
            # A fork shares the file's position but not the decoder's threads: neither used nor closed here.
            self._inherited.append(self._decoder)
            self._decoder = None
        self._decoder = self._decoder or SeekingDecoder(self.path, self._index, self._threads)
        return self._decoder

    def _keep(self, number: int, frame: VideoFrame) -> None:
        self._cache[number] = frame
        self._cache.move_to_end(number)
        while len(self._cache) > max(self._size, 1):
            self._cache.popitem(last=False)


def _checked(number: int, length: int, path: Path) -> int:
    number = index(number)
    if not 0 <= number < length:
        raise DataError(f"{path}: has no frame {number}; it has {length}, counted from 0")
    return number


def _check_numbers(folder: Path, paths: list[Path]) -> None:
    """Raises where names end in numbers and one of them is missing."""
    parts = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in paths]
    names = [(part[1], int(part[2])) for part in parts if part]
    if len(names) < len(paths) or len({prefix for prefix, _ in names}) > 1:
        return
    for path, (_, number), (_, following) in zip(paths, names, names[1:], strict=False):
        if following != number + 1:
            problem = (
                f"frame {number + 1} is missing" if following > number else f"frame {number} comes twice"
            )
            raise DataError(f"{folder}: {problem} (after {path.name}); put it there or leave out the rest")
