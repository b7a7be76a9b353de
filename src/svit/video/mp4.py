"""The annotated video: H.264 in mp4, as browsers play it, safe against interruption."""

from __future__ import annotations

import logging
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from svit.errors import OutputError, UsageError
from svit.types import FrameResult, Image
from svit.video.draw import TrackPainter, draw_actions
from svit.video.letterbox import letterbox
from svit.video.output import PartFile, output_error
from svit.video.writers import Writer

logger = logging.getLogger(__name__)

TIME_BASE = Fraction(1, 90_000)
"""Resolution of the timestamps: fine enough that every common frame rate comes out exact."""

SECONDS_PER_FRAGMENT = 2.0
"""Distance of key frames; also the most that a crash of the machine costs."""

WHILE_WRITING = "+frag_keyframe+delay_moov+default_base_moof"
FINISHED = "+faststart"
BOX_HEADER = 8


class VideoWriter(Writer):
    """Writes frames with their tracks, and actions if there are any, drawn.

    H.264 (x264, veryfast, CRF 21), yuv420p, BT.709, faststart.

    Frames are shown at the times the results carry, so variable frame rates stay true. The size is that of
    the first frame, made even by repeating the last column or row; frames of another size are fitted into
    it on black.

    While it grows, the file is a fragmented mp4 that plays even if the process is killed; on `close` it is
    rewritten without fragments and with its index in front. That needs the file's size once more for a
    moment; if the disk has no room for it, the fragmented file is kept: it plays too.

    Args:
        path: ends in .mp4, .m4v or .mov.
        rate: average frames per second, above 0: the pace the encoder plans with.
        painter: draws the tracks; a `TrackPainter` of its own if None.

    Raises:
        UsageError: the rate is not a positive number.
        OutputError: the path cannot be written.
    """

    def __init__(self, path: str | Path, rate: float, painter: TrackPainter | None = None) -> None:
        if not (math.isfinite(rate) and rate > 0):
            raise UsageError(f"frame rate {rate} of {path}: must be above 0 frames per second")
        self._place = PartFile(Path(path), (".mp4", ".m4v", ".mov"))
        if self._place.direct:
            raise OutputError(f"{path}: not a regular file; a video can only be written to a file")
        self._painter = painter or TrackPainter()
        self._rate = rate
        self._encoder: _Encoder | None = None
        self._last_ticks = -1
        self._finished = False

    def _append(self, result: FrameResult) -> None:
        image = self._painter.paint(result.image, result.tracks)
        if result.actions is not None:
            image = draw_actions(image, result.actions)
        try:
            if self._encoder is None:
                self._encoder = _Encoder(self._place.part, image.shape[1], image.shape[0], self._rate)
            # The encoder refuses times that do not increase.
            self._last_ticks = max(round(result.timestamp / TIME_BASE), self._last_ticks + 1)
            self._encoder.encode(image, self._last_ticks)
        except (av.FFmpegError, OSError) as error:
            self._salvage()
            raise _as_output_error(self._place.target, error) from error

    def close(self) -> None:
        """Finishes the video. Without a single frame there is none, and an older file stays."""
        if self._finished:
            return
        if self._encoder is None:
            self.discard()
            return
        try:
            self._encoder.finish()
        except (av.FFmpegError, OSError) as error:
            self._salvage()
            raise _as_output_error(self._place.target, error) from error
        self._finished = True
        _defragment(self._place.part)
        self._place.commit()

    def discard(self) -> None:
        """Ends without a file."""
        if not self._finished:
            self._finished = True
            self._abandon()
            self._place.discard()

    def _salvage(self) -> None:
        """After a failed write: keeps the fragments that are whole, under the final name."""
        self._finished = True
        self._abandon()
        if _keep_whole_fragments(self._place.part):
            self._place.commit()
        else:
            self._place.discard()

    def _abandon(self) -> None:
        if self._encoder is not None:
            try:
                self._encoder.container.close()
            except (av.FFmpegError, OSError) as error:
                # The file cannot take its end any more, which the caller knows.
                logger.debug("%s: closing an unfinished video: %s", self._place.target, error)


class _Encoder:
    """An open fragmented mp4 and its H.264 stream, with the size of the first frame."""

    def __init__(self, path: Path, width: int, height: int, rate: float) -> None:
        self._size = (width, height)
        self.container = av.open(str(path), "w", format="mp4", options={"movflags": WHILE_WRITING})
        options = {"preset": "veryfast", "crf": "21"}
        stream = self.container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1001), options=options
        )
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        stream.codec_context.gop_size = max(1, round(rate * SECONDS_PER_FRAGMENT))
        stream.color_range = ColorRange.MPEG
        stream.colorspace = Colorspace.ITU709
        stream.color_primaries = ColorPrimaries.BT709
        stream.color_trc = ColorTrc.BT709
        self._stream = stream

    def encode(self, image: Image, ticks: int) -> None:
        """Adds a frame to be shown at `ticks` of `TIME_BASE`."""
        image = letterbox(image, *self._size)
        odd = (image.shape[0] % 2, image.shape[1] % 2)
        if any(odd):
            image = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = ticks, TIME_BASE
        self.container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Writes what the encoder still holds and the end of the file."""
        self.container.mux(self._stream.encode(None))
        self.container.close()


def _as_output_error(target: Path, error: av.FFmpegError | OSError) -> OutputError:
    if isinstance(error, OSError):
        return output_error(target, error)
    return OutputError(f"{target}: the video cannot be encoded ({error.strerror}); write elsewhere")


def _defragment(part: Path) -> None:
    """Rewrites a fragmented mp4 with one index at its start; leaves it as it is where that fails."""
    whole = part.with_name(f"{part.name}.whole")
    try:
        with (
            av.open(str(part)) as source,
            av.open(str(whole), "w", format="mp4", options={"movflags": FINISHED}) as sink,
        ):
            fragmented = source.streams.video[0]
            stream = sink.add_stream_from_template(fragmented)
            stream.time_base = fragmented.time_base
            for packet in source.demux(fragmented):
                if packet.dts is not None:
                    packet.stream = stream
                    sink.mux(packet)
        whole.replace(part)
    except (av.FFmpegError, OSError) as error:
        logger.warning("%s: kept as fragmented mp4 (%s)", part, error.strerror)
    finally:
        whole.unlink(missing_ok=True)


def _keep_whole_fragments(path: Path) -> bool:
    """Cuts an mp4 after its last complete media data; False if there is none."""
    end = position = 0
    size = path.stat().st_size
    with path.open("r+b") as file:
        while position + BOX_HEADER <= size:
            file.seek(position)
            header = file.read(BOX_HEADER)
            length = int.from_bytes(header[:4], "big")
            if length < BOX_HEADER or position + length > size:
                break
            position += length
            if header[4:] == b"mdat":
                end = position
        file.truncate(end)
    return end > 0
