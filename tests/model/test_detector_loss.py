"""Assignment against a plain loop, and the promises of the losses."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from svit.errors import UsageError
from svit.model.detector import STRIDES, HeadMap, decode, prior_grid
from svit.model.detector_loss import assign, detection_loss, flatten_predictions
from svit.model.detector_targets import Target, pad_targets

HEIGHT, WIDTH = 96, 128


def random_maps(streams: int, frames: int, classes: int, seed: int = 0) -> list[HeadMap]:
    """Maps with box sizes of a few strides, so that predictions overlap the targets by chance."""
    random = torch.Generator().manual_seed(seed)

    def normal(channels: int, stride: int) -> Tensor:
        return torch.randn(streams, frames, channels, HEIGHT // stride, WIDTH // stride, generator=random)

    shift = torch.tensor([0.5, 0.5, 0.8, 0.8])[:, None, None]
    return [
        {"cls": normal(classes, s), "box": normal(4, s) * 0.4 + shift, "obj": normal(1, s)} for s in STRIDES
    ]


def random_target(count: int, classes: int, seed: int) -> Target:
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=random) * torch.tensor([100.0, 60.0])
    size = torch.rand(count, 2, generator=random) * 50 + 4
    return torch.cat((corner, corner + size), 1), torch.randint(classes, (count,), generator=random)


def random_targets(streams: int, frames: int, classes: int) -> list[list[Target]]:
    """Crowded and empty frames, side by side."""
    counts = itertools.cycle([7, 0, 1, 15])
    return [[random_target(next(counts), classes, 10 * b + t) for t in range(frames)] for b in range(streams)]


def iou(a: Tensor, b: Tensor) -> float:
    inter = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
    return float(inter / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter))


def within(x: float, y: float, box: list[float], radius: float) -> tuple[bool, bool]:
    """Whether a point is inside a box, and within the radius of its centre in both directions."""
    x1, y1, x2, y2 = box
    inside = x1 < x < x2 and y1 < y < y2
    return inside, abs(x - (x1 + x2) / 2) < radius and abs(y - (y1 + y2) / 2) < radius


def plain_assignment(maps: list[HeadMap], target: Target, b: int, t: int) -> dict[int, int]:
    """SimOTA of one frame, box by box and prior by prior: prior -> box."""
    boxes, scores = (x[b, t] for x in decode(maps))
    targets, labels = target
    places = [
        [within(x + s / 2, y + s / 2, box, 2.5 * s) for box in targets.tolist()]
        for x, y, s in prior_grid(maps).tolist()
    ]
    candidates = [p for p, place in enumerate(places) if any(inside or near for inside, near in place)]
    ious = {(p, g): iou(boxes[p], targets[g]) for p in candidates for g in range(len(targets))}
    cost = {}
    for p, g in ious:
        onehot = F.one_hot(labels[g], scores.shape[-1]).float()
        classification = float(F.binary_cross_entropy(scores[p].sqrt(), onehot, reduction="sum"))
        outside = 0 if all(places[p][g]) else 1e5
        cost[p, g] = classification - 3 * math.log(ious[p, g] + 1e-7) + outside
    wanted: dict[int, list[int]] = {}
    for g in range(len(targets)):
        k = max(int(sum(sorted((ious[p, g] for p in candidates), reverse=True)[:10])), 1)
        for p in sorted(candidates, key=lambda p: cost[p, g])[:k]:
            wanted.setdefault(p, []).append(g)
    everyone = range(len(targets))
    return {p: gs[0] if len(gs) == 1 else min(everyone, key=lambda g: cost[p, g]) for p, gs in wanted.items()}


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_batched_assignment_equals_the_plain_loop(classes: int, seed: int) -> None:
    maps, targets = random_maps(2, 2, classes, seed), random_targets(2, 2, classes)
    found = assign(flatten_predictions(maps), pad_targets(targets, maps))
    assert len(found.image) > 20
    for b, t in itertools.product(range(2), range(2)):
        mine = found.image == 2 * b + t
        ours = dict(zip(found.prior[mine].tolist(), found.box[mine].tolist(), strict=True))
        assert ours == plain_assignment(maps, targets[b][t], b, t)
        for p, g, overlap in zip(found.prior[mine], found.box[mine], found.iou[mine], strict=True):
            expected = iou(decode(maps)[0][b, t, p], targets[b][t][0][g])
            assert float(overlap) == pytest.approx(expected, abs=1e-5)


def test_one_call_equals_the_frames_weighted_by_their_positives() -> None:
    maps, targets = random_maps(2, 2, 2), random_targets(2, 2, 2)
    whole = detection_loss(maps, targets, use_l1=True)
    sums = dict.fromkeys(("cls", "box", "obj", "l1", "total"), 0.0)
    positives = 0
    for b, t in itertools.product(range(2), range(2)):
        part = [{name: x[b : b + 1, t : t + 1] for name, x in level.items()} for level in maps]
        losses = detection_loss(part, [[targets[b][t]]], use_l1=True)
        positives += int(losses["positives"])
        for name in sums:
            sums[name] += float(losses[name]) * max(int(losses["positives"]), 1)
    assert int(whole["positives"]) == positives
    for name, value in sums.items():
        assert float(whole[name]) == pytest.approx(value / positives, rel=1e-4)


def perfect_maps(box: Tensor) -> list[HeadMap]:
    """Every prior predicts the same box, sure of class and object."""
    maps = random_maps(1, 1, 1)
    for level, stride in zip(maps, STRIDES, strict=True):
        height, width = level["obj"].shape[-2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        level["box"][0, 0, 0], level["box"][0, 0, 1] = centre[0] / stride - x, centre[1] / stride - y
        level["box"][0, 0, 2:] = (size / stride).log()[:, None, None]
        level["cls"].fill_(15.0)
        level["obj"].fill_(15.0)
    return maps


def test_a_perfect_prediction_costs_nothing_but_false_objects() -> None:
    box = torch.tensor([30.0, 20.0, 70.0, 80.0])
    losses = detection_loss(perfect_maps(box), [[(box[None], torch.tensor([0]))]], use_l1=True)
    assert int(losses["positives"]) == 10
    assert float(losses["box"]) == pytest.approx(0, abs=1e-4)
    assert float(losses["cls"]) == pytest.approx(0, abs=1e-4)
    assert float(losses["l1"]) == pytest.approx(0, abs=1e-4)
    assert float(losses["obj"]) > 10


def test_ignored_ground_has_no_objectness_loss_and_keeps_its_targets() -> None:
    box = torch.tensor([30.0, 20.0, 70.0, 80.0])
    maps, target = perfect_maps(box), [[(box[None], torch.tensor([0]))]]
    everything = torch.tensor([[-1.0, -1.0, WIDTH + 1.0, HEIGHT + 1.0]])
    plain, ignored = detection_loss(maps, target), detection_loss(maps, target, ignore=[[everything]])
    assert float(ignored["obj"]) == pytest.approx(0, abs=1e-4)
    assert int(ignored["positives"]) == int(plain["positives"])
    nothing = detection_loss(maps, target, ignore=[[torch.zeros(0, 4)]])
    assert float(nothing["obj"]) == pytest.approx(float(plain["obj"]))


def test_ignoring_is_per_frame() -> None:
    maps = random_maps(1, 2, 1)
    empty: Target = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    half = torch.tensor([[0.0, 0.0, WIDTH / 2, HEIGHT]])
    loss = detection_loss(maps, [[empty, empty]], ignore=[[half, torch.zeros(0, 4)]])["obj"]
    expected = 0.0
    for level, stride in zip(maps, STRIDES, strict=True):
        background = F.softplus(level["obj"][0, :, 0])
        expected += float(background[0, :, WIDTH // 2 // stride :].sum() + background[1].sum())
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_without_targets_only_objectness_has_a_gradient() -> None:
    maps = random_maps(2, 1, 2)
    for level in maps:
        for x in level.values():
            x.requires_grad_()
    empty: Target = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    losses = detection_loss(maps, [[empty], [empty]], use_l1=True)
    assert int(losses["positives"]) == 0
    assert [losses[name].item() for name in ("cls", "box", "l1")] == [0, 0, 0]
    losses["total"].backward()
    for level in maps:
        assert level["obj"].grad is not None
        assert level["box"].grad is not None
        assert bool((level["obj"].grad > 0).all())
        assert not bool(level["box"].grad.any())


def test_a_target_off_the_picture_has_no_candidate_and_is_left_out() -> None:
    target: Target = (torch.tensor([[900.0, 900.0, 910.0, 910.0]]), torch.tensor([0]))
    losses = detection_loss(random_maps(1, 1, 1), [[target]])
    assert int(losses["positives"]) == 0
    assert bool(losses["total"].isfinite())


def test_half_precision_maps_under_autocast_give_the_full_precision_loss() -> None:
    maps, targets = random_maps(2, 2, 2), random_targets(2, 2, 2)
    half = [{name: x.bfloat16() for name, x in level.items()} for level in maps]
    same = [{name: x.float() for name, x in level.items()} for level in half]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = detection_loss(half, targets)
    for name, value in detection_loss(same, targets).items():
        assert under_autocast[name].dtype == value.dtype
        assert torch.equal(under_autocast[name], value)


def test_gradient_steps_on_the_maps_find_the_targets() -> None:
    targets = [[random_target(3, 2, seed=4)]]
    maps = random_maps(1, 1, 2)
    leaves = [x.requires_grad_() for level in maps for x in level.values()]
    optimiser = torch.optim.Adam(leaves, lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        losses = detection_loss(maps, targets)
        losses["total"].backward()
        optimiser.step()
    boxes, scores = (x[0, 0].detach() for x in decode(maps))
    for box, label in zip(*targets[0][0], strict=True):
        overlaps = torch.tensor([iou(b, box) for b in boxes])
        assert float((overlaps * scores[:, label]).max()) > 0.7


BAD_BOXES = {
    "nan": [math.nan, 0.0, 5.0, 5.0],
    "infinite": [0.0, 0.0, math.inf, 5.0],
    "inverted": [9.0, 0.0, 5.0, 5.0],
    "no area": [5.0, 0.0, 5.0, 5.0],
}


@pytest.mark.parametrize("bad", BAD_BOXES.values(), ids=BAD_BOXES.keys())
@pytest.mark.parametrize("what", ["targets", "ignore"])
def test_bad_boxes_are_refused_with_their_place(bad: list[float], what: str) -> None:
    targets = random_targets(2, 3, 1)
    ignore = [[boxes.clone() for boxes, _ in stream] for stream in targets]
    broken = torch.tensor([[1.0, 1.0, 2.0, 2.0], bad])
    ignore[1][2] = broken
    if what == "targets":
        targets[1][2] = (broken, torch.tensor([0, 0]))
    with pytest.raises(UsageError, match=rf"{what} of stream 1, frame 2: box \(") as error:
        detection_loss(random_maps(2, 3, 1), targets, ignore=ignore)
    assert "\n" not in str(error.value)


def test_a_label_out_of_range_is_refused_with_its_place() -> None:
    targets = [[random_target(2, 1, 0)], [(torch.tensor([[0.0, 0.0, 9.0, 9.0]]), torch.tensor([3]))]]
    with pytest.raises(UsageError, match=r"stream 1, frame 0: label 3 is not in 0\.\.2"):
        detection_loss(random_maps(2, 1, 3), targets)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ((torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64)), r"shape \(2, 5\), expected \(G, 4\)"),
        ((torch.tensor([[0.0, 0.0, 9.0, 9.0]]), torch.zeros(2, dtype=torch.int64)), "1 boxes but labels"),
    ],
)
def test_targets_of_another_shape_are_refused(target: Target, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        detection_loss(random_maps(1, 1, 1), [[target]])


def test_targets_for_another_number_of_frames_are_refused() -> None:
    with pytest.raises(UsageError, match=r"targets hold \[1\] frames per stream, the maps 1 streams of 2"):
        detection_loss(random_maps(1, 2, 1), [[random_target(1, 1, 0)]])
