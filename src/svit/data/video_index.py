"""Where the frames of a video file are: found once, so that any frame can then be read at once."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from svit.errors import SourceError
from svit.video import open_source
from svit.video.decode import reason

STORES_DISPLAY_TIMES = ("mov", "matroska", "mpegts")
"""Formats whose packets say when they are displayed. Elsewhere, as in AVI, FFmpeg has to guess."""

ONE_FRAME_A_PACKET = ("h264", "hevc", "vp9", "av1", "mjpeg")
"""Codecs of which every packet gives a frame. Others have packets that give none, or two."""


class PacketEntry(NamedTuple):
    """What is looked at of a packet: display and decoding time in the stream's unit, size in bytes, flags."""

    pts: int | None
    dts: int | None
    size: int
    keyframe: bool
    discarded: bool


class Keyframe(NamedTuple):
    """A packet that decoding can start at.

    Attributes:
        packet: its number.
        frame: the number of the frame it gives.
        times: where to seek to for it, in the stream's unit, the likeliest first.
    """

    packet: int
    frame: int
    times: tuple[int, ...]


@dataclass(frozen=True)
class VideoIndex:
    """The frames and keyframes of a video. Packets count from 0 in the file's order, frames as displayed.

    Attributes:
        stamp: tells whether the file is still the same; see `file_stamp`.
        by_time: a decoded frame is known by its display time; else by the packet it came from, which the
            decoder hands on as `opaque`.
        packets: (frames,) the packet that gives each frame.
        identities: (frames,) what each frame is known by.
        keyframes: in the file's order.
        keys: what a keyframe's packet is known by after a seek (time and size), to its place in `keyframes`;
            only those that no other packet has.
    """

    stamp: tuple[int, int]
    by_time: bool
    packets: npt.NDArray[np.int64]
    identities: npt.NDArray[np.int64]
    keyframes: list[Keyframe]
    keys: dict[tuple[int | None, int], int]

    def number(self, frame: VideoFrame) -> int | None:
        """The number of a decoded frame; None if it is none of the video's."""
        found = np.flatnonzero(self.identities == (frame.pts if self.by_time else frame.opaque))
        return int(found[0]) if found.size else None

    def recognise(self, packet: Packet[VideoStream]) -> int | None:
        """The number of a keyframe's packet; None for any other packet."""
        place = self.keys.get(_key(self.by_time, packet.pts, packet.dts, packet.size))
        return None if place is None else self.keyframes[place].packet

    def start(self, frame: int) -> int:
        """The place in `keyframes` to decode from for a frame; -1 for the beginning of the file.

        A picture that comes after a keyframe in the file, but is displayed before it, may need pictures from
        before that keyframe (an open group of pictures).
        """
        packet = int(self.packets[frame])
        place = bisect_right(self.keyframes, packet, key=lambda keyframe: keyframe.packet) - 1
        while place >= 0 and self.keyframes[place].frame > frame:
            place -= 1
        return place


def file_stamp(path: Path) -> tuple[int, int]:
    """Size and time of last change of a file.

    Raises:
        SourceError: it is not there.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened ({error.strerror})") from None
    return status.st_size, status.st_mtime_ns


def open_stream(path: Path, threads: int) -> tuple[InputContainer, VideoStream]:
    """Opens a file's video stream so that decoded frames know their packet.

    Raises:
        SourceError: it cannot be opened, or holds no video.
    """
    try:
        # "file:" keeps a name such as "10:30.mp4" from being taken for an address.
        container: InputContainer = av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{path}: cannot be opened ({reason(error)})") from error
    streams = [each for each in container.streams.video if Disposition.attached_pic not in each.disposition]
    if not streams:
        container.close()
        raise SourceError(f"{path}: holds no video")
    streams[0].codec_context.thread_count = threads
    streams[0].codec_context.flags |= Flags.copy_opaque
    return container, streams[0]


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets from where the container stands, without FFmpeg's empty ones at the end."""
    return (packet for packet in container.demux(stream) if packet.size)


def build_index(path: Path) -> VideoIndex:
    """Reads all packets of a video; decodes them too only where packets do not tell the order of frames.

    Raises:
        SourceError: the file is missing, broken, cut off, or holds no video; the message names it.
    """
    open_source(path).close()  # says best what is wrong with a file
    stamp = file_stamp(path)
    container, stream = open_stream(path, 1)
    with container:
        entries = _read_entries(path, container, stream)
        by_time = _times_tell(container, stream, entries)
    packets = _displayed(path, entries) if by_time else _decoded(path)
    return _index(stamp, entries, packets, by_time)


