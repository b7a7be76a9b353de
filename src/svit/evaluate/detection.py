"""How good detections are: average precision, the VOC way and the COCO way.

Both rank all boxes of all frames by score and take the area under the curve of precision over recall. They
differ in three points:

                            VOC (`voc_map`)                     COCO (`coco_ap`)
    a box belongs to        the true box it overlaps most       the free true box it overlaps most
    overlap with ignored    intersection over union             intersection over the detection's area
    boxes of a frame        all                                 the best 100
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svit.errors import DataError, SvitError

Boxes = npt.NDArray[np.float64]
"""(N, 4): left, top, right, bottom in pixels."""

IOU_THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
"""Of the VOC-style mAP, as in the official S-ViT evaluation."""

COCO_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""The first six numbers of a COCO summary, in its order."""

PERSON = 1


@dataclass(frozen=True, slots=True, eq=False)
class FrameBoxes:
    """What is in one frame and what was found there; boxes are left, top, right, bottom in pixels.

    Attributes:
        truth: (N, 4) boxes to be found.
        ignore: (M, 4) boxes that need not be found; a detection on one counts neither as right nor as wrong.
        boxes: (K, 4) detections.
        scores: (K,) their confidences, in any range; only the order matters.
    """

    truth: npt.NDArray[Any]
    ignore: npt.NDArray[Any]
    boxes: npt.NDArray[Any]
    scores: npt.NDArray[Any]


def score_detections(frames: Iterable[FrameBoxes]) -> dict[str, float]:
    """The detection numbers of an evaluation: of a sequence, or of all of them together.

    Args:
        frames: every frame, those without boxes too. A detection that is no box (not finite, or without a
            positive width and height) is a false alarm; one whose score is not finite is ranked last.

    Returns:
        In per cent: mAP@0.50, mAP@0.60, mAP@0.70, mAP@0.80 (`voc_map`), AP, AP50, AP75, APs, APm, APl
        (`coco_ap`). NaN where nothing was to be found (of that size), so that no number would mean anything.

    Raises:
        DataError: arrays of a wrong shape, or a true box that is not finite.
        SvitError: faster-coco-eval is not installed.
    """
    every = list(frames)
    return voc_map(every) | coco_ap(every)


def voc_map(frames: Sequence[FrameBoxes], thresholds: Sequence[float] = IOU_THRESHOLDS) -> dict[str, float]:
    """Average precision at fixed overlaps, the area under the monotone precision-recall curve.

    Source: PASCAL VOC 2010 and later (Everingham et al. 2015), with the rules of the official S-ViT scorer:
    the true box that a detection overlaps most is the only one it can be; the first to come takes it.

    Args:
        frames: see `score_detections`.
        thresholds: smallest intersection over union at which a detection is right, 0 to 1.

    Returns:
        "mAP@0.50": per cent, and so on for each threshold; NaN where there is nothing to be found.

    Raises:
        DataError: see `score_detections`.
    """
    checked = [_checked(number, frame) for number, frame in enumerate(frames)]
    expected = sum(len(frame.truth) for frame in checked)
    overlap, truth = _ranked(checked)
    return {
        f"mAP@{threshold:.2f}": 100 * _average_precision(overlap >= threshold, truth, expected)
        for threshold in thresholds
    }


