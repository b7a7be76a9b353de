"""PyAV in one place: opening a container, decoding past damage, timestamps, colours and rotation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from svit.errors import SourceError
from svit.types import Image
from svit.video.base import DEFAULT_RATE

UNSPECIFIED_COLOURSPACE = 2
"""AVCOL_SPC_UNSPECIFIED: the file does not say how its colours are coded."""

LARGEST_STANDARD_DEFINITION = (1279, 576)
"""Width, height: players take larger untagged video for BT.709 and the rest for BT.601."""

PLAYLISTS = ("hls", "dash")
"""Formats whose file only lists the parts of the video."""

BACKWARD_JUMP = 1.0
"""Seconds; a timestamp this far back is a new time line (camera restarted), less is only disorder."""


class OpenError(SourceError):
    """FFmpeg found nothing it can read at an address, or no way to it."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open something with PyAV.

    Attributes:
        format: name of the demuxer (an input device, for example); None looks at the content.
        options: passed on to FFmpeg.
        timeout: seconds to wait for opening and for each read; None waits for ever.
        live: decode for the least delay instead of the most frames per second.
    """

    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None
    live: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame that is not converted yet, so that one that gets dropped costs no conversion.

    Attributes:
        frame: PyAV's frame.
        index: position in the stream from 0, damaged frames counted.
        seconds: the container's time of the frame; None where it has none.
    """

    frame: VideoFrame
    index: int
    seconds: float | None


def reason(error: BaseException) -> str:
    """FFmpeg's reason without the address, which may hold a password."""
    if isinstance(error, av.ExitError):
        return "no answer within the time limit"
    text = error.strerror if isinstance(error, (av.FFmpegError, OSError)) else str(error)
    return text or type(error).__name__


