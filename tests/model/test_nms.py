"""The batched suppression equals the plain greedy one, whatever the boxes."""

import pytest
import torch
from torch import Tensor

from svit.model.nms import nms


def greedy(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> list[int]:
    """The textbook loop: take the best box, drop what overlaps it, repeat."""
    left = scores.argsort(descending=True, stable=True).tolist()
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        dropped = (labels == labels[best]) & (iou(boxes[best], boxes) > iou_threshold)
        left = [i for i, drop in zip(left, dropped[left].tolist(), strict=True) if not drop]
    return kept


def iou(box: Tensor, boxes: Tensor) -> Tensor:
    inter = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(min=0).prod(1)
    return inter / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - inter)


def clustered(count: int, clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    """Boxes in dense groups, as a detector gives them, and their scores."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.rand(clusters, 2, generator=random) * 300
    which = torch.randint(clusters, (count,), generator=random)
    centre = centres[which] + torch.randn(count, 2, generator=random) * 4
    half = 15 + torch.rand(count, 2, generator=random) * 8
    return torch.cat((centre - half, centre + half), dim=1), torch.rand(count, generator=random)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou_threshold", [0.3, 0.7])
def test_dense_boxes_of_several_classes_equal_greedy(seed: int, iou_threshold: float) -> None:
    boxes, scores = clustered(150, clusters=4, seed=seed)
    labels = torch.arange(150) % 3
    kept = nms(boxes, scores, labels, iou_threshold).tolist()
    assert kept == greedy(boxes, scores, labels, iou_threshold)
    assert 0 < len(kept) < 150


def test_more_boxes_than_one_block_equal_greedy() -> None:
    boxes, scores = clustered(1300, clusters=60, seed=1)
    labels = torch.zeros(1300, dtype=torch.int64)
    assert nms(boxes, scores, labels, 0.7).tolist() == greedy(boxes, scores, labels, 0.7)


def test_thousands_of_kept_boxes_each_drop_their_copy() -> None:
    row, column = torch.meshgrid(torch.arange(70.0), torch.arange(70.0), indexing="ij")
    corner = torch.stack((column, row), dim=-1).flatten(0, 1) * 10
    boxes = torch.cat((corner, corner + 9), dim=1).repeat(2, 1)
    scores = torch.linspace(1, 0.1, len(boxes))
    kept = nms(boxes, scores, torch.zeros(len(boxes), dtype=torch.int64))
    assert kept.tolist() == list(range(4900))


def test_equal_scores_keep_the_lower_index() -> None:
    boxes, _ = clustered(120, clusters=3, seed=2)
    scores = torch.full((120,), 0.5)
    labels = torch.zeros(120, dtype=torch.int64)
    kept = nms(boxes, scores, labels, 0.5).tolist()
    assert kept == sorted(kept)
    assert kept == greedy(boxes, scores, labels, 0.5)


def test_a_long_chain_of_overlaps_is_settled_from_the_best_on() -> None:
    # Each box overlaps only its neighbours, so greedy keeps every second one.
    left = torch.arange(400.0)
    boxes = torch.stack((left * 2, torch.zeros(400), left * 2 + 10, torch.ones(400)), dim=1)
    scores = torch.linspace(1, 0.1, 400)
    kept = nms(boxes, scores, torch.zeros(400, dtype=torch.int64), 0.5)
    assert kept.tolist() == list(range(0, 400, 2))


def test_an_overlap_of_exactly_the_threshold_is_kept() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 4.0, 3.0]])
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64), 0.5)
    assert kept.tolist() == [0, 1]


def test_boxes_of_other_classes_never_suppress() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]).repeat(3, 1)
    assert nms(boxes, torch.tensor([0.5, 0.9, 0.7]), torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 2]


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_box(count: int) -> None:
    boxes, scores = clustered(count, clusters=1, seed=3)
    assert nms(boxes, scores, torch.zeros(count, dtype=torch.int64)).tolist() == list(range(count))


def test_boxes_without_area_are_left_alone() -> None:
    boxes = torch.tensor([[5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, 5.0]])
    assert nms(boxes, torch.tensor([0.5, 0.9]), torch.zeros(2, dtype=torch.int64)).tolist() == [1, 0]
