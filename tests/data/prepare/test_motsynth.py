"""MOTSynth's annotations as one COCO-video file, and what is said about damaged ones."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.video.clips import SIZE, flat, levels, write_clip

from svit.cli import main
from svit.data import json_records
from svit.data.bad_rows import BadRows
from svit.data.prepare.motsynth import MotSynthOptions, prepare_motsynth
from svit.data.video_frames import open_frames
from svit.errors import DataError, OutputError

WIDTH, HEIGHT = SIZE


def image(frame: int, **changes: Any) -> dict[str, Any]:
    """An image as in MOTSynth's files; its id is 100 x the frame."""
    content = {
        "id": 100 * frame,
        "file_name": f"frames/000/rgb/{frame:04d}.jpg",
        "frame_n": frame,
        "height": HEIGHT,
        "width": WIDTH,
        "cam_world_pos": [0.5, 1.5, 2.5],
    }
    return content | changes


def box(frame: int, person: int, **changes: Any) -> dict[str, Any]:
    """An annotation as in MOTSynth's files."""
    content = {
        "id": 7,
        "image_id": 100 * frame,
        "category_id": 1,
        "ped_id": person,
        "bbox": [10, 20, 30, 40],
        "area": 1,
        "iscrowd": 0,
        "keypoints": [1, 2, 3] * 22,
        "frame_n": frame,
    }
    return content | changes


def write(folder: Path, name: str, images: list[Any], annotations: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations}))
    return path


@pytest.fixture
def root(tmp_path):
    """Two videos, of 3 and 2 frames; both have a person 5."""
    folder = tmp_path / "MOTSynth" / "annotations"
    write(folder, "000", [image(n) for n in (1, 2, 3)], [box(1, 5), box(2, 5), box(3, 9)])
    write(folder, "010", [image(n) for n in (1, 2)], [box(1, 5), box(2, 6, iscrowd=1)])
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "MOTSynth" / "all_cocoformat.json"


def load(path):
    return json.loads(path.read_text())


def test_frames_and_boxes_of_all_videos_in_one_file(root, out):
    told = prepare_motsynth(root, out)
    content = load(out)
    assert [video["name"] for video in content["videos"]] == ["000", "010"]
    assert [each["file_name"] for each in content["images"]][2:4] == [
        "000/img1/000003.jpg",
        "010/img1/000001.jpg",
    ]
    assert [each["frame_id"] for each in content["images"]] == [0, 1, 2, 0, 1]
    assert [each["image_id"] for each in content["annotations"]] == [1, 2, 3, 4, 5]
    assert [each["instance_id"] for each in content["annotations"]] == [0, 0, 1, 2, 3]
    assert [each["iscrowd"] for each in content["annotations"]] == [False] * 4 + [True]
    assert {each["area"] for each in content["annotations"]} == {1200}
    assert content["num_instances"] == 4
    assert str(told) == f"{out}: 2 videos, 5 images, 5 annotations, 4 instances"


def test_files_come_by_number_and_others_are_passed_over(root, out):
    write(root, "2", [image(1)], [])
    write(root, "combined", [image(1)], [])
    (root / "notes.txt").write_text("hello")
    prepare_motsynth(root, out)
    assert [video["name"] for video in load(out)["videos"]] == ["000", "2", "010"]


def test_a_dry_run_reads_everything_and_writes_nothing(root, out):
    told = prepare_motsynth(root, out, MotSynthOptions(dry_run=True))
    assert told.counts == {"videos": 2, "images": 5, "annotations": 5, "instances": 4}
    assert [path.name for path in out.parent.iterdir()] == ["annotations"]
    (root / "011.json").write_text("{")
    with pytest.raises(DataError, match=r"011\.json"):
        prepare_motsynth(root, out, MotSynthOptions(dry_run=True))