class Decoder:
    """Decodes the best video stream of a container, once, leaving out what is damaged.

    Attributes:
        rate: average frames per second; `DEFAULT_RATE` where the container does not say.
        frames: expected number of frames or None.
        finite: it has an end that is known: a recording, even if served over the network.
        damaged: frames left out so far.
        broken: after iterating, why the stream ended before its end; None if it did not.
    """

    def __init__(self, location: str, name: str, opening: Opening) -> None:
        """Opens `location` (a path or an address).

        Raises:
            OpenError: FFmpeg cannot open it.
            SourceError: it holds no video, or in a codec that FFmpeg does not know.
        """
        try:
            self._container: InputContainer = av.open(
                location,
                mode="r",
                format=opening.format,
                options=opening.options,
                timeout=opening.timeout,
                metadata_errors="replace",
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OpenError(f"{name}: cannot be opened ({reason(error)})") from error
        try:
            self._stream = _video_stream(self._container, name)
        except SourceError:
            self._container.close()
            raise
        # Frame threads decode ahead: fastest for files, but each thread adds a frame of delay.
        self._stream.thread_type = "SLICE" if opening.live else "AUTO"
        self.rate = float(self._stream.average_rate or self._stream.guessed_rate or DEFAULT_RATE)
        duration = self._container.duration
        self._duration = None if duration is None else duration / av.time_base
        # A playlist's size says nothing about the video.
        self._size = 0 if self._container.format.name in PLAYLISTS else self._container.size
        self.finite = self._duration is not None or self._size > 0
        self.frames = self._expected_frames()
        self.damaged = 0
        self.broken: str | None = None
        self._position = 0
        self._cut_off = False
        # Of the stream, because frames that come out after the last packet have no unit of their own.
        self._times = _BestTimestamps(self._stream.time_base or Fraction(1, av.time_base))
        self._end_seconds = 0.0

    def __iter__(self) -> Iterator[Picture]:
        for packet in self._packets():
            yield from self._decode(packet)
        if self.broken is None:
            self.broken = self._missing_end()

    def close(self) -> None:
        """Closes the container. Closing twice is fine."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """The stream's packets, then None to empty the decoder, whatever ends the reading."""
        held: Packet[VideoStream] | None = None
        try:
            for packet in self._container.demux(self._stream):
                if not packet.size:
                    continue  # PyAV's sign for the end
                # An incomplete packet is only decoded when others follow: a half packet at a cut-off end
                # would cost the good frames that are still inside the decoder.
                if held is not None:
                    yield held
                held = packet if packet.is_corrupt else None
                if held is None:
                    yield packet
        except (av.FFmpegError, OSError) as error:
            self.broken = reason(error)
        self._cut_off = held is not None
        yield None

    def _decode(self, packet: Packet[VideoStream] | None) -> Iterator[Picture]:
        try:
            frames = self._stream.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError:
            self._count_damage()
            return
        for frame in frames:
            if frame.is_corrupt:
                self._count_damage()
                continue
            seconds = self._times.seconds(frame)
            length = float((frame.duration or 0) * self._times.unit) or 1 / self.rate
            self._end_seconds = max(self._end_seconds, (seconds or 0.0) + length)
            yield Picture(frame, self._position, seconds)
            self._position += 1

    def _count_damage(self) -> None:
        self.damaged += 1
        self._position += 1

    def _expected_frames(self) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        return round(self._duration * self.rate) or None if self._duration else None

    def _missing_end(self) -> str | None:
        """Why the end of the file must be missing, or None.

        FFmpeg takes the end of a file for the end of the video, so this compares with the header's promises.
        """
        indexed = max((entry.pos + entry.size for entry in self._stream.index_entries), default=0)
        if self._cut_off or (0 < self._size < indexed):
            return "the end of the file is missing"
        promised = self._promised_end()
        if promised is not None and promised - self._end_seconds > max(1.0, 0.02 * promised):
            return f"the file promises {promised:.1f} s"
        return None

    def _promised_end(self) -> float | None:
        """The video's end in seconds where only the header knows it (Matroska, WebM), else None."""
        if "matroska" not in self._container.format.name:
            return None
        if "DURATION" in self._stream.metadata:  # the muxer's statistics, "00:00:05.000000000"
            with suppress(ValueError):
                hours, minutes, seconds = self._stream.metadata["DURATION"].split(":")
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return self._duration if len(self._container.streams) == 1 else None


def to_rgb(frame: VideoFrame) -> Image:
    """Converts to RGB (height, width, 3) uint8 as a player shows it.

    Takes account of colour matrix, range, bit depth and the rotation or mirroring of the display matrix.
    High dynamic range is not tone-mapped; pixels that are not square stay as they are.
    """
    width, height = LARGEST_STANDARD_DEFINITION
    untagged = frame.colorspace == UNSPECIFIED_COLOURSPACE
    assumed = Colorspace.ITU709 if untagged and (frame.width > width or frame.height > height) else None
    image = np.asarray(frame.to_ndarray(format="rgb24", src_colorspace=assumed), np.uint8)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if isinstance(matrix, SideData):
        image = _display(image, np.frombuffer(bytes(matrix), np.int32))
    return np.ascontiguousarray(image)


def _display(image: Image, matrix: npt.NDArray[np.int32]) -> Image:
    """Applies a display matrix, rounded to quarter turns: x' = a x + c y, y' = b x + d y."""
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    if abs(a) >= abs(b):
        flip_x, flip_y = a < 0, d < 0
    else:
        image = image.swapaxes(0, 1)
        flip_x, flip_y = c < 0, b < 0
    return image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


class Clock:
    """Seconds since the first frame, always increasing, from timestamps that may be missing or jump back."""

    def __init__(self, rate: float) -> None:
        self._step = 1.0 / rate
        self._offset: float | None = None
        self._last: float | None = None

    def restart(self, elapsed: float) -> None:
        """A new time line begins, `elapsed` seconds after the first frame."""
        self._last = max(elapsed - self._step, self._last or 0.0)
        self._offset = None

    def read(self, seconds: float | None) -> float:
        """The next frame's time, from the container's `seconds`."""
        expected = 0.0 if self._last is None else self._last + self._step
        if seconds is None:
            now = expected
        else:
            if self._offset is None or seconds + self._offset < expected - self._step - BACKWARD_JUMP:
                self._offset = expected - seconds
            now = seconds + self._offset
        if self._last is not None and now <= self._last:
            now = self._last + self._step / 100
        self._last = now
        return now


class _BestTimestamps:
    """Picks presentation or decoding times, whichever have run backwards less often.

    AVI files with B-frames give presentation times out of order.
    """

    def __init__(self, unit: Fraction) -> None:
        self.unit = unit
        self._last_pts = self._last_dts = float("-inf")
        self._faulty_pts = self._faulty_dts = 0

    def seconds(self, frame: VideoFrame) -> float | None:
        if frame.dts is not None:
            self._faulty_dts += frame.dts <= self._last_dts
            self._last_dts = frame.dts
        if frame.pts is not None:
            self._faulty_pts += frame.pts <= self._last_pts
            self._last_pts = frame.pts
        use_pts = frame.pts is not None and (frame.dts is None or self._faulty_pts <= self._faulty_dts)
        ticks = frame.pts if use_pts else frame.dts
        return None if ticks is None else float(ticks * self.unit)


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    # FFmpeg "decodes" any .txt as a text-mode screen: nobody means that.
    streams = container.streams.video if container.format.name != "tty" else ()
    for stream in streams:
        if Disposition.attached_pic in stream.disposition:
            continue  # a music file's cover
        if stream.codec_context is None:
            raise SourceError(f"{name}: its video codec is not supported; convert it to H.264, H.265 or AV1")
        return stream
    raise SourceError(f"{name}: holds no video; give a video file, a folder of images or a camera")
