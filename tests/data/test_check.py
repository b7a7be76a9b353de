"""`svit prepare check` says what is in a file and finds what is wrong with it, and only that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests.video.clips import write_clip

from svit.cli import main
from svit.data.check import CheckReport, check_coco_video
from svit.data.coco_video import read_coco_video
from svit.data.images_root import find_images
from svit.errors import DataError

WIDTH, HEIGHT = 64, 48
FILE = Path("data/MOT/annotations/train_cocoformat.json")

Document = dict[str, list[dict[str, Any]]]
Change = Callable[[Document], object]


def document() -> Document:
    """Two videos of three frames, two people in each frame; a box reaches beyond the edge, one is crowd."""
    images = [
        {"id": 3 * v + k + 1, "video_id": v + 1, "frame_id": k, "file_name": f"v{v}/img1/{k + 1:06d}.jpg"}
        | {"width": WIDTH, "height": HEIGHT}
        for v in range(2)
        for k in range(3)
    ]
    boxes = [
        {"id": 2 * row + k + 1, "image_id": image["id"], "category_id": 1, "instance_id": k, "iscrowd": False}
        | {"bbox": [-4 + 30 * k, 5, 20, 30.5], "area": 610, "mot_conf": 1 - k}
        for row, image in enumerate(images)
        for k in range(2)
    ]
    boxes[3]["iscrowd"] = True
    return {
        "categories": [{"id": 1, "name": "pedestrian"}],
        "videos": [{"id": v + 1, "name": f"v{v}", "fps": 25} for v in range(2)],
        "images": images,
        "annotations": boxes,
    }


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the images of `document`; the current folder is the one above `data`."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "MOT" / "train"
    for image in document()["images"]:
        path = folder / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(path)
    return folder


def write(change: Change | None = None) -> Path:
    whole = document()
    if change:
        change(whole)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(whole))
    return FILE


def found(report: CheckReport) -> dict[str, int]:
    return {problem.kind: problem.count for problem in report.problems}


def test_a_good_file_passes_and_its_table_counts_what_is_there(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "check", str(write())]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = dict(line.split("  ", 1) for line in lines if "  " in line.strip())
    values = {name: value.strip() for name, value in table.items()}
    assert values["videos"] == "2"
    assert values["frames per video"] == "3 to 3, median 3"
    assert values["images"] == "6"
    assert values["image sizes"] == "64x48 (6)"
    assert values["boxes"] == "12"
    assert values["crowd boxes"] == "1, to be ignored"
    assert values["confidence 0"] == "6"
    assert values["beyond the edge"].startswith("6,")
    assert values["people with an id"] == "4"  # ids 0 and 1 in each of two videos
    assert values["boxes per image"] == "2 to 2, median 2; 0 images without"
    assert values["box height"] == "30.5 to 30.5, median 30.5 pixels"
    assert [line.split() for line in lines if "#" in line] == [["16", "to", "32", "11", 40 * "#"]]
    assert f"6 of 6 files looked at in {root}" in lines
    assert lines[-1] == "nothing is wrong"


BROKEN: dict[str, tuple[str, Change]] = {
    "malformed records": (
        "annotations record 2: bbox must be",
        lambda d: d["annotations"][1].update(bbox=[1, 2, 3]),
    ),
    "images ids that repeat": ("images id 6: is there before", lambda d: d["images"].append(d["images"][5])),
    "videos ids that repeat": ("videos id 2: is there before", lambda d: d["videos"].append(d["videos"][1])),
    "annotations ids that repeat": (
        "annotations id 1: is there before",
        lambda d: d["annotations"][11].update(id=1),
    ),
    "people who are twice in one image": (
        "instance_id 0: annotations id 1 and 2, image id 1 (v0/img1/000001.jpg)",
        lambda d: d["annotations"][1].update(instance_id=0),
    ),
    "annotations of unknown images": (
        "annotations id 5: belongs to image 77, which is not there",
        lambda d: d["annotations"][4].update(image_id=77),
    ),
    "annotations of unknown categories": (
        "annotations id 5: category 2 is not there",
        lambda d: d["annotations"][4].update(category_id=2),
    ),
    "videos without frames": ("video id 9 (v9)", lambda d: d["videos"].append({"id": 9, "name": "v9"})),
    "frames that are there twice": (
        "images id 9: frame_id 2 of video 2 is there before",
        lambda d: d["images"].append(d["images"][5] | {"id": 9}),
    ),
    "frames out of order in the file": (
        "video id 1 (v0): frame_id 1 stands before 0, image id 2 (v0/img1/000002.jpg)",
        lambda d: d["images"].insert(0, d["images"].pop(1)),
    ),
    "gaps between the frames of a video": (
        "video id 2 (v1): frame_id 2 to 4 missing",
        lambda d: d["images"][5].update(frame_id=5),
    ),
    "boxes of no size": (
        "annotations id 3: x, y, w, h 1, 2, 0, 5; image id 2 (v0/img1/000002.jpg) is 64x48",
        lambda d: d["annotations"][2].update(bbox=[1, 2, 0, 5]),
    ),
    "boxes outside their image": (
        "annotations id 3: x, y, w, h 64, 0, 5, 5",
        lambda d: d["annotations"][2].update(bbox=[64, 0, 5, 5]),
    ),
    "images of another size": (
        "v0/img1/000002.jpg is 64x48, not 64x50",
        lambda d: d["images"][1].update(height=50),
    ),
    "missing images": (
        "image id 2: ",
        lambda d: d["images"][1].update(file_name="v0/img1/7.jpg"),
    ),
    "missing videos": ("video id 2: ", lambda d: d["videos"][1].update(video_file="v1.mp4")),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_problem_is_counted_with_an_example_that_names_the_record(
    root: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example, change = BROKEN[kind]
    path = write(change)
    report = check_coco_video(path)
    assert found(report) == {kind: 1}
    assert example in report.problems[0].examples[0]
    assert report.root == root
    assert main(["prepare", "check", str(path)]) == 1
    out = capsys.readouterr().out
    assert f"{kind}: 1" in out
    assert example in out
    assert "nothing is wrong" not in out


def test_many_problems_are_counted_and_the_first_are_named(root: Path) -> None:
    def far_away(document: Document) -> None:
        for box in document["annotations"][:7]:
            box["bbox"] = [1000, 0, 5, 5]

    (problem,) = check_coco_video(write(far_away)).problems
    assert (problem.count, len(problem.examples)) == (7, 3)
    assert str(problem).splitlines()[-1] == "  ... and 4 more"


def test_damaged_images_are_found(root: Path) -> None:
    (root / "v0/img1/000002.jpg").write_bytes(b"no image")
    (root / "v1/img1/000003.jpg").write_bytes(b"")
    assert found(check_coco_video(write())) == {"images that cannot be read": 2}


def test_an_image_that_exif_turns_has_the_size_it_is_shown_with(root: Path) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.new("RGB", (HEIGHT, WIDTH)).save(root / "v0/img1/000002.jpg", exif=exif)
    assert found(check_coco_video(write())) == {}


def test_a_sample_is_looked_at_and_said_to_be_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "v0/img1/000002.jpg").unlink()
    assert found(check_coco_video(write(), sample=2)) == {}
    assert found(check_coco_video(write(), sample=6)) == {"missing images": 1}
    assert main(["prepare", "check", str(FILE), "--sample", "2"]) == 0
    assert "2 of 6 files looked at" in capsys.readouterr().out


def as_video(document: Document, frames: int = 3) -> None:
    document["videos"][1]["video_file"] = "v1.mp4"
    for image in document["images"][3:]:
        image["mot_frame_id"] = image["frame_id"] + frames - 2


def test_frames_of_a_video_file_are_looked_for_in_it(root: Path) -> None:
    write_clip(root / "v1.mp4", [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 4)
    for picture in (root / "v1").rglob("*.jpg"):
        picture.unlink()
    assert found(check_coco_video(write(lambda d: as_video(d, frames=4)))) == {}
    (problem,) = check_coco_video(write(lambda d: as_video(d, frames=5))).problems
    assert problem.kind == "videos that end too early"
    assert "v1.mp4 has 4 frames, but there is an image of frame 5" in problem.examples[0]
    write_clip(root / "v1.mp4", [np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8)] * 4)
    assert found(check_coco_video(write(as_video))) == {"videos of another size": 1}
    (root / "v1.mp4").write_bytes(b"no video")
    assert found(check_coco_video(write(as_video))) == {"videos that cannot be read": 1}


def test_without_any_image_the_folders_that_were_tried_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root.rename(root.with_name("elsewhere"))
    path = write()
    assert main(["prepare", "check", str(path)]) == 1
    out = capsys.readouterr().out
    assert (
        f"{path}: v0/img1/000001.jpg is neither in {root.parent / 'annotations'} nor in {root.parent}" in out
    )
    assert main(["prepare", "check", str(path), "--images", str(root.with_name("elsewhere"))]) == 0


def test_the_images_are_found_where_data_sets_keep_them(root: Path) -> None:
    coco = read_coco_video(write())
    assert find_images(coco) == root
    assert find_images(coco, root) == root
    with pytest.raises(DataError, match=r"MOT: holds no image of .*; did you mean .*MOT.train\?"):
        find_images(coco, root.parent)
    # MOTSynth's file lies beside train; CrowdHuman's half of the images may have twins elsewhere.
    beside = root.parent / "all_cocoformat.json"
    FILE.rename(beside)
    assert find_images(read_coco_video(beside)) == root
    root.rename(root.with_name("val"))
    assert find_images(read_coco_video(beside)) == root.with_name("val")


def test_a_file_that_is_no_coco_file_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2')
    assert main(["prepare", "check", str(tmp_path / "a.json")]) == 1
    assert capsys.readouterr().err == f"svit: error: {tmp_path / 'a.json'}: a record 2: the file breaks off\n"


def test_a_test_set_and_an_empty_file_pass(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "check", str(write(lambda d: d.pop("annotations")))]) == 0
    assert "none: a test set" in capsys.readouterr().out
    FILE.write_text('{"categories": [], "images": [], "annotations": []}')
    assert main(["prepare", "check", str(FILE), "--preview", "none.png"]) == 0
    assert "preview: none" in capsys.readouterr().out
    assert not Path("none.png").exists()


def test_the_preview_shows_boxes_where_they_are(root: Path) -> None:
    write_clip(root / "v1.mp4", [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 3)
    path = write(as_video)
    plain = write_preview(path, "plain.png")
    assert (plain != 90).any()

    def moved(document: Document) -> None:
        as_video(document)
        document["annotations"][0]["bbox"] = [30, 5, 20, 40]

    other = write_preview(write(moved), "other.png")
    assert other.shape == plain.shape
    rows, columns = np.nonzero((plain != other).any(axis=2))
    # Only the first of the cells, 480 pixels wide, has changed.
    assert columns.max() < 500
    assert rows.max() < plain.shape[0] / 2


def write_preview(path: Path, name: str) -> np.ndarray:
    assert main(["prepare", "check", str(path), "--preview", name]) == 0
    return np.asarray(PillowImage.open(name).convert("RGB"))


def test_the_preview_leaves_out_what_cannot_be_read(root: Path) -> None:
    path = write()
    whole = np.asarray(PillowImage.open(preview(path, "whole.png", 0)))
    for picture in (root / "v1").rglob("*.jpg"):
        picture.unlink()
    fewer = np.asarray(PillowImage.open(preview(path, "fewer.png", 1)))
    assert fewer.shape[0] < whole.shape[0]


def preview(path: Path, name: str, status: int) -> str:
    assert main(["prepare", "check", str(path), "--preview", name]) == status
    return name


@pytest.mark.parametrize("name", ["people_stills/val.json", "coco128_person/train.json"])
def test_real_files_pass(shared: Path, name: str) -> None:
    report = check_coco_video(shared / "data" / "detection" / name)
    assert report.problems == []
    assert report.files_checked == len(report.coco.images)