def _read_entries(path: Path, container: InputContainer, stream: VideoStream) -> list[PacketEntry]:
    entries = []
    damaged = False
    try:
        for packet in read_packets(container, stream):
            damaged = packet.is_corrupt
            entries.append(
                PacketEntry(packet.pts, packet.dts, packet.size, packet.is_keyframe, packet.is_discard)
            )
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{path}: breaks off after {len(entries)} frames ({reason(error)})") from error
    end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    if damaged or end > path.stat().st_size:
        raise SourceError(f"{path}: the end of the file is missing; copy or download it again")
    return entries


def _times_tell(container: InputContainer, stream: VideoStream, entries: Sequence[PacketEntry]) -> bool:
    """Whether the packets' display times are those of the frames."""
    names = container.format.name.split(",")
    times = {entry.pts for entry in entries}
    return (
        any(name in STORES_DISPLAY_TIMES for name in names)
        and stream.codec.canonical_name in ONE_FRAME_A_PACKET
        and None not in times
        and len(times) == len(entries)
    )


def _displayed(path: Path, entries: Sequence[PacketEntry]) -> list[int]:
    """The packets that give frames, in the order of their display times.

    Pictures before the first keyframe, in the file or on display, may miss what they refer to: which of them
    come out is found by decoding the beginning.
    """
    times = [entry.pts or 0 for entry in entries]
    shown = [number for number, entry in enumerate(entries) if not entry.discarded]
    shown.sort(key=times.__getitem__)
    first = next((number for number, entry in enumerate(entries) if entry.keyframe), len(entries) - 1)
    doubtful = {number for number in shown if number < first or times[number] < times[first]}
    if not doubtful:
        return shown
    seen = set(_head_times(path, max(times[number] for number in doubtful)))
    return [number for number in shown if number not in doubtful or times[number] in seen]


def _head_times(path: Path, last: int) -> Iterator[int]:
    """Display times of the frames that decode, until one is later than `last`."""
    for frame, _ in _decode_all(path):
        if frame is not None and frame.pts is not None:
            if frame.pts > last:
                return
            yield frame.pts


def _decoded(path: Path) -> list[int]:
    """The packets that give frames, in the order in which decoding the whole file brings them."""
    packets = []
    for frame, packet in _decode_all(path):
        number = packet if frame is None else frame.opaque
        if isinstance(number, int):
            packets.append(number)
    return packets


def _decode_all(path: Path) -> Iterator[tuple[VideoFrame | None, int]]:
    """Decodes a file from its start: each frame, None for a damaged one, and the packet read last."""
    container, stream = open_stream(path, 1)
    with container:
        number = -1
        for number, packet in enumerate(read_packets(container, stream)):
            packet.opaque = number
            try:
                for frame in stream.decode(packet):
                    yield frame, number
            except av.FFmpegError:
                yield None, number
        for frame in stream.decode(None):
            yield frame, number


def _index(
    stamp: tuple[int, int], entries: Sequence[PacketEntry], packets: Sequence[int], by_time: bool
) -> VideoIndex:
    frames = {packet: frame for frame, packet in enumerate(packets)}
    keyframes = [
        Keyframe(packet, frames[packet], _seek_times(entry, by_time))
        for packet, entry in enumerate(entries)
        if entry.keyframe and packet in frames
    ]
    keys = [_key(by_time, entry.pts, entry.dts, entry.size) for entry in entries]
    often = Counter(keys)
    identities = [entries[packet].pts if by_time else packet for packet in packets]
    return VideoIndex(
        stamp,
        by_time,
        np.array(packets, np.int64),
        np.array(identities, np.int64),
        keyframes,
        {
            keys[keyframe.packet]: place
            for place, keyframe in enumerate(keyframes)
            if often[keys[keyframe.packet]] == 1
        },
    )


def _seek_times(entry: PacketEntry, by_time: bool) -> tuple[int, ...]:
    times = (entry.pts, entry.dts) if by_time else (entry.dts,)
    return tuple(dict.fromkeys(time for time in times if time is not None))


def _key(by_time: bool, pts: int | None, dts: int | None, size: int) -> tuple[int | None, int]:
    # FFmpeg works out the time that a file does not store, and after a seek differently.
    return (pts if by_time else dts), size
