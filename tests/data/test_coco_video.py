"""A COCO-video file read into columns says what the JSON says, whatever wrote it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.parity.golden import golden_path

from svit.data.bad_rows import BadRows
from svit.data.coco_video import CocoVideo, read_coco_video
from svit.errors import DataError

Document = dict[str, list[dict[str, Any]]]


def document() -> Document:
    """Two videos, the second's frames in the wrong order, and a picture of its own; boxes in any order."""
    frames = [(1, 5, 0), (2, 9, 1), (3, 9, 0), (4, 5, 1)]
    return {
        "categories": [{"id": 3, "name": "pedestrian"}],
        "videos": [
            {"id": 9, "name": "b", "fps": 25, "width": 64, "height": 48, "video_file": "b.mp4"},
            {"id": 5, "name": "a"},
        ],
        "images": [
            {
                "id": k,
                "file_name": f"{k}.jpg",
                "width": 64,
                "height": 48,
                "video_id": video,
                "frame_id": frame,
            }
            for k, video, frame in frames
        ]
        + [{"id": 7, "file_name": "7.jpg", "width": 10, "height": 20}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 1, 2, 3]},
            {
                "id": 2,
                "image_id": 2,
                "category_id": 3,
                "bbox": [1, 1, 2.5, 3],
                "instance_id": 4,
                "iscrowd": 1,
            },
            {"id": 3, "image_id": 7, "category_id": 3, "bbox": [-5, 1, 20, 3], "visibility": 0.25},
            {"id": 4, "image_id": 1, "category_id": 3, "bbox": [0, 1, 2, 3], "ignore": True},
        ],
    }


def write(folder: Path, document: object) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("order", list(itertools.permutations(["videos", "images", "annotations"])))
def test_sections_in_any_order_give_the_same(tmp_path: Path, order: tuple[str, ...]) -> None:
    whole = document()
    coco = read_coco_video(write(tmp_path, {key: whole[key] for key in [*order, "categories"]}))
    assert coco.categories == {3: "pedestrian"}
    assert coco.videos.name == ["b", "a"]
    assert coco.videos.video_file == ["b.mp4", None]
    np.testing.assert_array_equal(coco.videos.fps, [25, np.nan])
    assert coco.images.file_name == ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "7.jpg"]
    assert coco.images.video.tolist() == [1, 0, 0, 1, -1]
    assert [frames.tolist() for frames in coco.video_frames] == [[2, 1], [0, 3]]
    assert coco.stills.tolist() == [4]
    assert coco.images.mot_frame_id.tolist() == [1, 2, 1, 2, 0]
    assert coco.boxes.id[coco.boxes_of(4)].tolist() == [1, 3]
    assert [coco.boxes.id[coco.boxes_of(image)].tolist() for image in range(4)] == [[4], [2], [], []]
    assert coco.boxes.xywh[coco.boxes_of(4)].tolist() == [[0, 1, 2, 3], [-5, 1, 20, 3]]
    assert coco.boxes.instance_id.tolist() == [-1, 4, -1, -1]
    assert coco.boxes.iscrowd.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(coco.boxes.visibility, np.float32([np.nan, np.nan, np.nan, 0.25]))
    assert coco.boxes.score is None
    assert coco.annotated


def test_a_file_without_annotations_is_not_one_without_people(tmp_path: Path) -> None:
    whole = document()
    del whole["annotations"]
    coco = read_coco_video(write(tmp_path, whole))
    assert (coco.annotated, len(coco.boxes), len(coco.images)) == (False, 0, 5)
    assert coco.boxes.xywh[coco.boxes_of(0)].shape == (0, 4)
    assert read_coco_video(write(tmp_path, whole | {"annotations": []})).annotated


BAD = {
    "bbox must be four finite numbers": ("annotations", 2, {"bbox": [1, 2, 3]}),
    "bbox must be four finite numbers x, y, width, height, is [1, 2, 3, '4']": (
        "annotations",
        1,
        {"bbox": [1, 2, 3, "4"]},
    ),
    "bbox must be": ("annotations", 1, {"bbox": [1, 2, 3, float("nan")]}),
    "image_id must be a whole number, is 1.5": ("annotations", 3, {"image_id": 1.5}),
    "iscrowd must be true or false, is 2": ("annotations", 4, {"iscrowd": 2}),
    "category_id is missing": ("annotations", 1, {"category_id": None}),
    "width must be a whole number from 1, is 0": ("images", 5, {"width": 0}),
    "file_name must be a text, is 12": ("images", 1, {"file_name": 12}),
    "frame_id must be": ("images", 2, {"frame_id": "2"}),
    "name is missing": ("videos", 2, {"name": None}),
    "fps must be a number, is 30 Hz": ("videos", 1, {"fps": "30 Hz"}),
}