@pytest.mark.parametrize("text", ['{"images": [{"id": 1}, {"id" 2}]}', '{"images": [{"id": 1}, {"id": '])
def test_malformed_json_is_said_with_file_and_place(root, out, text):
    (root / "004.json").write_text(text)
    with pytest.raises(DataError, match=r"annotations/004\.json: images record 2: ") as error:
        prepare_motsynth(root, out)
    assert "\n" not in str(error.value)
    assert not out.exists()
    bad_rows = BadRows(skip=True)
    told = prepare_motsynth(root, out, bad_rows=bad_rows)
    assert told.counts["videos"] == 2, "a file that cannot be read is left out whole"
    assert [("004.json" in message) for message in bad_rows.messages] == [True]


@pytest.mark.parametrize(
    ("images", "annotations", "says"),
    [
        ([image(1), image(2, frame_n=None)], [], 'image 2: "frame_n" is missing or no whole number'),
        ([image(1), image(2, id=100)], [], "image 2: id 100 comes twice"),
        ([image(0)], [], "image 1: frame_n, height and width must be above 0"),
        (["text"], [], 'image 1: "id" is missing'),
        ([image(1)], [box(1, 1), box(2, 1)], "annotation 2: there is no image with id 200"),
        ([image(1)], [box(1, 1, bbox=[1, 2, 3])], 'annotation 1: "bbox" is not 4 numbers'),
        ([image(1)], [box(1, 1, bbox=[1, 2, 3, "4"])], 'annotation 1: "bbox" is not 4 numbers'),
        ([image(1)], [box(1, 1, bbox=[1, 2, 3, float("nan")])], 'annotation 1: "bbox" is not 4 numbers'),
        ([image(1)], [box(1, 1, bbox=[1, 2, 3, 10**400])], 'annotation 1: "bbox" is not 4 numbers'),
        ([image(1)], [box(1, None)], 'annotation 1: "ped_id" is missing or no whole number'),
    ],
)
def test_a_malformed_record_is_named_or_skipped_and_counted(root, out, images, annotations, says):
    write(root, "003", images, annotations)
    with pytest.raises(DataError) as error:
        prepare_motsynth(root, out)
    assert str(error.value).startswith(f"{root / '003.json'}, {says}")
    assert not out.exists()
    bad_rows = BadRows(skip=True)
    told = prepare_motsynth(root, out, bad_rows=bad_rows)
    assert len(bad_rows.messages) == 1
    assert told.counts["videos"] == 3
    assert told.counts["images"] + told.counts["annotations"] == 10 + len(images) + len(annotations) - 1


@pytest.mark.parametrize("text", ['{"images": []}', '{"images": {}, "annotations": []}'])
def test_another_layout_is_said(root, out, text):
    (root / "003.json").write_text(text)
    with pytest.raises(DataError, match=r'003\.json: has no lists "images" and "annotations"'):
        prepare_motsynth(root, out)


def test_a_root_one_level_too_high_says_which_was_meant(root, out):
    with pytest.raises(DataError, match=rf"one level too high: give {root}"):
        prepare_motsynth(root.parent, out)
    with pytest.raises(DataError, match="none: no such folder"):
        prepare_motsynth(root / "none", out)
    with pytest.raises(DataError, match=r"000\.json: is a file; give the folder"):
        prepare_motsynth(root / "000.json", out)


def test_a_run_that_fails_leaves_the_old_file(root, out):
    prepare_motsynth(root, out)
    before = out.read_bytes()
    (root / "011.json").write_text("{")
    with pytest.raises(DataError):
        prepare_motsynth(root, out)
    assert out.read_bytes() == before
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, "annotations"]


def test_an_output_that_cannot_be_written_is_said(root, tmp_path):
    with pytest.raises(OutputError, match=r"must end in \.json"):
        prepare_motsynth(root, tmp_path / "all.txt")


@pytest.fixture
def videos(root):
    """The videos of `root`, of 3 and 2 frames; frame n is grey of 20 + 4 n."""
    folder = root.parent / "videos"
    folder.mkdir()
    for name, count in (("000", 3), ("010", 2)):
        write_clip(folder / f"{name}.mp4", [flat(level) for level in levels(count)])
    return folder


