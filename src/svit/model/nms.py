"""Non-maximum suppression without a loop over boxes, exactly equal to the greedy one."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 512
_KEPT_CHUNK = 4096


def nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float = 0.7) -> Tensor:
    """Class-aware non-maximum suppression.

    A box is dropped if a kept box of the same label with a higher score (on a tie: with a lower index)
    overlaps it with an IoU strictly above the threshold. Boxes are visited in blocks of descending score:
    each block is first tested against what earlier blocks kept, then settled inside itself, so memory
    stays bounded by a block times a chunk of kept boxes.

    Args:
        boxes: (N, 4) xyxy, any unit.
        scores: (N,).
        labels: (N,) integers; boxes of different labels never suppress each other.
        iou_threshold: in 0..1.

    Returns:
        Indices of the kept boxes in descending score, (M,) int64.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, labels = boxes[order].float(), labels[order]
    kept = order.new_empty(0)
    for start in range(0, len(order), _BLOCK):
        left = torch.arange(start, min(start + _BLOCK, len(order)), device=order.device)
        for kept_start in range(0, len(kept), _KEPT_CHUNK):
            chunk = kept[kept_start : kept_start + _KEPT_CHUNK]
            hit = _overlap(boxes[chunk], labels[chunk], boxes[left], labels[left], iou_threshold)
            left = left[~hit.any(dim=0)]
        kept = torch.cat((kept, left[_settle(boxes[left], labels[left], iou_threshold)]))
    return order[kept]


def _settle(boxes: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Which of the boxes, sorted by descending score, greedy suppression keeps: (N,) bool.

    `keep[i] = no kept j < i overlaps i` has exactly one solution, the greedy one. Iterating it settles at
    least one more leading box each time, in practice as many rounds as the longest chain of overlaps.
    """
    overlap = _overlap(boxes, labels, boxes, labels, iou_threshold).triu(diagonal=1)
    suppresses = overlap.float()
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        settled = keep.float() @ suppresses == 0
        if torch.equal(settled, keep):
            return keep
        keep = settled


def _overlap(a: Tensor, a_labels: Tensor, b: Tensor, b_labels: Tensor, iou_threshold: float) -> Tensor:
    """(A, B) bool: same label and IoU above the threshold. Two boxes without area never overlap."""
    inter = (torch.minimum(a[:, None, 2], b[:, 2]) - torch.maximum(a[:, None, 0], b[:, 0])).clamp_(min=0)
    inter *= (torch.minimum(a[:, None, 3], b[:, 3]) - torch.maximum(a[:, None, 1], b[:, 1])).clamp_(min=0)
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    iou = inter / (area_a[:, None] + area_b - inter)
    return (iou > iou_threshold) & (a_labels[:, None] == b_labels)
