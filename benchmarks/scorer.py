"""Scoring time: `svit.evaluate.score_tracking` beside TrackEval, which it has the numbers of.

Scored are the 11 training sequences of MOT15 with a tracker's results, and the same repeated, as further
sequences, to the size of MOT17's training set. Both scorers read the same files in turn and compute HOTA,
CLEAR and identity scores; the numbers must agree. Processor time is counted: on a busy machine the wall clock
punishes the slower one more, which is interrupted more often.

    make bench, or: pip install "streaming-video-model[bench]"; python -m benchmarks.scorer --shared ../shared
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from svit.evaluate.mot import COMBINED, score_files, score_tracking
from svit.evaluate.mot_input import pair_up

GT, RESULTS = Path("data/gt_only/MOT15-train"), Path("data/results/MOT15-train_CEM-c2/data")
MOT17_BOXES = 112_297
"""Boxes that count in MOT17's training set."""
T = TypeVar("T")


def lay_out(shared: Path, folder: Path, boxes: int | None) -> int:
    """Copy sequences to FOLDER/gt and FOLDER/results, over and over, until about `boxes` count; None: once.

    Returns the number of boxes that count.
    """
    scores = score_files(shared / GT, shared / RESULTS)
    boxes = boxes or sum(int(score.metrics["GT_Dets"]) for score in scores)
    copied, copy = 0, 0
    while True:
        copy += 1
        for score in scores:
            if copied + score.metrics["GT_Dets"] / 2 > boxes:  # the nearest size, not the next larger one
                return copied
            name = f"{score.name}-copy{copy}"
            shutil.copytree(shared / GT / score.name, folder / "gt" / name)
            target = folder / "results" / "data" / f"{name}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(shared / RESULTS / f"{score.name}.txt", target)
            copied += int(score.metrics["GT_Dets"])
    return copied


def read_with_svit(folder: Path) -> int:
    """Read all files; return the number of rows."""
    pairs = pair_up(folder / "gt", folder / "results", "gt.txt")
    return sum(len(pair.read_truth().rows) + len(pair.read_results().rows) for pair in pairs)


def score_with_svit(folder: Path) -> dict[str, float]:
    """Read and score; return HOTA, MOTA, IDF1 of all sequences."""
    combined = score_tracking(folder / "gt", folder / "results")[COMBINED]
    return {name: combined[name] / 100 for name in ("HOTA", "MOTA", "IDF1")}


def open_with_trackeval(folder: Path) -> Any:
    """Return TrackEval's data set over the same files."""
    from trackeval.datasets import MotChallenge2DBox

    return MotChallenge2DBox(
        {
            "GT_FOLDER": str(folder / "gt"),
            "TRACKERS_FOLDER": str(folder),
            "TRACKERS_TO_EVAL": ["results"],
            "BENCHMARK": "MOT15",
            "SKIP_SPLIT_FOL": True,
            "SEQ_INFO": dict.fromkeys(sorted(each.name for each in (folder / "gt").iterdir())),
            "PRINT_CONFIG": False,
        }
    )


def read_with_trackeval(folder: Path) -> int:
    """Read all files; return the number of frames."""
    dataset = open_with_trackeval(folder)
    sides = [
        dataset._load_raw_file("results", name, is_gt) for name in dataset.seq_list for is_gt in (True, False)
    ]
    return sum(side["num_timesteps"] for side in sides)


def score_with_trackeval(folder: Path) -> dict[str, float]:
    """Read and score; return HOTA, MOTA, IDF1 of all sequences."""
    from trackeval.metrics import CLEAR, HOTA, Identity

    dataset = open_with_trackeval(folder)
    metrics = [HOTA(), CLEAR({"PRINT_CONFIG": False}), Identity({"PRINT_CONFIG": False})]
    scores: list[dict[str, Any]] = [{} for _ in metrics]
    for name in dataset.seq_list:
        data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("results", name), "pedestrian")
        for metric, of_metric in zip(metrics, scores, strict=True):
            of_metric[name] = metric.eval_sequence(data)
    hota, clear, identity = (
        metric.combine_sequences(each) for metric, each in zip(metrics, scores, strict=True)
    )
    return {"HOTA": float(hota["HOTA"].mean()), "MOTA": float(clear["MOTA"]), "IDF1": float(identity["IDF1"])}


def seconds(work: Callable[[Path], T], folder: Path) -> tuple[float, T]:
    """Return the processor time of one call, and its answer."""
    start = time.process_time()
    answer = work(folder)
    return time.process_time() - start, answer


def compare(folder: Path, rounds: int) -> list[tuple[str, float, float]]:
    """Return rows (what, median seconds of ours, of theirs): reading and scoring together, and each apart."""
    works = (score_with_svit, score_with_trackeval, read_with_svit, read_with_trackeval)
    times = []
    for _ in range(rounds):
        measured: list[tuple[float, Any]] = [seconds(work, folder) for work in works]
        times.append([spent for spent, _ in measured])
        ours, theirs = measured[0][1], measured[1][1]
        if any(abs(ours[name] - theirs[name]) > 1e-9 for name in theirs):
            sys.exit(f"benchmark: the scorers disagree: {ours} against {theirs}")
    both, their_both, read, their_read = (statistics.median(each) for each in zip(*times, strict=True))
    return [
        ("read and score", both, their_both),
        ("read alone", read, their_read),
        ("score alone", both - read, their_both - their_read),
    ]


def main() -> int:
    """Print a table with three rows per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shared", type=Path, default=Path("../shared"), help="folder with data/ (default ../shared)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured (default 3)")
    options = parser.parse_args()
    if not (options.shared / GT).is_dir():
        print(f"skipped: {options.shared / GT} is not there (--shared says where)", file=sys.stderr)
        return 0
    try:
        import trackeval  # noqa: F401
    except ImportError as missing:
        sys.exit(f'benchmark: {missing}; install it with: pip install "streaming-video-model[bench]"')
    print(f"scoring, seconds of processor time, median of {options.rounds} rounds, numbers equal to 1e-9")
    print(f"{'sequences':>9}{'boxes':>9}  {'':<16}{'svit':>9}{'TrackEval':>11}{'ratio':>8}")
    for boxes in (None, MOT17_BOXES):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            laid_out = lay_out(options.shared, folder, boxes)
            count = len(list((folder / "gt").iterdir()))
            for what, ours, theirs in compare(folder, options.rounds):
                print(f"{count:>9}{laid_out:>9}  {what:<16}{ours:>9.3f}{theirs:>11.3f}{theirs / ours:>7.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
