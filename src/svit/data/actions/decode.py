"""Some frames of a video, by their numbers, with no more opening, seeking and decoding than they need."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from svit.data.actions.index import ActionVideo
from svit.data.video_frames import open_frames
from svit.data.video_index import file_stamp, open_stream
from svit.errors import SourceError, SvitError
from svit.types import Image
from svit.video.decode import to_rgb


@dataclass(frozen=True)
class FoundFrames:
    """What was read of a video.

    Attributes:
        frames: as many as were asked for, RGB (height, width, 3) uint8, of one size.
        numbers: of each, from 0; another than asked for where that one is damaged.
        broken: one line where frames are damaged, else none.
    """

    frames: list[Image]
    numbers: npt.NDArray[np.int64]
    broken: list[str]


def read_frames(
    path: Path, video: ActionVideo, numbers: Sequence[int] | npt.NDArray[np.int64]
) -> FoundFrames:
    """Reads frames of a video; in the place of a damaged one stands the nearest of the others.

    Decodes on one thread from the last keyframe before the first frame, skips to later keyframes on the way,
    and closes the file. Where the index has no keyframes (AVI, images), or they are not what they seem,
    `open_frames` searches the file.

    Args:
        path: of the file or folder.
        video: what the index says of it.
        numbers: frames from 0, in any order, repeats allowed.

    Raises:
        SvitError: the file is missing or has changed since it was indexed, none of the frames can be decoded,
            or they differ in size.
    """
    wanted = sorted({int(number) for number in numbers})
    found = _decode(path, video, wanted) if video.keyframes else {}
    why = ""
    if len(found) < len(wanted):
        why = _search(path, video, [number for number in wanted if number not in found], found)
    if not found:
        raise SourceError(why)
    if len({image.shape for image in found.values()}) > 1:
        raise SourceError(f"{path}: its frames differ in size")
    good = np.array(sorted(found))
    shown = np.array([good[np.abs(good - number).argmin()] for number in numbers], np.int64)
    lost = len(wanted) - len(found)
    broken = [f"{why}; {lost} of {len(wanted)} frames replaced by their neighbours"] if lost else []
    return FoundFrames([found[int(number)] for number in shown], shown, broken)


def _search(path: Path, video: ActionVideo, numbers: list[int], found: dict[int, Image]) -> str:
    """Reads frames by a search of the whole file; returns why the last of the missing ones cannot be."""
    why = ""
    with open_frames(path, cache=1) as frames:
        for number in numbers:
            try:
                found[number] = frames[video.first + number]
            except SvitError as error:
                why = str(error)
    return why


def _decode(path: Path, video: ActionVideo, wanted: list[int]) -> dict[int, Image]:
    """Those of the frames that decoding from the index's keyframes brings without doubt."""
    if file_stamp(path)[0] != video.bytes:
        raise SourceError(f"{path}: has changed since it was indexed; prepare the data set again")
    found: dict[int, Image] = {}
    container, stream = open_stream(path, 1)
    with container:
        at, frames = -1, _frames_from(container, stream, video, 0)
        for number in wanted:
            keyframe = video.keyframes[bisect_right(video.keyframes, number) - 1]
            if keyframe > at + 1:
                frames = _frames_from(container, stream, video, keyframe)
            for at, frame in frames:  # noqa: B007  (how far decoding has come)
                if at >= number:
                    break
            if at != number:
                break
            found[number] = to_rgb(frame)
    return found


def _frames_from(
    container: InputContainer, stream: VideoStream, video: ActionVideo, keyframe: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with their numbers from a keyframe on, up to damage; none where it is no keyframe."""
    unit, clock = float(stream.time_base or 0), video.clock()
    certain = keyframe == 0
    try:
        if keyframe:
            container.seek(round((video.start + clock[keyframe]) / unit), stream=stream)
        for frame in container.decode(stream):
            if frame.is_corrupt or frame.pts is None:
                return
            number = _number(video, clock, frame.pts * unit - video.start)
            if number < keyframe:
                continue  # what is displayed before the keyframe may lack what it refers to
            if not certain and (number > keyframe or frame.pict_type != PictureType.I):
                return
            certain = True
            yield number, frame
    except (av.FFmpegError, OSError):
        return


def _number(video: ActionVideo, clock: npt.NDArray[np.float64], seconds: float) -> int:
    """The frame that is displayed at this time; -1 before the first."""
    if video.times is None:
        return round(seconds * video.rate)
    after = int(np.searchsorted(clock, seconds))
    nearest = [n for n in (after - 1, after) if 0 <= n < len(clock)]
    return min(nearest, key=lambda n: abs(clock[n] - seconds)) if seconds > -1e-3 else -1
