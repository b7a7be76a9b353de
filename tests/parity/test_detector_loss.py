"""Assignment and losses against the official code's, from its raw train-mode maps."""

from typing import Any

import pytest
import torch
from tests.parity.golden import load_manifest, load_tensors
from torch import Tensor

from svit.model.detector import HeadMap
from svit.model.detector_loss import assign, detection_loss, flatten_predictions
from svit.model.detector_targets import pad_targets

CASES = ["train_c1", "train_c1_l1", "train_c3_l1"]


def stored_maps(tensors: dict[str, Tensor], frame: int) -> list[HeadMap]:
    names = {"cls": "cls", "box": "reg", "obj": "obj"}
    return [{k: tensors[f"frame{frame}.{v}{i}"][:, None] for k, v in names.items()} for i in range(3)]


def stored_targets(tensors: dict[str, Tensor], frame: int, streams: int) -> list[list[tuple[Tensor, Tensor]]]:
    prefixes = [f"frame{frame}.img{b}." for b in range(streams)]
    return [[(tensors[p + "gt_boxes"], tensors[p + "gt_labels"])] for p in prefixes]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Tensor]]:
    manifest = load_manifest("detector")["cases"][request.param]
    return manifest, load_tensors(f"detector/{manifest['file']}")


def test_assignment_is_the_official_one(case: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    manifest, tensors = case
    streams = manifest["shape_TBCHW"][1]
    for frame in range(len(manifest["losses_per_frame"])):
        maps, targets = stored_maps(tensors, frame), stored_targets(tensors, frame, streams)
        found = assign(flatten_predictions(maps), pad_targets(targets, maps))
        for b in range(streams):
            mine, prefix = found.image == b, f"frame{frame}.img{b}."
            assert found.prior[mine].tolist() == tensors[prefix + "pos_prior"].tolist()
            assert found.box[mine].tolist() == tensors[prefix + "pos_gt"].tolist()
            torch.testing.assert_close(found.iou[mine], tensors[prefix + "pos_iou"], atol=1e-5, rtol=0)


def test_losses_are_the_official_ones(case: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    manifest, tensors = case
    names = {"cls": "loss_cls", "box": "loss_bbox", "obj": "loss_obj", "l1": "loss_l1", "total": "loss"}
    for frame, official in enumerate(manifest["losses_per_frame"]):
        maps = stored_maps(tensors, frame)
        targets = stored_targets(tensors, frame, manifest["shape_TBCHW"][1])
        losses = detection_loss(maps, targets, use_l1=manifest["use_l1"])
        assert ("l1" in losses) == manifest["use_l1"]
        for ours, theirs in names.items():
            if ours in losses:
                assert losses[ours].item() == pytest.approx(official[theirs], rel=2e-4), ours
