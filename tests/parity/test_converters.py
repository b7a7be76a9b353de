"""Prepared data sets against the official converters' output: the same JSON, numbers equal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.parity.golden import golden_path, load_json

from svit.data.prepare.crowdhuman import prepare_crowdhuman
from svit.data.prepare.mot import MotOptions, prepare_mot

SUBSETS = ("train", "test", "half-train", "half-val")


def expected(name: str) -> dict:
    return load_json(f"converters/expected/{name}")


@pytest.fixture(scope="module")
def mot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small MOT17, prepared: its gt_half files go into the copy."""
    root = tmp_path_factory.mktemp("mot") / "MOT17"
    shutil.copytree(golden_path("converters/input/MOT17"), root)
    prepare_mot(root, root / "annotations", MotOptions(split_train=True, convert_det=True))
    prepare_mot(root, root / "annotations", MotOptions(split_train=True, convert_det=True, det_format="npz"))
    return root


@pytest.mark.parametrize("subset", SUBSETS)
def test_mot_annotations_are_the_official_ones(mot: Path, subset: str) -> None:
    ours = json.loads((mot / "annotations" / f"{subset}_cocoformat.json").read_text())
    assert ours == expected(f"MOT17/{subset}_cocoformat.json")


@pytest.mark.parametrize("subset", SUBSETS)
def test_mot_detections_are_the_official_ones(mot: Path, subset: str) -> None:
    official = expected(f"MOT17/{subset}_detections.json")
    assert json.loads((mot / "annotations" / f"{subset}_detections.json").read_text()) == official
    with np.load(mot / "annotations" / f"{subset}_detections.npz", allow_pickle=False) as arrays:
        assert {name: [arrays[name].tolist()] for name in arrays} == official["det_bboxes"]


def test_halves_of_the_ground_truth_are_the_official_files(mot: Path) -> None:
    official = golden_path("converters/expected/MOT17/gt_half")
    files = sorted(official.glob("*/gt_half-*.txt"))
    assert len(files) == 8
    for path in files:
        ours = mot / "train" / path.parent.name / "gt" / path.name
        assert ours.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("split", ["train", "val"])
def test_crowdhuman_annotations_are_the_official_ones(tmp_path: Path, split: str) -> None:
    prepare_crowdhuman(golden_path("converters/input/crowdhuman"), tmp_path)
    ours = json.loads((tmp_path / f"crowdhuman_{split}.json").read_text())
    assert ours == expected(f"crowdhuman/crowdhuman_{split}.json")