@pytest.mark.parametrize("message", BAD)
def test_a_malformed_record_is_named_or_skipped(tmp_path: Path, message: str) -> None:
    section, number, change = BAD[message]
    whole = document()
    whole[section][number - 1] |= change
    path = write(tmp_path, whole)
    with pytest.raises(DataError) as error:
        read_coco_video(path)
    assert f"{path}: {section} record {number}: {message}" in str(error.value)
    skipped = BadRows(skip=True)
    coco = read_coco_video(path, skipped)
    assert message in skipped.messages[0]
    assert len({"images": coco.images, "videos": coco.videos, "annotations": coco.boxes}[section]) == (
        len(whole[section]) - 1
    )


UNFIT = {
    "annotations id 1: belongs to image 70, which is not there": ("annotations", 1, {"image_id": 70}),
    "annotations id 2: category 1 is not there": ("annotations", 2, {"category_id": 1}),
    "images id 2: belongs to video 90, which is not there": ("images", 2, {"video_id": 90}),
    "images id 3: belongs to video 9; its frame_id is missing": ("images", 3, {"frame_id": None}),
    "images id 3: frame_id 1 of video 9 is there before": ("images", 3, {"frame_id": 1}),
    "images id 1: is there before": ("images", 2, {"id": 1}),
    "videos id 9: is there before": ("videos", 2, {"id": 9}),
}


@pytest.mark.parametrize("message", UNFIT)
def test_a_record_that_does_not_fit_the_others_is_named_or_skipped(tmp_path: Path, message: str) -> None:
    section, number, change = UNFIT[message]
    whole = document()
    whole[section][number - 1] |= change
    path = write(tmp_path, whole)
    with pytest.raises(DataError) as error:
        read_coco_video(path)
    assert str(error.value) == f"{path}: {message}"
    skipped = BadRows(skip=True)
    coco = read_coco_video(path, skipped)
    assert f"{path}: {message}" in skipped.messages
    assert int(coco.offsets[-1]) == len(coco.boxes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": []}', 'has no "categories"'),
        ('{"categories": [], "annotations": []}', 'has no "images"'),
        ('{"images": {}, "categories": []}', "images: must be a list of records"),
        ('{"images": [3], "categories": []}', "images record 1: must be an object"),
    ],
)
def test_a_file_of_another_kind_says_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_coco_video(path)


def plain_boxes(coco: CocoVideo) -> list[tuple[int, int, list[float], bool, int]]:
    boxes = coco.boxes
    rows = zip(
        boxes.id, coco.images.id[boxes.image], boxes.xywh, boxes.iscrowd, boxes.instance_id, strict=True
    )
    return sorted((int(a), int(b), c.tolist(), bool(d), int(e)) for a, b, c, d, e in rows)


OFFICIAL = [
    "MOT17/half-train_cocoformat.json",
    "MOT17/half-val_cocoformat.json",
    "MOT17/test_cocoformat.json",
    "MOT17/train_cocoformat.json",
    "crowdhuman/crowdhuman_train.json",
    "motsynth_all_cocoformat.json",
]


@pytest.mark.parametrize("name", OFFICIAL)
def test_files_of_the_official_converters_are_read_whole(name: str) -> None:
    compare(golden_path(f"converters/expected/{name}"))


@pytest.mark.parametrize(
    "name",
    ["formats/cocovid/ann.json", "detection/people_stills/val.json", "detection/coco128_person/train.json"],
)
def test_files_of_others_are_read_whole(shared: Path, name: str) -> None:
    compare(shared / "data" / name)


def compare(path: Path) -> None:
    coco, plain = read_coco_video(path), json.loads(path.read_text())
    assert plain_boxes(coco) == sorted(
        (
            row["id"],
            row["image_id"],
            np.float32(row["bbox"]).tolist(),
            bool(row["iscrowd"] or row.get("ignore")),
            row.get("instance_id", -1),
        )
        for row in plain.get("annotations", [])
    )
    assert coco.annotated == ("annotations" in plain)
    assert coco.images.id.tolist() == [row["id"] for row in plain["images"]]
    assert coco.images.frame_id.tolist() == [row.get("frame_id", -1) for row in plain["images"]]
    assert coco.images.file_name == [row["file_name"] for row in plain["images"]]
    assert coco.videos.name == [row["name"] for row in plain.get("videos", [])]
    for video, frames in zip(plain.get("videos", []), coco.video_frames, strict=True):
        rows = [row for row in plain["images"] if row["video_id"] == video["id"]]
        rows.sort(key=lambda row: row["frame_id"])
        assert coco.images.id[frames].tolist() == [row["id"] for row in rows]
        told = [row.get("mot_frame_id", row["frame_id"] + 1) for row in rows]
        assert coco.images.mot_frame_id[frames].tolist() == told
