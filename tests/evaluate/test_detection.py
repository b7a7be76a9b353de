"""Average precision: by hand on small cases, and against pycocotools on random ones."""

from __future__ import annotations

import contextlib
import io
import math
import sys

import numpy as np
import pytest

from svit.errors import DataError, SvitError
from svit.evaluate.detection import COCO_NAMES, FrameBoxes, coco_ap, score_detections, voc_map

NAMES = ["mAP@0.50", "mAP@0.60", "mAP@0.70", "mAP@0.80", *COCO_NAMES]
PERSON = [100.0, 100.0, 140.0, 200.0]
OTHER = [300.0, 100.0, 340.0, 200.0]
NOWHERE = [600.0, 600.0, 640.0, 700.0]
NAN = float("nan")


def frame(truth=(), ignore=(), boxes=(), scores=None) -> FrameBoxes:
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else scores
    return FrameBoxes(*(np.array(values, dtype=float) for values in (truth, ignore, boxes, scores)))


def at_50(*frames: FrameBoxes) -> float:
    found = score_detections(frames)
    assert found["AP50"] == pytest.approx(found["mAP@0.50"], abs=1)  # 101 levels instead of an area
    return found["mAP@0.50"]


def test_perfect_detections_score_100_and_none_score_0():
    perfect = score_detections([frame([PERSON, OTHER], [], [PERSON, OTHER]), frame()])
    assert list(perfect) == NAMES
    assert {name: value for name, value in perfect.items() if not math.isnan(value)} == {
        name: pytest.approx(100) for name in NAMES if name not in ("APs", "APl")
    }
    assert at_50(frame([PERSON])) == 0


def test_false_alarms_cost_by_their_rank():
    assert at_50(frame([PERSON], [], [PERSON, NOWHERE])) == pytest.approx(100)
    assert at_50(frame([PERSON], [], [NOWHERE, PERSON])) == pytest.approx(50)
    assert at_50(frame([PERSON], [], [PERSON]), frame([], [], [NOWHERE], [0.95])) == pytest.approx(50)


def test_a_second_box_on_the_same_person_is_a_false_alarm():
    boxes = [PERSON, PERSON, OTHER]
    assert at_50(frame([PERSON, OTHER], [], boxes)) == pytest.approx(100 * (1 / 2 + 2 / 3 / 2))


def test_the_same_place_in_another_frame_is_another_person():
    assert at_50(frame([PERSON], [], [PERSON]), frame([PERSON])) == pytest.approx(50, abs=1)


def test_boxes_on_ignored_ones_count_neither_way():
    assert at_50(frame([OTHER], [PERSON], [PERSON, PERSON, OTHER])) == pytest.approx(100)
    assert at_50(frame([OTHER], [], [PERSON, PERSON, OTHER])) == pytest.approx(100 / 3)


def test_overlap_is_compared_with_the_threshold():
    narrow = [100.0, 100.0, 126.0, 200.0]  # 0.65 of the person
    found = voc_map([frame([PERSON], [], [narrow])], (0.6, 0.65, 0.7))
    assert found == pytest.approx({"mAP@0.60": 100, "mAP@0.65": 100, "mAP@0.70": 0})


def test_sizes_are_told_apart():
    small, large = [0.0, 0.0, 20.0, 30.0], [200.0, 200.0, 350.0, 500.0]
    found = coco_ap([frame([small, PERSON, large], [], [small, large])])
    assert [found[name] for name in ("APs", "APm", "APl")] == pytest.approx([100, 0, 100])


@pytest.mark.parametrize("frames", [[], [frame()], [frame([], [PERSON], [PERSON, NOWHERE])]])
def test_without_truth_there_is_no_number(frames):
    found = score_detections(frames)
    assert list(found) == NAMES
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    "broken", [[NAN] * 4, [0, 0, math.inf, 10], [140, 100, 100, 200], [100, 100, 100, 200], [NAN, 0, 9, 9]]
)
def test_a_detection_that_is_no_box_is_a_false_alarm(broken):
    assert at_50(frame([PERSON], [OTHER], [broken, PERSON])) == pytest.approx(50)


