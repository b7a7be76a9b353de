"""`svit track` from a video file to an annotated one, and where its time goes."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from svit.bench.alone import alone
from svit.bench.commands import Ran, run_command, sample_clip
from svit.bench.rows import CannotMeasureError, Row, Say, Settings, timed_row


def rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`tiny_end_to_end`: seconds per frame with an annotated video; without one among the details."""
    frames = 6 if settings.quick else 100
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="svit-bench-")))
        clip = stack.enter_context(sample_clip())
        if settings.quick:
            clip = alone(shorten, clip, folder / "short.mp4", frames).result
        text = ["--mot", str(folder / "tracks.txt")]
        say("svit track with a video")
        with_video = _track(clip, ["-o", str(folder / "tracks.mp4"), *text], settings.threads)
        say("svit track --no-video")
        without = _track(clip, ["--no-video", *text], settings.threads)
        say("stage by stage")
        stages = alone(time_stages, clip, folder / "stages.mp4", frames, settings.threads).result
    rate = frame_rate(with_video)
    what = "svit track --precision auto of the sample clip, 768x432, with video, per frame"
    yield replace(
        timed_row("tiny_end_to_end", what, [1 / rate]),
        peak_bytes=with_video.peak_bytes,
        details={
            "frames_per_second": rate,
            "no_video_frames_per_second": frame_rate(without),
            "part_seconds": stages,
        },
    )


def _track(clip: Path, output: list[str], threads: int) -> Ran:
    words = ["track", str(clip), "--precision", "auto", *output]
    return alone(run_command, words, threads).result


def frame_rate(ran: Ran) -> float:
    """What the summary of `svit track` says: frames per second without the start.

    Raises:
        CannotMeasureError: it says nothing.
    """
    found = re.search(r"([\d.]+) frames/s", ran.stdout)
    if found is None or float(found[1]) == 0:
        raise CannotMeasureError("svit track printed no frames/s")
    return float(found[1])


def shorten(source: Path, target: Path, frames: int) -> Path:
    """The first frames of a video as a video of its own, nothing drawn."""
    import supervision as sv

    from svit.bench.sample import Unpainted
    from svit.types import FrameResult
    from svit.video import VideoWriter, open_source

    nothing = sv.Detections.empty()
    with open_source(str(source)) as opened, VideoWriter(target, opened.rate, Unpainted()) as writer:
        for frame in islice(opened, frames):
            writer.write(FrameResult(frame.index, frame.timestamp, nothing, nothing, frame.image))
    return target


def time_stages(clip: Path, target: Path, frames: int, threads: int) -> dict[str, float]:
    """Seconds per frame of each stage, all of them in one thread, one frame after the other."""
    import torch

    from svit.bench.sample import Unpainted
    from svit.model.preprocess import preprocess
    from svit.tracking import ByteTracker
    from svit.types import FrameResult
    from svit.video import TrackPainter, VideoWriter, open_source
    from svit.weights import load

    torch.set_num_threads(threads)
    model, spent = load(device="cpu", precision="auto"), Spent()
    weight = model.encoder.positions
    config, painter, memory = model.config, TrackPainter(), None
    tracker = ByteTracker(**config.tracker.model_dump())
    with open_source(str(clip)) as source, VideoWriter(target, source.rate, Unpainted()) as writer:
        opened = iter(source)
        for _ in range(frames):
            with spent.on("decode"):
                frame = next(opened)
            with spent.on("preprocess"):
                inputs = preprocess(frame.image, config.input, config.stride).to(weight.dtype)
            with spent.on("model"):
                found, memory = model.detect(inputs[None, None], memory, [frame.image.shape[:2]])
            with spent.on("track"):
                tracks = tracker.update(found[0][0])
            with spent.on("annotate"):
                drawn = painter.paint(frame.image, tracks)
            with spent.on("encode"):
                writer.write(FrameResult(frame.index, frame.timestamp, found[0][0], tracks, drawn))
    return {stage: seconds / frames for stage, seconds in spent.seconds.items()}


class Spent:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def on(self, stage: str) -> Iterator[None]:
        """Counts the time of what is done inside."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