def _ranked(frames: Sequence[FrameBoxes]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """All detections by falling score: (K,) overlaps with their true boxes, and the numbers of these.

    The numbers count on over the frames; -1 is a box to be ignored.
    """
    scores, overlaps, truths, counted = [np.empty(0)], [np.empty(0)], [np.empty(0, np.int64)], 0
    for frame in frames:
        overlap = _iou(frame.boxes, np.concatenate((frame.truth, frame.ignore)))
        nearest = overlap.argmax(axis=1) if overlap.shape[1] else np.zeros(len(overlap), np.int64)
        scores.append(frame.scores)
        overlaps.append(overlap.max(axis=1, initial=0))
        truths.append(np.where(nearest < len(frame.truth), nearest + counted, -1))
        counted += len(frame.truth)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return np.concatenate(overlaps)[order], np.concatenate(truths)[order]


def _average_precision(near: npt.NDArray[np.bool_], truth: npt.NDArray[np.int64], expected: int) -> float:
    """The area under the curve, 0 to 1.

    Args:
        near: (K,) which detections overlap their true box enough, by falling score.
        truth: (K,) the numbers of the true boxes; -1 is one to be ignored.
        expected: how many true boxes there are.
    """
    if not expected:
        return float("nan")
    ignored = near & (truth < 0)
    candidates = np.flatnonzero(near & ~ignored)
    _, first = np.unique(truth[candidates], return_index=True)
    right = np.zeros(near.size, bool)
    right[candidates[first]] = True
    hits = np.cumsum(right)
    # A detection on an ignored box before the first counted one would divide 0 by 0.
    precision = hits / np.maximum(np.cumsum(~ignored), 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[right].sum() / expected)


def coco_ap(frames: Sequence[FrameBoxes]) -> dict[str, float]:
    """COCO's average precision for one class, by faster-coco-eval; ignored boxes are its crowds.

    Source: COCO detection challenge (Lin et al. 2014): 101 recall levels, the 100 best boxes of each frame.

    Returns:
        Per cent: AP (mean over intersections over union 0.50, 0.55 ... 0.95), AP50, AP75, and AP of small
        (area below 32 x 32 pixels), medium and large (above 96 x 96) boxes: APs, APm, APl. NaN where there is
        nothing of that size to be found.

    Raises:
        DataError: see `score_detections`.
        SvitError: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]
    except ImportError:
        raise SvitError('COCO AP needs faster-coco-eval: pip install "streaming-video-model[eval]"') from None
    checked = [_checked(number, frame) for number, frame in enumerate(frames)]
    if not any(len(frame.truth) for frame in checked):
        return dict.fromkeys(COCO_NAMES, float("nan"))
    truth, found = _coco_records(checked)
    scorer = COCOeval_faster(COCO(truth), COCO(found), "bbox", print_function=_say_nothing)
    scorer.run()
    return {
        name: 100 * float(value) if value >= 0 else float("nan")  # it says -1 where there is no truth
        for name, value in zip(COCO_NAMES, scorer.stats, strict=False)
    }


def _say_nothing(*_: object) -> None:
    pass


def _coco_records(frames: Sequence[FrameBoxes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Truth and detections as COCO files hold them."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, frame in enumerate(frames):
        truth += [_record(image, box, iscrowd=0) for box in _sized(frame.truth)]
        truth += [_record(image, box, iscrowd=1) for box in _sized(frame.ignore)]
        rows = zip(_sized(frame.boxes), frame.scores.tolist(), strict=True)
        found += [_record(image, box, iscrowd=0, score=score) for box, score in rows]
    common = {"images": [{"id": image} for image in range(len(frames))], "categories": [{"id": PERSON}]}
    for records in (truth, found):
        for number, record in enumerate(records, start=1):  # to COCO's tools 0 means no match
            record["id"] = number
    return {**common, "annotations": truth}, {**common, "annotations": found}


def _record(image: int, box: list[float], **more: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": PERSON, "bbox": box, "area": box[2] * box[3], **more}


def _sized(boxes: Boxes) -> list[list[float]]:
    """Left, top, width, height of each box."""
    rows: list[list[float]] = np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2])).tolist()
    return rows


def _iou(first: Boxes, second: Boxes) -> Boxes:
    """Intersection over union (N, M) of every pair."""
    a, b = first[:, None], second[None]
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    overlap = sides.prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0))


def _checked(number: int, frame: FrameBoxes) -> FrameBoxes:
    """The frame in double precision; `number` is for the message."""
    where = f"frame {number} (from 0)"
    truth, ignore = (_boxes(boxes, where) for boxes in (frame.truth, frame.ignore))
    if not (np.isfinite(truth).all() and np.isfinite(ignore).all()):
        raise DataError(f"{where}: a box of the ground truth is NaN or infinite; mend the annotation")
    boxes, scores = _boxes(frame.boxes, where), np.asarray(frame.scores, np.float64).reshape(-1)
    if len(boxes) != scores.size:
        raise DataError(f"{where}: {len(boxes)} detections but {scores.size} scores; each box needs one")
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(boxes).all(axis=1) & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    # An empty box overlaps nothing: it stays what it is, a false alarm, but does no harm to the sums.
    boxes = np.where(valid[:, None], boxes, 0)
    return FrameBoxes(truth, ignore, boxes, np.where(np.isfinite(scores), scores, -np.inf))


def _boxes(values: npt.ArrayLike, where: str) -> Boxes:
    boxes = np.asarray(values, np.float64)
    if boxes.size == 0:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"{where}: boxes have shape {boxes.shape}, expected (N, 4): x1, y1, x2, y2")
    return boxes
