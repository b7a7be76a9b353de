"""Small real videos for the tests, made with the encoders that PyAV brings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import supervision as sv

from svit.types import FrameResult, Image
from svit.video import Writer

SIZE = (96, 64)
"""Width, height of the clips."""


def flat(value: int, size: tuple[int, int] = SIZE) -> Image:
    """A grey picture; its level tells a frame from its neighbours after lossy coding."""
    return np.full((size[1], size[0], 3), value, np.uint8)


def levels(count: int) -> list[int]:
    """One grey level per frame, 4 apart."""
    return [20 + 4 * number for number in range(count)]


def noise(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> list[Image]:
    """Pictures that do not compress, so a file of them has bytes to damage everywhere."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8) for _ in range(count)]


@dataclass(frozen=True)
class Coding:
    """How a clip is coded."""

    codec: str = "libx264"
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"crf": "10", "preset": "ultrafast"})
    container: dict[str, str] = field(default_factory=dict)
    matrix: int = 1
    full_range: bool = False
    keyframes: int = 12
    rotation: tuple[float, bool] | None = None


def write_clip(
    path: Path,
    images: Iterable[Image],
    coding: Coding | None = None,
    *,
    rate: int = 10,
    times: Sequence[float] | None = None,
) -> Path:
    """Writes a video; `times` in seconds make its frame rate variable."""
    coding = coding or Coding()
    images = list(images)
    times = times or [number / rate for number in range(len(images))]
    with av.open(str(path), "w", options=coding.container) as container:
        stream = container.add_stream(coding.codec, rate=rate, options=coding.options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = coding.pixels
        stream.codec_context.gop_size = coding.keyframes
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        stream.colorspace = coding.matrix
        stream.color_range = 2 if coding.full_range else 1
        if coding.rotation:
            stream.set_display_rotation(coding.rotation[0], hflip=coding.rotation[1])
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                format=coding.pixels,
                dst_colorspace=coding.matrix,
                dst_color_range=2 if coding.full_range else 1,
            )
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_levels(images: Iterable[Image]) -> list[int]:
    """The grey level of each picture."""
    return [round(float(image.mean())) for image in images]


def detections(boxes: Sequence[Sequence[float]] = (), ids: Sequence[int] | None = None) -> sv.Detections:
    """Tracks with these boxes; ids count from 0 unless given."""
    count = len(boxes)
    return sv.Detections(
        xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
        confidence=np.full(count, 0.9, np.float32),
        class_id=np.zeros(count, int),
        tracker_id=np.arange(count) if ids is None else np.asarray(ids),
    )


def write_and_fail(writer: Writer, results: Iterable[FrameResult], failure: type[BaseException]) -> None:
    """A run that breaks off after these results."""
    with writer:
        for each in results:
            writer.write(each)
        raise failure


def result(
    index: int = 0,
    image: Image | None = None,
    tracks: sv.Detections | None = None,
    timestamp: float | None = None,
) -> FrameResult:
    """What a stream would say about one frame."""
    tracks = detections() if tracks is None else tracks
    time = index / 10 if timestamp is None else timestamp
    return FrameResult(index, time, tracks, tracks, flat(100) if image is None else image)
