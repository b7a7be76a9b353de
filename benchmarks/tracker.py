"""Association speed: ms per frame of `svit.tracking.ByteTracker` beside `trackers.ByteTrackTracker`.

Both get the same simulated detections, frame by frame in turn, so that whatever else the machine does falls
on both alike. Processor time is counted: on a busy machine the wall clock punishes the slower one more, which
is interrupted more often. Printed are the medians over the frames after a warm-up, and their ratio, which is
the number to look at.

    make bench, or: pip install "streaming-video-model[bench]" && python benchmarks/tracker.py
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

warnings.filterwarnings("ignore", message=".*OpenCV.*")
import supervision as sv  # noqa: E402  (the filter has to come first)

from svit.tracking import ByteTracker  # noqa: E402

WIDTH, HEIGHT = 1920, 1080
WARM_UP = 20  # frames


def advice(missing: ImportError) -> str:
    """What to install: the package, or the system library that its OpenCV needs."""
    if "cannot open shared object" in str(missing):
        return (
            "OpenCV needs this system library: apt-get install libgl1, or your system's package of that name"
        )
    return 'install it with: pip install "streaming-video-model[bench]"'


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


def milliseconds(update: Callable[[sv.Detections], sv.Detections], detections: sv.Detections) -> float:
    """Return the processor time of one call."""
    start = time.process_time()
    update(detections)
    return 1000 * (time.process_time() - start)


def compare(objects: int, frames: int) -> tuple[float, float]:
    """Return the median milliseconds per frame of ours and of theirs."""
    try:
        from trackers import ByteTrackTracker
    except ImportError as missing:
        sys.exit(f"benchmark: {missing}; {advice(missing)}")

    ours, theirs = ByteTracker(high=0.6), ByteTrackTracker(high_conf_det_threshold=0.6)
    video = simulate(objects, WARM_UP + frames)
    times = np.array([(milliseconds(ours.update, seen), milliseconds(theirs.update, seen)) for seen in video])
    our_median, their_median = np.median(times[WARM_UP:], axis=0)
    return float(our_median), float(their_median)


def main() -> int:
    """Print a table with one row per number of objects."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, nargs="+", default=[20, 100, 400])
    parser.add_argument("--frames", type=int, default=200, help="timed frames per row (default 200)")
    options = parser.parse_args()
    print(f"association, ms of processor time per frame, median of {options.frames} frames")
    print(f"{'objects':>8}{'svit':>10}{'trackers':>10}{'ratio':>8}")
    for objects in options.objects:
        ours, theirs = compare(objects, options.frames)
        print(f"{objects:>8}{ours:>10.3f}{theirs:>10.3f}{theirs / ours:>7.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
