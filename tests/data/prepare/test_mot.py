"""MOTChallenge layouts: what is kept, how it is numbered, what is said where a data set does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.data.prepare.layouts import GT, tree, write_mot, write_sequence

from svit.data.bad_rows import BadRows
from svit.data.prepare.mot import MotOptions, prepare_mot
from svit.errors import DataError, OutputError

EVERYTHING = MotOptions(split_train=True, convert_det=True)


def load(path):
    return json.loads(path.read_text())


def keys(records, *names):
    return [tuple(record[name] for name in names) for record in records]


@pytest.fixture
def root(tmp_path):
    return write_mot(tmp_path / "MOT17")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "annotations"


def one_sequence(tmp_path, **options):
    """A data set of one training sequence."""
    write_sequence(tmp_path / "set" / "train" / "SEQ", **options)
    return tmp_path / "set"


def test_only_pedestrians_are_kept_and_ignored_ones_too(root, out):
    prepare_mot(root, out)
    boxes = load(out / "train_cocoformat.json")["annotations"][:3]
    assert keys(boxes, "mot_instance_id", "bbox", "mot_conf", "visibility", "mot_class_id") == [
        (7, [10, 20, 30, 40], 1, 0.5, 1),
        (7, [11, 20, 30, 40], 0, 0.25, 1),
        (4, [1, 2, 3, 4], 1, 1, 1),
    ]
    assert keys(boxes, "area", "iscrowd", "category_id")[0] == (1200, False, 1)


def test_ignored_pedestrians_are_dropped_on_request(root, out):
    (train, _) = prepare_mot(root, out, MotOptions(drop_ignored=True))
    assert keys(load(train.path)["annotations"], "mot_conf") == [(1,)] * 4
    assert train.counts["rows dropped"] == 4


def test_ids_count_on_over_subsets_and_instances_restart(root, out):
    prepare_mot(root, out, MotOptions(split_train=True))
    files = {
        name: load(out / f"{name}_cocoformat.json") for name in ("train", "test", "half-train", "half-val")
    }
    assert [keys(file["videos"], "id") for file in files.values()] == [
        [(1,), (2,)],
        [(3,)],
        [(4,), (5,)],
        [(6,), (7,)],
    ]
    assert [file["images"][0]["id"] for file in files.values()] == [1, 11, 14, 20]
    assert files["half-train"]["annotations"][0]["id"] == 7
    assert keys(files["half-train"]["annotations"], "instance_id") == [(0,), (0,), (1,), (2,), (2,), (3,)]
    assert {name: file["num_instances"] for name, file in files.items()} == {
        "train": 4,
        "test": 0,
        "half-train": 4,
        "half-val": 0,
    }


def test_a_test_subset_has_no_annotations_and_an_empty_half_has_none_in_its_list(root, out):
    prepare_mot(root, out, MotOptions(split_train=True))
    assert "annotations" not in load(out / "test_cocoformat.json")
    assert load(out / "half-val_cocoformat.json")["annotations"] == []


@pytest.mark.parametrize(("frames", "first"), [(5, 3), (6, 4), (1, 1)])
def test_the_first_half_has_one_frame_more_and_frame_ids_restart(tmp_path, out, frames, first):
    root = one_sequence(tmp_path, frames=frames, gt=GT[:1])
    prepare_mot(root, out, MotOptions(split_train=True))
    halves = [load(out / f"half-{name}_cocoformat.json")["images"] for name in ("train", "val")]
    assert [len(half) for half in halves] == [first, frames - first]
    assert keys(halves[0], "frame_id", "mot_frame_id") == [(n, n + 1) for n in range(first)]
    assert keys(halves[1], "frame_id", "mot_frame_id") == [(n, n + first + 1) for n in range(frames - first)]


def test_halves_of_the_ground_truth_are_its_raw_lines(tmp_path, out):
    lines = (GT[0] + " ", *GT[1:], "5,2,1.50,2,3,4,0,12,0")
    root = one_sequence(tmp_path, gt=lines)
    prepare_mot(root, out, MotOptions(split_train=True))
    folder = root / "train" / "SEQ" / "gt"
    assert (folder / "gt_half-train.txt").read_text() == "".join(f"{line}\n" for line in lines[:4])
    assert (folder / "gt_half-val.txt").read_text() == lines[4] + "\n"


def test_nothing_else_is_written_into_the_data_set(root, out):
    before = tree(root)
    prepare_mot(root, out, EVERYTHING)
    added = set(tree(root)) - set(before)
    assert {name.rsplit("/", 1)[1] for name in added} == {"gt_half-train.txt", "gt_half-val.txt"}
    assert {name: tree(root)[name] for name in before} == before


def test_no_write_gt_leaves_the_data_set_as_it_is(root, out):
    before = tree(root)
    prepare_mot(root, out, MotOptions(split_train=True, convert_det=True, write_gt=False))
    assert tree(root) == before


def test_a_dry_run_counts_the_same_and_writes_nothing(root, out, tmp_path):
    before = tree(tmp_path)
    planned = prepare_mot(root, out, MotOptions(split_train=True, convert_det=True, dry_run=True))
    assert tree(tmp_path) == before
    assert not out.exists()
    assert [str(each) for each in planned] == [str(each) for each in prepare_mot(root, out, EVERYTHING)]
    assert planned[0].counts == {"videos": 2, "images": 10, "boxes": 6, "ids": 4, "rows dropped": 2}
    assert planned[0].images == root / "train"


def test_detections_are_corners_and_score_of_every_image(root, out):
    prepare_mot(root, out, MotOptions(convert_det=True))
    boxes = load(out / "train_detections.json")["det_bboxes"]
    assert len(boxes) == 10
    assert boxes["SEQ-01/img1/000001.jpg"] == [[[10, 20, 40, 60, 0.9]]]
    assert boxes["SEQ-01/img1/000002.jpg"] == [[]]
    assert boxes["SEQ-02/img1/000003.jpg"] == [[[1.5, 2, 4.5, 6, -0.25]]]


def test_detections_as_npz_are_the_same_and_need_no_pickle(root, out):
    prepare_mot(root, out, MotOptions(convert_det=True))
    prepare_mot(root, out, MotOptions(convert_det=True, det_format="npz"))
    expected = load(out / "test_detections.json")["det_bboxes"]
    with np.load(out / "test_detections.npz", allow_pickle=False) as arrays:
        assert {name: [arrays[name].tolist()] for name in arrays} == expected
        assert arrays["SEQ-03/img1/000002.jpg"].shape == (0, 5)


def test_mot15_has_pedestrians_only_whatever_its_last_columns_say(tmp_path, out):
    root = one_sequence(tmp_path, gt=("1,1,5,6,7,8,1,-1,-1,-1", "2,1,5,6,7,8,0,3.2,-12.5,0"))
    prepare_mot(root, out)
    boxes = load(out / "train_cocoformat.json")["annotations"]
    assert keys(boxes, "mot_conf", "mot_class_id", "visibility") == [(1, 1, 1)] * 2
    prepare_mot(root, out, MotOptions(drop_ignored=True))
    assert len(load(out / "train_cocoformat.json")["annotations"]) == 1


def test_dancetrack_has_a_val_subset_and_wider_file_names(tmp_path, out):
    for subset in ("train", "val"):
        write_sequence(tmp_path / "dance" / subset / f"dancetrack-{subset}", digits=8, det=None)
    write_sequence(tmp_path / "dance" / "test" / "dancetrack-test", digits=8, gt=None, det=None)
    (tmp_path / "dance" / "val_seqmap.txt").write_text("name\n")
    written = prepare_mot(tmp_path / "dance", out)
    names = [f"{name}_cocoformat.json" for name in ("train", "val", "test")]
    assert [each.path.name for each in written] == names
    val = load(out / "val_cocoformat.json")
    assert val["images"][0]["file_name"] == "dancetrack-val/img1/00000001.jpg"
    assert len(val["annotations"]) == 3


def test_a_sequence_that_is_a_video_says_so(tmp_path, out):
    prepare_mot(one_sequence(tmp_path, video="video.mp4"), out, MotOptions(split_train=True))
    train = load(out / "half-val_cocoformat.json")
    assert train["videos"][0]["video_file"] == "SEQ/video.mp4"
    assert keys(train["images"], "file_name", "mot_frame_id") == [
        ("SEQ/img1/000004.jpg", 4),
        ("SEQ/img1/000005.jpg", 5),
    ]


def test_a_video_kept_elsewhere_is_named_relative_to_the_subset(tmp_path, out):
    root = one_sequence(tmp_path, video=str(tmp_path / "elsewhere.mp4"))
    prepare_mot(root, out)
    video = load(out / "train_cocoformat.json")["videos"][0]["video_file"]
    assert (root / "train" / video).resolve() == tmp_path / "elsewhere.mp4"


def test_hidden_files_and_other_kinds_of_files_are_passed_over(root, out):
    for name in ("train/.DS_Store", "train/notes.txt", "train/SEQ-01/img1/._000001.jpg"):
        (root / name).write_text("")
    (root / "train/.cache").mkdir()
    (root / "splits_txt").mkdir()  # as SportsMOT has
    (root / "train/SEQ-01/img1/Thumbs.db").write_text("")
    assert prepare_mot(root, out)[0].counts["images"] == 10


BAD_ROWS = {
    "1,7,10,20,30,forty,1,1,1": "could not convert string to float: 'forty'",
    "1,7,10,20,nan,40,1,1,1": "NaN or infinite",
    "1,7,10,20,30,40": "6 columns; ground truth has 9, that of MOT15 10",
    "6,7,10,20,30,40,1,1,1": r"frame 6; the sequence has the frames 1 to 5 \(seqLength\)",
    "0,7,10,20,30,40,1,1,1": "frame 0",
    "1.5,7,10,20,30,40,1,1,1": "whole numbers",
    "1,7,10,20,-30,40,1,1,1": "negative size",
    "1,7,10,20,30,40,1,14,1": "class 14; classes are 1 to 13",
    "2,7,10,20,30,40,1,1,1": "id 7 is in frame 2 already",
}


@pytest.mark.parametrize(("row", "says"), BAD_ROWS.items())
def test_a_malformed_row_is_named_with_file_and_line(tmp_path, out, row, says):
    root = one_sequence(tmp_path, gt=(*GT[:2], "", row, *GT[2:]))
    with pytest.raises(DataError, match=rf"SEQ/gt/gt.txt, line 4: .*{says}"):
        prepare_mot(root, out, MotOptions(split_train=True))
    assert list(out.iterdir()) == []
    assert tree(root / "train/SEQ/gt").keys() == {"gt.txt"}


def test_skipped_rows_are_counted_once_although_halves_read_them_again(tmp_path, out):
    root = one_sequence(tmp_path, gt=(*GT, *BAD_ROWS), det=("1,-1,1,2,3,4", "9,-1,1,2,3,4,1"))
    bad_rows = BadRows(skip=True)
    written = prepare_mot(root, out, EVERYTHING, bad_rows)
    assert len(bad_rows.messages) == len(BAD_ROWS) + 2
    assert written[0].counts["boxes"] == 3
    assert written[1].counts == {"images": 5, "boxes": 0}


def test_a_missing_frame_is_named(root, out):
    (root / "train/SEQ-02/img1/000004.jpg").unlink()
    says = r"SEQ-02/img1: 000004.jpg is missing; seqinfo.ini tells 5 frames \(seqLength\), 4 are there"
    with pytest.raises(DataError, match=says):
        prepare_mot(root, out)


def test_a_missing_frame_can_be_skipped_and_the_others_keep_their_numbers(root, out):
    (root / "train/SEQ-01/img1/000002.jpg").unlink()
    bad_rows = BadRows(skip=True)
    prepare_mot(root, out, MotOptions(split_train=True), bad_rows)
    assert len(bad_rows.messages) == 1
    images = load(out / "half-train_cocoformat.json")["images"]
    assert keys(images[:2], "frame_id", "mot_frame_id") == [(0, 1), (1, 3)]
    assert len(load(out / "train_cocoformat.json")["images"]) == 9


@pytest.mark.parametrize("name", ["000006.jpg", "cover.jpg", "0001.jpg"])
def test_a_picture_too_many_is_named(root, out, name):
    (root / "train/SEQ-01/img1" / name).write_bytes(b"")
    with pytest.raises(DataError, match=f"SEQ-01/img1/(000001|{name})"):
        prepare_mot(root, out)


def test_every_missing_part_is_named(tmp_path, out):
    cases = {
        "img1": "train/SEQ/img1: no such folder",
        "seqinfo.ini": "train/SEQ/seqinfo.ini: not found",
        "gt": "train/SEQ/gt/gt.txt: not found",
        "det": "train/SEQ/det/det.txt: not found; without public detections leave --convert-det away",
    }
    for number, (part, says) in enumerate(cases.items()):
        root = one_sequence(tmp_path / str(number))
        (root / "train/SEQ" / part).rename(tmp_path / f"{number}-away")
        with pytest.raises(DataError, match=says):
            prepare_mot(root, out, EVERYTHING)
    root = one_sequence(tmp_path, video="video.mp4")
    (root / "train/SEQ/video.mp4").unlink()
    with pytest.raises(DataError, match=r"SEQ/video.mp4: not found, but seqinfo.ini names it"):
        prepare_mot(root, out)


def test_a_root_at_the_wrong_level_says_which_was_expected(root, out):
    with pytest.raises(DataError, match=f"one level too high: give {root}$"):
        prepare_mot(root.parent, out)
    with pytest.raises(DataError, match=f"one level too low: give {root}$"):
        prepare_mot(root / "train", out)
    with pytest.raises(DataError, match="no such folder; give the folder that holds train and test"):
        prepare_mot(root / "nowhere", out)


def test_empty_folders_are_errors(tmp_path, out):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no train, val or test folder in it; expected train/SEQUENCE"):
        prepare_mot(tmp_path / "empty", out)
    (tmp_path / "empty" / "train").mkdir()
    with pytest.raises(DataError, match="empty/train: no sequences in it"):
        prepare_mot(tmp_path / "empty", out)


def test_halves_need_a_train_folder(tmp_path, out):
    write_sequence(tmp_path / "set" / "test" / "SEQ", gt=None)
    with pytest.raises(DataError, match="has no train folder"):
        prepare_mot(tmp_path / "set", out, MotOptions(split_train=True))


def test_what_was_there_stays_when_the_data_set_is_bad(root, out):
    prepare_mot(root, out)
    before = tree(out)
    (root / "train/SEQ-02/gt/gt.txt").write_text("nonsense\n")
    with pytest.raises(DataError):
        prepare_mot(root, out)
    assert tree(out) == before


def test_an_output_that_is_a_file_is_an_error(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        prepare_mot(root, tmp_path / "file")


def test_a_gt_file_that_cannot_be_written_names_the_way_out(root, out):
    (root / "train/SEQ-01/gt/gt_half-train.txt").mkdir()
    with pytest.raises(OutputError, match="--no-write-gt"):
        prepare_mot(root, out, MotOptions(split_train=True))


def test_progress_is_told_of_every_sequence(root, out):
    told = []

    def progress(items, label, total=None):
        told.append((label, total))
        return items

    prepare_mot(root, out, progress=progress)
    assert told == [("train sequences", 2), ("test sequences", 1)]
