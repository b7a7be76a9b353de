"""VOC-style mAP against the official scorer's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from tests.parity.golden import load_arrays, load_json

from svit.evaluate.detection import FrameBoxes, voc_map


def frames(*, with_ignored: bool) -> list[FrameBoxes]:
    arrays = load_arrays("evaluation/map_case.npz")
    found, truth = arrays["dets"], arrays["gt"]
    every = []
    for number in range(load_json("evaluation/map_case.json")["n_frames"]):
        here = found[found[:, 0] == number]
        expected = truth[truth[:, 0] == number]
        ignored = expected[:, 5] == 1
        every.append(
            FrameBoxes(
                truth=expected[~ignored, 1:5],
                ignore=expected[ignored & with_ignored, 1:5],
                boxes=here[:, 1:5],
                scores=here[:, 5],
            )
        )
    return every


@pytest.mark.parametrize("with_ignored", [True, False])
def test_map_is_the_official_one(with_ignored: bool) -> None:
    case = load_json("evaluation/map_case.json")
    if with_ignored:
        expected = {key: value["mAP"] for key, value in case["with_labels_ignore"].items()}
    else:
        expected = case["without_labels_ignore_as_official_dataset"]
    ours = voc_map(frames(with_ignored=with_ignored))
    assert ours.keys() == {f"mAP@{key}" for key in expected}
    for key, value in expected.items():
        assert ours[f"mAP@{key}"] / 100 == pytest.approx(value, abs=case["tolerance"])


def test_the_case_has_ignored_boxes_and_frames_to_tell_apart() -> None:
    every = frames(with_ignored=True)
    assert np.sum([len(frame.truth) for frame in every]) == 285
    assert np.sum([len(frame.ignore) for frame in every]) == 35
