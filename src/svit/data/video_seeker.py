"""Decoding a video from any of its keyframes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from svit.data.video_index import Keyframe, VideoIndex, file_stamp, open_stream, read_packets
from svit.errors import SourceError

EARLIER = 3
"""So many keyframes are sought, one before the other, if seeking lands too late; then the beginning is."""


class SeekingDecoder:
    """An open video file and a decoder at some place in it.

    Attributes:
        process: the one that opened it.
        frames: the frames from there on, with their numbers, as displayed; damaged ones are left out.

    Raises:
        SourceError: the file cannot be opened, or is not the one that was indexed.
    """

    def __init__(self, path: Path, index: VideoIndex, threads: int) -> None:
        if file_stamp(path) != index.stamp:
            raise SourceError(f"{path}: has changed since it was opened first; open it anew")
        self._path, self._index, self._threads = path, index, threads
        self.process = os.getpid()
        self._container, self._stream = open_stream(path, threads)
        self._untouched = True
        self.go(-1)

    def close(self) -> None:
        """Closes the file. Closing twice is fine."""
        self._container.close()

    def reads_on(self, number: int, place: int) -> bool:
        """Whether frame `number`, to be decoded from keyframe `place`, comes without going anywhere first."""
        start = self._index.keyframes[place].packet if place >= 0 else 0
        return number == self._last + 1 or (number > self._last and start <= self._next)

    def go(self, place: int) -> None:
        """Goes to a keyframe; -1 is the beginning of the file."""
        beginning = Keyframe(0, 0, ())
        keyframe = self._index.keyframes[place] if place >= 0 else beginning
        self._next, self._last = keyframe.packet, keyframe.frame - 1
        self.frames = self._decode(place, keyframe)

    def _decode(self, place: int, start: Keyframe) -> Iterator[tuple[int, VideoFrame]]:
        with suppress(av.FFmpegError, OSError):  # a file that breaks off: the frame asked for will be missing
            for number, packet in self._packets(place):
                if number >= start.packet:
                    self._next = number + 1
                    packet.opaque = number
                    yield from self._output(packet, start.frame)
        yield from self._output(None, start.frame)

    def _output(self, packet: Packet[VideoStream] | None, first: int) -> Iterator[tuple[int, VideoFrame]]:
        """What the decoder gives for a packet, but nothing displayed before `first`: that may be garbled."""
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError:
            return
        for frame in frames:
            number = None if frame.is_corrupt else self._index.number(frame)
            if number is not None and number >= first:
                self._last = number
                yield number, frame

    def _packets(self, place: int) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """The packets with their numbers, from the keyframe or somewhere before it."""
        for earlier in range(place, max(place - EARLIER, -1), -1):
            for time in self._index.keyframes[earlier].times:
                found = self._land(time)
                if found and found[0] <= self._index.keyframes[place].packet:
                    number, packet, rest = found
                    return chain([(number, packet)], enumerate(rest, number + 1))
        if not self._untouched:
            self._container.close()
            self._container, self._stream = open_stream(self._path, self._threads)
        self._untouched = False
        return enumerate(read_packets(self._container, self._stream))

    def _land(self, time: int) -> tuple[int, Packet[VideoStream], Iterator[Packet[VideoStream]]] | None:
        """Seeks; returns the first packet whose number is certain, its number, and the packets after it."""
        self._untouched = False
        try:
            self._container.seek(time, stream=self._stream)
            packets = read_packets(self._container, self._stream)
            for packet in packets:
                number = self._index.recognise(packet)
                if number is not None:
                    return number, packet, packets
        except (av.FFmpegError, OSError):
            return None
        return None
