"""TrackEval itself, in this process, and sequences made up to be hard for a scorer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

Rows = npt.NDArray[np.float64]

OURS = {
    "CLEAR": {"CLR_TP": "TP", "CLR_FN": "FN", "CLR_FP": "FP", "IDSW": "IDs"},
    "Count": {"IDs": "Tracks"},
}
"""Names of TrackEval that are other names here."""
INPUT = {"CLR_Frames", "FP_per_frame", "MOTP_sum", "MTR", "PTR", "MLR", "Frames"}
"""Numbers of TrackEval that are no scores, or counts divided by the number of people or frames."""
WITH_CURVE = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr", "OWTA")
COUNTS = {"CLR_TP", "CLR_FN", "CLR_FP", "IDSW", "MT", "PT", "ML", "Frag", "IDTP", "IDFN", "IDFP"}


def write_rows(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(f"{x:.15g}" for x in row) + "\n" for row in rows))


def trackeval_scores(
    folder: Path, pairs: Mapping[str, tuple[Rows, Rows]], frames: int, benchmark: str = "MOT17"
) -> dict[str, dict[str, dict]]:
    """{sequence or "COMBINED": {"HOTA" | "CLEAR" | "Identity" | "Count": numbers}} of TrackEval."""
    trackeval = pytest.importorskip("trackeval", reason="the oracle: pip install trackeval")
    for name, (truth, results) in pairs.items():
        write_rows(folder / "gt" / name / "gt" / "gt.txt", truth)
        write_rows(folder / "trackers" / "t" / f"{name}.txt", results)
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(folder / "gt"),
            "TRACKERS_FOLDER": str(folder / "trackers"),
            "TRACKERS_TO_EVAL": ["t"],
            "TRACKER_SUB_FOLDER": "",
            "BENCHMARK": benchmark,
            "SKIP_SPLIT_FOL": True,
            "SEQ_INFO": dict.fromkeys(pairs, frames),
            "PRINT_CONFIG": False,
        }
    )
    silent = {"PRINT_CONFIG": False, "THRESHOLD": 0.5}
    metrics = {
        "HOTA": trackeval.metrics.HOTA(),
        "CLEAR": trackeval.metrics.CLEAR(silent),
        "Identity": trackeval.metrics.Identity(silent),
        "Count": trackeval.metrics.Count(),
    }
    scores: dict[str, dict[str, dict]] = {}
    for name in pairs:
        data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("t", name), "pedestrian")
        scores[name] = {key: metric.eval_sequence(data) for key, metric in metrics.items()}
    scores["COMBINED"] = {
        key: metric.combine_sequences({name: scores[name][key] for name in pairs})
        for key, metric in metrics.items()
    }
    return scores


def made_up(seed: int, frames: int = 25, objects: int = 9, grid: float = 1.0) -> tuple[Rows, Rows]:
    """Ground truth with classes and zero marks, and results with every kind of mistake.

    Boxes lie on a grid, so that many overlaps are equal; some results are there twice; frames are empty on
    one side or both; ids vanish, come back, and change.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.choice([1, 1, 1, 1, 2, 3, 6, 7, 8, 12, 13], objects)
    place = rng.uniform(0, 60, (objects, 2))
    size = rng.uniform(12, 30, (objects, 2))
    truth, results = [], []
    track = np.arange(objects)
    for frame in range(1, frames + 1):
        place += rng.normal(0, 3, place.shape)
        boxes = np.round(np.concatenate((place, size), axis=1) / grid) * grid
        if rng.random() < 0.3:
            track[rng.integers(objects)] = rng.integers(3 * objects)
        if rng.random() < 0.9:
            there = rng.random(objects) < 0.8
            marks = rng.random(objects) < 0.85
            truth += [[frame, i, *boxes[i], marks[i], kinds[i], 1] for i in np.flatnonzero(there)]
        if rng.random() < 0.9:
            seen = boxes + np.round(rng.normal(0, 2, boxes.shape) / grid) * grid * rng.integers(0, 2)
            found = {int(track[i]): seen[i] for i in np.flatnonzero(rng.random(objects) < 0.8)}
            found |= {100 + i: seen[i] for i in np.flatnonzero(rng.random(objects) < 0.15)}
            found |= {200 + i: rng.integers(0, 80, 4) for i in range(rng.integers(3))}
            results += [[frame, key, *found[key], 1, -1, -1, -1] for key in rng.permutation(list(found))]
    return np.array(truth).reshape(-1, 9), np.array(results).reshape(-1, 10)


def assert_equal(ours: Mapping[str, float], curves: Mapping[str, Rows], theirs: Mapping[str, dict]) -> None:
    """Counts are the same, rates within 1e-9 of a fraction."""
    for family, values in theirs.items():
        for name, value in values.items():
            if name in INPUT or "(0)" in name or name.startswith("HOTA_"):
                continue
            key = OURS.get(family, {}).get(name, name)
            if name in WITH_CURVE:
                np.testing.assert_allclose(curves[key] / 100, value, rtol=0, atol=1e-9, err_msg=key)
                np.testing.assert_allclose(ours[key] / 100, np.mean(value), rtol=0, atol=1e-9, err_msg=key)
            elif family == "Count" or name in COUNTS:
                assert ours[key] == value, key
            else:
                assert ours[key] / 100 == pytest.approx(value, rel=0, abs=1e-9), key
