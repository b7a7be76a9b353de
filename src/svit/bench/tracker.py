"""Association alone: `svit.tracking.ByteTracker` beside `trackers.ByteTrackTracker`.

Both get the same simulated detections, frame by frame in turn. Processor time is counted: on a busy machine
the wall clock punishes the slower one more, which is interrupted more often.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import supervision as sv

from svit.bench.alone import alone
from svit.bench.rows import Row, Say, Settings, timed_row
from svit.tracking import ByteTracker

OBJECTS = (20, 100, 400)
WIDTH, HEIGHT = 1920, 1080
WARM_UP = 20
"""Frames."""

Update = Callable[[sv.Detections], sv.Detections]


def rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`tracker_20`, `tracker_100`, `tracker_400`: processor seconds per frame."""
    for objects in OBJECTS:
        say(f"tracker, {objects} objects")
        done = alone(compare, objects, 10 if settings.quick else 200)
        what = f"association of {objects} people, processor time; reference: trackers.ByteTrackTracker"
        theirs = done.result.theirs
        yield replace(
            timed_row(f"tracker_{objects}", what, done.result.ours),
            peak_bytes=done.peak_bytes,
            reference_seconds=statistics.median(theirs) if theirs else None,
            note=done.result.missing,
        )


@dataclass
class Compared:
    """Processor seconds per frame of both; why theirs are missing."""

    ours: list[float]
    theirs: list[float]
    missing: str = ""


def compare(objects: int, frames: int) -> Compared:
    """Gives both trackers the same video, frame by frame in turn."""
    video = simulate(objects, WARM_UP + frames)
    ours = ByteTracker(high=0.6).update
    try:
        from trackers import ByteTrackTracker
    except ImportError as missing:
        return Compared([seconds(ours, seen) for seen in video][WARM_UP:], [], advice(missing))
    theirs = ByteTrackTracker(high_conf_det_threshold=0.6).update
    pairs = [(seconds(ours, seen), seconds(theirs, seen)) for seen in video][WARM_UP:]
    return Compared([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def advice(missing: ImportError) -> str:
    """What to install: the package, or the system library that its OpenCV needs."""
    if "cannot open shared object" in str(missing):
        return f"no reference: {missing}: apt-get install libgl1, or your system's package of that name"
    return 'no reference: pip install "streaming-video-model[bench]"'


def seconds(update: Update, detections: sv.Detections) -> float:
    """Processor time of one call."""
    start = time.process_time()
    update(detections)
    return time.process_time() - start


def simulate(objects: int, frames: int, seed: int = 0) -> list[sv.Detections]:
    """Return detections of `objects` people who walk through a full-HD picture.

    One in twenty is missed in a frame, one in five has a weak score, and there are 5% false alarms.
    """
    rng = np.random.default_rng(seed)
    height = rng.uniform(60, 250, objects)
    size = np.stack((height * rng.uniform(0.3, 0.5, objects), height), axis=1)
    centre = rng.uniform((0, 0), (WIDTH, HEIGHT), (objects, 2))
    velocity = rng.normal(0, 3, (objects, 2))
    video = []
    for _ in range(frames):
        centre += velocity
        velocity = np.where((centre < 0) | (centre > (WIDTH, HEIGHT)), -velocity, velocity)
        seen = rng.random(objects) > 0.05
        boxes = np.concatenate((centre - size / 2, centre + size / 2), axis=1)[seen]
        boxes += rng.normal(0, 0.02, boxes.shape) * size[seen][:, [1]]
        scores = np.where(rng.random(len(boxes)) < 0.2, rng.uniform(0.15, 0.55, len(boxes)), 0.9)
        video.append(_detections(boxes, scores, false_alarms=objects // 20, rng=rng))
    return video


def _detections(
    boxes: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    false_alarms: int,
    rng: np.random.Generator,
) -> sv.Detections:
    corner = rng.uniform((0, 0), (WIDTH, HEIGHT), (false_alarms, 2))
    alarms = np.concatenate((corner, corner + rng.uniform(20, 120, (false_alarms, 2))), axis=1)
    confidence = np.concatenate((scores, rng.uniform(0.1, 0.8, false_alarms)))
    order = rng.permutation(confidence.size)
    return sv.Detections(
        xyxy=np.concatenate((boxes, alarms))[order].astype(np.float32),
        confidence=confidence[order].astype(np.float32),
        class_id=np.zeros(order.size, np.int64),
    )
