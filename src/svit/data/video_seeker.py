"""Decoding a video from any of its keyframes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from itertools import chain
from pathlib import Path

import av
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from svit.data.video_index import Keyframe, VideoIndex, file_stamp, open_stream, read_packets
from svit.errors import SourceError

EARLIER = 3
"""So many keyframes are sought, one before the other, if seeking lands too late; then the beginning is."""

WHOLE = (PictureType.I, PictureType.SI)
"""Pictures that are decoded without any other."""


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
        self._untouched, self._spoilt = True, False
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
        frames = self._frames_from(place, start)
        first = next(frames, None)
        # Where the picture is refreshed bit by bit, what a file calls a keyframe only begins a refresh.
        if place < 0 or (first and first[0] == start.frame and first[1].pict_type in WHOLE):
            yield from chain([first] if first else [], frames)
        self._last = len(self._index.packets)  # nothing more comes from here

    def _frames_from(self, place: int, start: Keyframe) -> Iterator[tuple[int, VideoFrame]]:
        """The good frames up to the first damaged one, which spoils those after it."""
        for frame in self._pictures(place, start.packet):
            number = self._index.number(frame)
            if number is None or number < start.frame:
                continue  # what is displayed before the keyframe may lack what it refers to
            if frame.is_corrupt:
                self._spoilt = True
                return
            self._last = number
            yield number, frame

    def _pictures(self, place: int, start: int) -> Iterator[VideoFrame]:
        """All that the decoder gives from the packet `start` on, until an error."""
        certain = self._index.keyframes[0].packet if self._index.keyframes else 0
        try:
            for number, packet in self._packets(place):
                if number < start:
                    continue
                self._next = number + 1
                packet.opaque = number
                with suppress(av.FFmpegError) if number < certain else nullcontext():
                    yield from self._stream.decode(packet)
            yield from self._stream.decode(None)
        except (av.FFmpegError, OSError):
            self._spoilt = True

    def _packets(self, place: int) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """The packets with their numbers, from the keyframe or somewhere before it."""
        if self._spoilt:
            self._reopen()  # a decoder that met damage garbles what follows, even after a seek
        for earlier in range(place, max(place - EARLIER, -1), -1):
            for time in self._index.keyframes[earlier].times:
                found = self._land(time)
                if found and found[0] <= self._index.keyframes[place].packet:
                    number, packet, rest = found
                    return chain([(number, packet)], enumerate(rest, number + 1))
        if not self._untouched:
            self._reopen()
        self._untouched = False
        return enumerate(read_packets(self._container, self._stream))

    def _reopen(self) -> None:
        self._container.close()
        self._container, self._stream = open_stream(self._path, self._threads)
        self._untouched, self._spoilt = True, False

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