def test_an_index_into_the_videos_leads_to_their_frames(root, videos, out):
    told = prepare_motsynth(root, out, MotSynthOptions(videos=videos))
    content = load(out)
    assert [video["video_file"] for video in content["videos"]] == ["videos/000.mp4", "videos/010.mp4"]
    assert told.images == root.parent
    files = {video["id"]: told.images / video["video_file"] for video in content["videos"]}
    for each in content["images"]:
        with open_frames(files[each["video_id"]]) as frames:
            level = frames[each["mot_frame_id"] - 1].mean()
        assert level == pytest.approx(20 + 4 * each["frame_id"], abs=2)
    assert content["images"][0]["file_name"] == "000/img1/000001.jpg"


def test_videos_that_do_not_fit_are_said(root, videos, out):
    options = MotSynthOptions(videos=videos)
    write(root, "000", [image(4)], [])
    with pytest.raises(DataError, match=r"000\.mp4: 3 frames, but .*000\.json has a frame_n of 4"):
        prepare_motsynth(root, out, options)
    write(root, "000", [image(1, width=640)], [])
    with pytest.raises(DataError, match=r"000\.mp4: 96x64, but .*000\.json has an image of 640x64"):
        prepare_motsynth(root, out, options)
    (videos / "000.mp4").unlink()
    bad_rows = BadRows(skip=True)
    assert prepare_motsynth(root, out, options, bad_rows).counts["videos"] == 1
    assert "000.mp4: no such file" in bad_rows.messages[0]


def test_a_folder_without_videos_is_said(root, videos, out):
    with pytest.raises(DataError, match=rf"one level too high: give {videos}"):
        prepare_motsynth(root, out, MotSynthOptions(videos=videos.parent))
    with pytest.raises(DataError, match=r"annotations: no files called 000\.mp4"):
        prepare_motsynth(root, out, MotSynthOptions(videos=root))


def peak_memory(call: Callable[[], object]) -> int:
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_keypoints_nor_with_the_number_of_files(tmp_path, out, monkeypatch):
    monkeypatch.setattr(json_records, "BATCH", 16)
    monkeypatch.setattr(json_records, "CHUNK", 1 << 14)
    dry = MotSynthOptions(dry_run=True)
    folder = tmp_path / "many"
    people = [box(1 + k % 20, k % 50, keypoints_3d=[k + 0.123] * 88) for k in range(800)]
    path = write(folder, "000", [image(n) for n in range(1, 21)], people)
    del people
    one = peak_memory(lambda: prepare_motsynth(folder, out, dry))
    assert one < peak_memory(lambda: load(path)) / 4
    for number in range(1, 3):
        (folder / f"{number:03d}.json").symlink_to(path)
    assert peak_memory(lambda: prepare_motsynth(folder, out, dry)) < 1.2 * one


def test_the_command_takes_the_official_names_of_its_options(root, out, capfd):
    for words in (["--annotations", "--output"], ["--anns", "--out"], ["-i", "-o"]):
        out.unlink(missing_ok=True)
        assert main(["prepare", "motsynth", words[0], str(root), words[1], str(out), "--official-ids"]) == 0
        assert load(out)["num_instances"] == 6
        assert capfd.readouterr().out == f"{out}: 2 videos, 5 images, 5 annotations, 4 instances\n"


def test_the_command_counts_what_it_skips(root, out, capfd):
    write(root, "003", [image(1)], [box(2, 1), box(1, 1)])
    assert main(["prepare", "motsynth", "-i", str(root), "-o", str(out)]) == 1
    assert "003.json, annotation 1: there is no image with id 200" in capfd.readouterr().err
    assert main(["prepare", "motsynth", "-i", str(root), "-o", str(out), "--skip-bad"]) == 0
    assert "1 bad" in capfd.readouterr().err
    assert main(["prepare", "motsynth", "-i", str(root), "-o", "b.json", "--skip-bad", "--dry-run"]) == 0
    assert "would write b.json: 3 videos" in capfd.readouterr().out