def test_a_score_that_is_not_finite_is_ranked_last():
    assert at_50(frame([PERSON], [], [NOWHERE, PERSON], [NAN, -3])) == pytest.approx(100)
    assert at_50(frame([PERSON], [], [NOWHERE, PERSON], [math.inf, 0.1])) == pytest.approx(100)


def test_wrong_arrays_are_said_in_one_line():
    wrong = [
        (r"frame 1 \(from 0\): 2 detections but 1 scores", frame([], [], [PERSON, OTHER], [0.5])),
        (r"frame 1 .*shape \(1, 3\), expected \(N, 4\)", frame([[1, 2, 3]])),
        (r"frame 1 .*ground truth is NaN", frame([[NAN, 0, 1, 1]])),
        (r"frame 1 .*ground truth is NaN", frame([], [[NAN, 0, 1, 1]])),
    ]
    for says, second in wrong:
        for score in (voc_map, coco_ap):
            with pytest.raises(DataError, match=says):
                score([frame([PERSON]), second])


def test_frames_may_come_one_by_one_and_nothing_is_printed_or_changed(capfd):
    frames = list(random_frames(5, seed=1))
    before = [array.copy() for each in frames for array in arrays(each)]
    assert score_detections(each for each in frames) == score_detections(frames)
    assert capfd.readouterr() == ("", "")
    for array, old in zip((array for each in frames for array in arrays(each)), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(SvitError, match=r'pip install "streaming-video-model\[eval\]"'):
        coco_ap([frame([PERSON])])
    assert voc_map([frame([PERSON], [], [PERSON])])["mAP@0.80"] == 100


def arrays(each: FrameBoxes) -> tuple[np.ndarray, ...]:
    return each.truth, each.ignore, each.boxes, each.scores


def random_frames(count: int, seed: int):
    """People of all sizes, detections near them, doubled or anywhere; some frames lack one or the other."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        corner = generator.uniform(0, 400, (12, 2))
        people = np.hstack((corner, corner + generator.uniform(8, 160, (12, 2))))
        near = people[generator.integers(0, 12, 30)] + generator.uniform(-4, 4, (30, 4))
        far = generator.uniform(0, 400, (8, 2))
        boxes = np.vstack((near, np.hstack((far, far + 50))))
        if number % 7 == 3:
            boxes = boxes[:0]
        truth = people[:0] if number % 5 == 2 else people[:9]
        yield FrameBoxes(truth, people[9:], boxes, generator.uniform(size=len(boxes)))


def pycocotools_scores(frames: list[FrameBoxes]) -> dict[str, float]:
    """The same numbers by COCO's own tools, from records that are built here anew."""
    coco, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    truth, found = [], []
    for image, each in enumerate(frames, start=1):
        for boxes, crowd in ((each.truth, 0), (each.ignore, 1)):
            for x1, y1, x2, y2 in boxes.tolist():
                truth.append({"id": len(truth) + 1, "image_id": image, "category_id": 1, "iscrowd": crowd,
                              "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})  # fmt: skip
        for (x1, y1, x2, y2), score in zip(each.boxes.tolist(), each.scores.tolist(), strict=True):
            found.append({"image_id": image, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1],
                          "score": score})  # fmt: skip
    images = [{"id": image} for image in range(1, len(frames) + 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        index = coco.COCO()
        index.dataset = {"images": images, "annotations": truth, "categories": [{"id": 1}]}
        index.createIndex()
        scorer = evaluation.COCOeval(index, index.loadRes(found), "bbox")
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    return dict(zip(COCO_NAMES, (100 * scorer.stats[:6]).tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_coco_ap_is_that_of_pycocotools(seed):
    frames = list(random_frames(20, seed))
    expected = pycocotools_scores(frames)
    assert coco_ap(frames) == pytest.approx(expected, abs=1e-9)
    assert 0 < min(expected.values()) < max(expected.values()) < 100


def test_coco_ap_takes_the_best_hundred_of_a_frame():
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 2000, (150, 2))
    people = np.hstack((corner, corner + 40))
    crowded = [FrameBoxes(people, people[:0], people, generator.uniform(size=150))]
    found = coco_ap(crowded)
    assert found["AP50"] == pytest.approx(pycocotools_scores(crowded)["AP50"], abs=1e-9)
    assert found["AP50"] < 70
    assert voc_map(crowded)["mAP@0.50"] == pytest.approx(100)
