"""SimOTA assignment and the YOLOX losses, for a whole batch of frames at once.

Source: OTA (arXiv 2103.14259) in its simplified form, YOLOX (arXiv 2107.08430), with the S-ViT official
settings. Shape legend: B streams, T frames, N = B * T images, P priors, G boxes per image (padded),
V candidate priors per image (padded), K classes, M positives over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from svit.model.detector import STRIDES, HeadMap, decode_boxes, flatten_maps, prior_grid
from svit.model.detector_targets import PaddedTargets, Target, pad_boxes, pad_targets

_CENTRE_RADIUS = 2.5
_CANDIDATES_FOR_K = 10
_IOU_COST = 3.0
_OUTSIDE_COST = 1e5
_BOX_WEIGHT = 5.0


class Assignment(NamedTuple):
    """Which prior answers for which box; one row per positive, ordered by image, then by prior.

    Attributes:
        image: (M,) index of the image, stream-major (stream * T + frame).
        prior: (M,) index of the prior.
        box: (M,) index of the box in that image's targets.
        iou: (M,) IoU of the prior's predicted box with it; the class target.
    """

    image: Tensor
    prior: Tensor
    box: Tensor
    iou: Tensor


class Predictions(NamedTuple):
    """Flattened logits in fp32: classes (N, P, K), regression (N, P, 4), objectness (N, P), priors (P, 3)."""

    classes: Tensor
    regression: Tensor
    objectness: Tensor
    priors: Tensor


def detection_loss(
    maps: Sequence[HeadMap],
    targets: Sequence[Sequence[Target]],
    use_l1: bool = False,
    ignore: Sequence[Sequence[Tensor]] | None = None,
    strides: Sequence[float] = STRIDES,
) -> dict[str, Tensor]:
    """The detector's losses over all given frames, each divided by max(number of positives, 1).

    Computed in fp32 also under autocast. The official run normalises frame by frame: pass one frame (T = 1)
    at a time for the same numbers.

    Args:
        maps: one `HeadMap` per level, (B, T, k, h, w).
        targets: per stream and per frame, boxes (G, 4) xyxy in input pixels and labels (G,); G may be 0.
        use_l1: add the L1 loss on the box logits (the official run never does).
        ignore: per stream and per frame, boxes (I, 4) whose content is unknown: a prior with its cell's
            centre inside, unless it answers for a target, has no objectness loss. Ours; None is the
            official loss.
        strides: pixels per cell of each level.

    Returns:
        Scalars `cls`, `box` (weight 5 inside), `obj`, `l1` if asked for, `total` (their sum), and `positives`
        (a count without gradient).

    Raises:
        UsageError: targets that do not fit the maps, NaN, inverted or empty boxes, labels out of range.
    """
    with torch.autocast(maps[0]["obj"].device.type, enabled=False):
        predictions = flatten_predictions(maps, strides)
        padded = pad_targets(targets, maps)
        assignment = assign(predictions, padded)
        counted = None if ignore is None else _outside(ignore, predictions.priors, maps)
        return _losses(predictions, padded, assignment, use_l1, counted)


def flatten_predictions(maps: Sequence[HeadMap], strides: Sequence[float] = STRIDES) -> Predictions:
    """All levels and images of the maps in one row of priors, fp32."""
    flat = {name: flatten_maps(maps, name).flatten(0, 1) for name in ("cls", "box", "obj")}
    return Predictions(flat["cls"], flat["box"], flat["obj"].squeeze(-1), prior_grid(maps, strides))


def _losses(
    predictions: Predictions, targets: PaddedTargets, found: Assignment, use_l1: bool, counted: Tensor | None
) -> dict[str, Tensor]:
    """The scalars of `detection_loss`; `counted` (N, P) is False where objectness is not known."""
    positives = len(found.image)
    boxes, labels = targets.boxes[found.image, found.box], targets.labels[found.image, found.box]
    priors = predictions.priors[found.prior]
    regression = predictions.regression[found.image, found.prior]
    class_target = F.one_hot(labels, predictions.classes.shape[-1]) * found.iou[:, None]
    classes = predictions.classes[found.image, found.prior]
    losses = {
        "cls": F.binary_cross_entropy_with_logits(classes, class_target, reduction="sum"),
        "box": box_loss(decode_boxes(regression, priors), boxes).sum(),
        "obj": _objectness_loss(predictions.objectness, found, counted),
    }
    if use_l1:
        losses["l1"] = F.l1_loss(regression, _box_logits(boxes, priors), reduction="sum")
    losses = {name: loss / max(positives, 1) for name, loss in losses.items()}
    losses["total"] = torch.stack(list(losses.values())).sum()
    losses["positives"] = torch.tensor(positives, device=boxes.device)
    return losses


def box_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """5 (1 - IoU^2) of xyxy boxes (..., 4), pair by pair: (...)."""
    return _BOX_WEIGHT * (1 - _iou(predicted, wanted) ** 2)


def _objectness_loss(logits: Tensor, found: Assignment, counted: Tensor | None) -> Tensor:
    """Sum of the binary cross-entropy over all (N, P) priors that count."""
    target = torch.zeros_like(logits)
    target[found.image, found.prior] = 1
    weight = None if counted is None else (counted | (target > 0)).float()
    return F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")


@torch.no_grad()
def assign(predictions: Predictions, targets: PaddedTargets) -> Assignment:
    """SimOTA: each box takes as many of its cheapest candidates as its ten best IoUs add up to.

    Candidates are the priors (at their cell's centre) inside a box of the image or within 2.5 strides of
    one's centre. Cost = binary cross-entropy of sqrt(class * objectness score) against the box's class
    + 3 * -log(IoU + 1e-7) + 1e5 where the prior is not both inside and near. A prior wanted by several
    boxes goes to the cheapest of the image.
    """
    near, both = _geometry(predictions.priors, targets)
    candidates, usable = _gather_candidates(near)
    if candidates.numel() == 0:
        none = near.nonzero()[:, 0]
        return Assignment(none, none, none, predictions.objectness.new_empty(0))
    image = torch.arange(len(candidates), device=candidates.device)[:, None]
    boxes = decode_boxes(predictions.regression[image, candidates], predictions.priors[candidates])
    iou = _iou(targets.boxes[:, :, None], boxes[:, None])
    usable_pairs = targets.valid[:, :, None] & usable[:, None]
    iou.masked_fill_(~usable_pairs, 0.0)
    cost = _class_cost(predictions, targets.labels, image, candidates) - _IOU_COST * (iou + 1e-7).log()
    cost += ~both.gather(2, candidates[:, None].expand(-1, both.shape[1], -1)) * _OUTSIDE_COST
    cost.masked_fill_(~usable_pairs, torch.inf)
    matched = _match(cost, iou, usable_pairs)
    row, slot = matched.any(dim=1).nonzero(as_tuple=True)
    box = matched.transpose(1, 2)[row, slot].int().argmax(dim=-1)
    return Assignment(row, candidates[row, slot], box, iou[row, box, slot])


def _geometry(priors: Tensor, targets: PaddedTargets) -> tuple[Tensor, Tensor]:
    """Priors near anything (N, P), and both inside and near each box (N, G, P)."""
    x, y, radius = *_cell_centres(priors), priors[:, 2] * _CENTRE_RADIUS
    x1, y1, x2, y2 = targets.boxes[..., None].unbind(dim=2)
    inside = (x > x1) & (x < x2) & (y > y1) & (y < y2)
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    central = (x > cx - radius) & (x < cx + radius) & (y > cy - radius) & (y < cy + radius)
    near = ((inside | central) & targets.valid[..., None]).any(dim=1)
    return near, inside & central


def _cell_centres(priors: Tensor) -> tuple[Tensor, Tensor]:
    """Both coordinates (P,) of the cells' centres: assignment takes place there, decoding at the corners."""
    return priors[:, 0] + priors[:, 2] / 2, priors[:, 1] + priors[:, 2] / 2


def _gather_candidates(near: Tensor) -> tuple[Tensor, Tensor]:
    """Each image's candidates in prior order, padded (N, V), and which of them are real (N, V) bool."""
    counts = near.sum(dim=1)
    usable = torch.arange(int(counts.max()), device=near.device) < counts[:, None]
    candidates = torch.zeros_like(usable, dtype=torch.int64)
    candidates[usable] = near.nonzero()[:, 1]
    return candidates, usable


def _class_cost(predictions: Predictions, labels: Tensor, image: Tensor, candidates: Tensor) -> Tensor:
    """(N, G, V): binary cross-entropy against the box's class, summed over classes."""
    scores = predictions.classes[image, candidates].sigmoid()
    scores = (scores * predictions.objectness[image, candidates].sigmoid()[..., None]).sqrt().transpose(1, 2)
    # The clamp at -100 is that of binary_cross_entropy. Only the box's class differs from "all classes
    # absent", so the (N, G, V, K) tensor is never built.
    present, absent = -scores.log().clamp(min=-100), -(1 - scores).log().clamp(min=-100)
    index = labels[..., None].expand(-1, -1, candidates.shape[1])
    others = absent.sum(dim=1, keepdim=True) - absent.gather(1, index)
    return others + present.gather(1, index)


def _match(cost: Tensor, iou: Tensor, usable: Tensor) -> Tensor:
    """(N, G, V) bool: the candidates each box takes, every candidate taken by one box at most."""
    best = min(_CANDIDATES_FOR_K, cost.shape[2])
    wanted = iou.topk(best, dim=2).values.sum(dim=2).int().clamp(min=1)
    cheapest = cost.topk(best, dim=2, largest=False).indices
    taken = torch.arange(best, device=cost.device) < wanted[..., None]
    matched = torch.zeros_like(usable).scatter(2, cheapest, taken) & usable
    contested = matched.sum(dim=1, keepdim=True) > 1
    winner = torch.zeros_like(matched).scatter(1, cost.argmin(dim=1, keepdim=True), True)
    return torch.where(contested, winner, matched)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of xyxy boxes (..., 4), broadcast against each other; the union is at least 1e-6 square pixels."""
    ax1, ay1, ax2, ay2 = a.unbind(dim=-1)
    bx1, by1, bx2, by2 = b.unbind(dim=-1)
    width = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0)
    height = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0)
    inter = width * height
    areas = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)
    return inter / (areas - inter).clamp(min=1e-6)


def _box_logits(boxes: Tensor, priors: Tensor) -> Tensor:
    """The regression (M, 4) that would decode to the boxes (M, 4) at the priors (M, 3)."""
    corner, stride = priors[:, :2], priors[:, 2:]
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return torch.cat(((centre - corner) / stride, (size / stride + 1e-8).log()), dim=1)


def _outside(ignore: Sequence[Sequence[Tensor]], priors: Tensor, maps: Sequence[HeadMap]) -> Tensor:
    """(N, P) bool: cells whose centre lies in no ignore box."""
    # Padding with zeros is harmless: no centre lies strictly inside an empty box.
    x1, y1, x2, y2 = pad_boxes(ignore, maps, "ignore")[0][..., None].unbind(dim=2)
    x, y = _cell_centres(priors)
    return ~((x > x1) & (x < x2) & (y > y1) & (y < y2)).any(dim=1)
