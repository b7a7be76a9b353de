"""Lists of videos in every layout: made here and real."""

from __future__ import annotations

import pytest

from svit.data.actions.lists import Row, read_list, split_named
from svit.data.bad_rows import BadRows
from svit.errors import DataError


def rows_of(tmp_path, content, name="train.txt", bad_rows=None):
    (tmp_path / name).write_text(content)
    return read_list(tmp_path / name, None, bad_rows or BadRows())


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("a.mp4 3", "a.mp4", 3),
        ("a.mp4,3", "a.mp4", 3),
        ("a.mp4, 3", "a.mp4", 3),
        ("a.mp4\t3", "a.mp4", 3),
        ("arm wrestling/a.mp4 3", "arm wrestling/a.mp4", 3),
        ("arm wrestling/a.mp4,3", "arm wrestling/a.mp4", 3),
        ("clip 7.webm 3", "clip 7.webm", 3),
        ("7 a/-3B32lodo2M.mp4 0", "7 a/-3B32lodo2M.mp4", 0),
        ("a.avi arm wrestling", "a.avi", "arm wrestling"),
        ("a.avi,arm wrestling", "a.avi", "arm wrestling"),
        ("34870;Drumming Fingers", "34870", "Drumming Fingers"),
        ("34870 3", "34870", 3),
        ("/data/k400/a.MP4 3", "/data/k400/a.MP4", 3),
    ],
)
def test_a_line_is_path_and_label(tmp_path, line, path, label):
    (row,) = rows_of(tmp_path, line + "\n")
    assert (row.names, row.label, row.split) == ((path,), label, "train")


def test_folders_of_frames_have_counts_and_maybe_offsets(tmp_path):
    plain, offset = rows_of(tmp_path, "imgs 5 127\nimgs 2 5 127\n")
    assert (plain.names, plain.first, plain.frames, plain.label) == (("imgs",), 0, 5, 127)
    assert (offset.names, offset.first, offset.frames, offset.label) == (("imgs",), 2, 5, 127)


@pytest.mark.parametrize("line", ["a.mp4", "a.mp4 0 3", "imgs 1 2 3 4", "word", "imgs -2 5 1"])
def test_a_bad_line_is_named_or_skipped(tmp_path, line):
    with pytest.raises(DataError, match=r"train\.txt, line 2: "):
        rows_of(tmp_path, f"a.mp4 1\n{line}\n")
    bad_rows = BadRows(skip=True)
    assert len(rows_of(tmp_path, f"a.mp4 1\n{line}\n\nb.mp4 2\n", bad_rows=bad_rows)) == 2
    assert len(bad_rows.messages) == 1


OFFICIAL = 'label,youtube_id,time_start,time_end,split,is_cc\n"air drumming",_dbcJuKJQNs,40,50,val,0\n'


def test_kinetics_official_csv_and_json_say_the_same(tmp_path):
    (row,) = rows_of(tmp_path, OFFICIAL, "kinetics_val.csv")
    record = '{"annotations": {"label": "air drumming", "segment": [40.0, 50.0]}, "subset": "val"}'
    json = f'{{"_dbcJuKJQNs": {record}}}'
    (same,) = rows_of(tmp_path, json, "val.json")
    assert row.names == same.names == ("_dbcJuKJQNs_000040_000050", "_dbcJuKJQNs")
    assert (row.label, row.split, row.group) == (same.label, same.split, same.group)
    assert (row.label, row.split, row.group) == ("air drumming", "val", "_dbcJuKJQNs")


@pytest.mark.parametrize(
    "row", ["abseiling,x,a,b,val,0", "abseiling,x,1,2,val", ",x,1,2,val,0", "abseiling,x,1,2,upper,0"]
)
def test_a_bad_official_row_is_named(tmp_path, row):
    with pytest.raises(DataError, match=r"val\.csv, line 3: "):
        rows_of(tmp_path, OFFICIAL + row + "\n", "val.csv")


def test_an_official_list_without_labels_says_so(tmp_path):
    with pytest.raises(DataError, match="no column label"):
        rows_of(tmp_path, "youtube_id,time_start,time_end,split\nx,1,2,test\n", "test.csv")


def test_a_csv_with_columns_gives_split_and_group(tmp_path):
    content = "path,label,split,source_video,fps\nf/a.mp4,fight,train,tube,25\nf/b.mp4,7,validation,tube,25\n"
    first, second = rows_of(tmp_path, content, "clips.csv")
    assert (first.names, first.label, first.split, first.group) == (("f/a.mp4",), "fight", "train", "tube")
    assert (second.label, second.split) == (7, "val")


def test_something_json_gives_template_and_id(tmp_path):
    content = '[{"id": "78687", "label": "holding potato", "template": "Holding [something]"}]'
    (row,) = rows_of(tmp_path, content, "something-something-v2-validation.json")
    assert (row.names, row.label, row.split, row.group) == (("78687",), "Holding [something]", "val", "78687")


@pytest.mark.parametrize("content", ['[{"id": "1"}]', "[3]", '{"x": 3}'])
def test_a_bad_json_record_is_named(tmp_path, content):
    with pytest.raises(DataError, match=r"train\.json, record (1|x): "):
        rows_of(tmp_path, content, "train.json")


@pytest.mark.parametrize("content", ["", "\n\n", "label,path\n"])
def test_an_empty_list_says_so(tmp_path, content):
    with pytest.raises(DataError, match=r"train\.txt: lists no videos"):
        rows_of(tmp_path, content)


def test_names_of_files_speak_of_splits():
    known = {
        "kinetics400_train_list_videos": "train",
        "something-something-v2-validation": "val",
        "trainlist01": "train",
        "testlist01": "test",
        "test-answers": "test",
        "k400_val": "val",
        "clips": None,
        "constraints": None,
        "train_val": None,
    }
    assert {name: split_named(name) for name in known} == known


def real(shared, name) -> list[Row]:
    return read_list(shared / "data/formats" / name, "val", BadRows())


def test_real_lists_are_read_whole(shared):
    kinetics = real(shared, "k400/val_videomae_format.csv")
    assert (len(kinetics), kinetics[0].names, kinetics[0].label) == (19787, ("0wR5jVB-WPk.mp4",), 341)
    something = real(shared, "ssv2/val_videomae_format.csv")
    assert (len(something), something[0].names, something[0].label) == (24777, ("74225.webm",), 140)
    assert len(real(shared, "ssv2/train_videomae_format_first300.csv")) == 300
    official = real(shared, "k400/deepmind_csv_two_lines.csv")
    assert [row.names[0] for row in official] == ["-3B32lodo2M_000059_000069", "_dbcJuKJQNs_000040_000050"]
    templates = real(shared, "ssv2/official_json_three_rows.json")
    assert [row.label for row in templates][2] == "Moving [something] away from [something]"


def test_real_mmaction2_lists_are_read_and_those_with_many_labels_refused(shared):
    folder = "mmaction2_test_annotations"
    for name, row in {
        "rawframe_test_list": (0, 5, 127),
        "rawframe_test_list_with_offset": (2, 5, 127),
    }.items():
        (first, _) = real(shared, f"{folder}/{name}.txt")
        assert (first.first, first.frames, first.label) == row
    (video, _) = real(shared, f"{folder}/video_test_list.txt")
    assert (video.names, video.label) == (("test.mp4",), 0)
    with pytest.raises(DataError, match=r"video_test_list_multi_label\.txt, line 1: more than one label"):
        real(shared, f"{folder}/video_test_list_multi_label.txt")
