"""Measures a checkpoint on what `tiny_person.py` held out: the numbers of the model card.

    python runs/measure_tiny_person.py --data ../shared/data --model tiny-person

Detection: COCO AP on the val stills, each a stream of its own. Tracking: the end of PETS, by TrackEval.
Needs the extra `eval`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import trackeval
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import svit
from person_clips import FIRST_HELD_OUT
from svit.video import MotWriter, open_source


def main() -> None:
    """Prints both tables as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with tracking/ and detection/")
    parser.add_argument("--model", required=True, help="checkpoint, or the name of bundled weights")
    options = parser.parse_args()
    model = svit.load(options.model)
    print(json.dumps({"stills": detection(model, options.data / "detection/people_stills")}))
    print(json.dumps({"PETS": tracking(model, options.data / "tracking/train/PETS09-S2L1-A")}))


def detection(model: svit.VideoModel, folder: Path) -> dict[str, float]:
    """AP, AP50, AP75 and AP50 of large people (96 pixels squared and more), in per cent."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "val.json"))
        found = truth.loadRes(
            [row for image in truth.dataset["images"] for row in _rows(model, folder, image)]
        )
        scorer = COCOeval(truth, found, "bbox")
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    large = scorer.eval["precision"][0, :, :, 3, -1]
    names = dict(zip(("AP", "AP50", "AP75"), scorer.stats[:3].tolist(), strict=True))
    return {name: round(100 * value, 1) for name, value in (names | {"AP50 large": large.mean()}).items()}


def _rows(model: svit.VideoModel, folder: Path, image: dict) -> list[dict]:
    picture = np.asarray(Image.open(folder / "images" / image["file_name"]).convert("RGB"))
    found = svit.Stream(model).step(picture).detections
    return [
        {"image_id": image["id"], "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for (x1, y1, x2, y2), score in zip(found.xyxy.tolist(), found.confidence.tolist(), strict=True)
    ]


def tracking(model: svit.VideoModel, folder: Path) -> dict[str, float]:
    """HOTA, DetA, AssA, MOTA, IDF1 in per cent, and counts of errors, of the frames held out."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for part in ("gt/PETS/gt", "trackers/svit/data"):
            (root / part).mkdir(parents=True)
        frames = _write_truth(folder, root / "gt/PETS/gt/gt.txt")
        _write_tracks(model, folder / "video.mp4", root / "trackers/svit/data/PETS.txt")
        with contextlib.redirect_stdout(io.StringIO()):
            return _score(root, frames)


def _write_truth(folder: Path, path: Path) -> int:
    rows = np.loadtxt(folder / "gt/gt.txt", delimiter=",")
    rows = rows[rows[:, 0] >= FIRST_HELD_OUT]
    rows[:, 0] -= FIRST_HELD_OUT - 1
    np.savetxt(path, rows, fmt="%g", delimiter=",")
    return int(rows[:, 0].max())


def _write_tracks(model: svit.VideoModel, video: Path, path: Path) -> None:
    stream = svit.Stream(model)
    with open_source(video) as source, MotWriter(path) as writer:
        for frame in source:
            if frame.index + 1 >= FIRST_HELD_OUT:
                writer.write(stream.step(frame.image, frame.timestamp))


def _score(root: Path, frames: int) -> dict[str, float]:
    settings = {
        "GT_FOLDER": str(root / "gt"),
        "TRACKERS_FOLDER": str(root / "trackers"),
        "SEQ_INFO": {"PETS": frames},
        "SKIP_SPLIT_FOL": True,
    }
    quiet = {"PRINT_CONFIG": False, "PRINT_RESULTS": False, "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False}
    evaluator = trackeval.Evaluator({**quiet, "PLOT_CURVES": False, "BREAK_ON_ERROR": True})
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(), trackeval.metrics.Identity()]
    results, _ = evaluator.evaluate([trackeval.datasets.MotChallenge2DBox({**settings, **quiet})], metrics)
    scores = results["MotChallenge2DBox"]["svit"]["PETS"]["pedestrian"]
    rates = {name: scores["HOTA"][name].mean() for name in ("HOTA", "DetA", "AssA")}
    rates |= {"MOTA": scores["CLEAR"]["MOTA"], "IDF1": scores["Identity"]["IDF1"]}
    counts = {"FP": "CLR_FP", "FN": "CLR_FN", "IDs": "IDSW", "frames": "CLR_Frames"}
    return {name: round(100 * float(value), 1) for name, value in rates.items()} | {
        name: int(scores["CLEAR"][key]) for name, key in counts.items()
    }


if __name__ == "__main__":
    main()
