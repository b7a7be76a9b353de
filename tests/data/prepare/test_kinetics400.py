"""Kinetics-400 in every layout it is passed on in gives the same index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.data.prepare.action_layouts import CLASSES, CLIPS, WANTED, frames_folder, told, video

from svit.data.actions import read_action_index
from svit.data.bad_rows import BadRows
from svit.data.prepare.action_index import ActionOptions
from svit.data.prepare.kinetics400 import prepare_kinetics400
from svit.errors import DataError, OutputError, UsageError

ONE = ActionOptions(workers=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def cut(name: str, start: int) -> str:
    return f"{name}_{start:06d}_{start + 10:06d}"


def write_videos(root: Path, cache: Path, name: str) -> None:
    """Videos under a name made of {split}, {label}, {under} (spaces as _), {id} and {cut}."""
    for (split, label, vid, start), frames in CLIPS.items():
        parts = {"split": split, "label": label, "under": label.replace(" ", "_")}
        video(root / name.format(**parts, id=vid, cut=cut(vid, start)), frames, cache)


def write_list(root: Path, name: str, line: str, header: str = "") -> None:
    """A list per split, of lines made of the same and {number}, {start}, {end}."""
    for split in ("train", "val"):
        lines = [header] if header else []
        for (where, label, vid, start), _ in CLIPS.items():
            if where == split:
                under, number = label.replace(" ", "_"), CLASSES.index(label)
                lines.append(
                    line.format(
                        split=split, label=label, under=under, id=vid, cut=cut(vid, start), number=number,
                        start=start, end=start + 10,
                    )
                )  # fmt: skip
        path = root / name.format(split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


HEADER = "label,youtube_id,time_start,time_end,split,is_cc"
OFFICIAL = '"{label}",{id},{start},{end},{split},0'
LAYOUTS = {
    "official csv, cut names": ("{split}/{cut}.mp4", "annotations/{split}.csv", OFFICIAL, HEADER),
    "official csv, bare ids": ("{split}/{id}.mp4", "kinetics_{split}.csv", OFFICIAL, HEADER),
    "official csv, class folders": ("{split}/{label}/{cut}.mp4", "{split}.csv", OFFICIAL, HEADER),
    "official csv, mkv": ("videos/{id}.mkv", "{split}.csv", OFFICIAL, HEADER),
    "torchvision": ("{split}/{label}/{cut}.mp4", "", "", ""),
    "torchvision, spaces as _": ("{split}/{under}/{cut}.mp4", "", "", ""),
    "path label": ("{split}/{under}/{cut}.mp4", "{split}_list.txt", "{under}/{cut}.mp4 {number}", ""),
    "path label with spaces": ("{split}/{label}/{cut}.mp4", "{split}.txt", "{label}/{cut}.mp4 {number}", ""),
    "path,label": ("{split}/{label}/{cut}.mp4", "{split}.csv", "/a/b/{label}/{cut}.mp4,{number}", ""),
    "mmaction2": (
        "videos_{split}/{under}/{cut}.mp4", "kinetics400_{split}_list_videos.txt",
        "{under}/{cut}.mp4 {number}", "",
    ),
    "path,name": ("{split}/{id}.mp4", "{split}.csv", "{id}.mp4,{label}", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_index(tmp_path, cache, name):
    videos, lists, line, header = LAYOUTS[name]
    write_videos(tmp_path / "k400", cache, videos)
    if lists:
        write_list(tmp_path / "k400", lists, line, header)
    prepared = prepare_kinetics400(tmp_path / "k400", tmp_path / "i.json", ONE)
    index = read_action_index(tmp_path / "i.json")
    assert index.classes == CLASSES
    groups = told(index)
    if "{cut}" in videos or "csv" in name:
        assert groups == WANTED
    assert [(s, c, f) for s, c, _, f in groups] == [(s, c, f) for s, c, _, f in WANTED]
    assert index.flip.kind == "any"
    assert all(index.path_of(v).is_file() for v in index.videos)
    assert (prepared.counts, prepared.broken) == ({"train": 2, "val": 1}, 0)


def test_lists_of_frame_folders_give_the_same(tmp_path):
    for (split, label, vid, start), frames in CLIPS.items():
        frames_folder(tmp_path / "k400/rawframes" / label.replace(" ", "_") / cut(vid, start), frames)
        with (tmp_path / f"k400/{split}.txt").open("a") as file:
            file.write(f"{label.replace(' ', '_')}/{cut(vid, start)} {frames} {CLASSES.index(label)}\n")
    prepare_kinetics400(tmp_path / "k400", tmp_path / "i.json", ONE)
    assert told(read_action_index(tmp_path / "i.json")) == WANTED


def test_the_official_json_gives_the_same(tmp_path, cache):
    write_videos(tmp_path / "k400", cache, "{split}/{cut}.mp4")
    for split in ("train", "val"):
        records = {
            vid: {"annotations": {"label": label, "segment": [start, start + 10]}, "subset": split}
            for (where, label, vid, start) in CLIPS
            if where == split
        }
        (tmp_path / f"k400/{split}.json").write_text(json.dumps(records))
    prepare_kinetics400(tmp_path / "k400", tmp_path / "i.json", ONE)
    assert told(read_action_index(tmp_path / "i.json")) == WANTED


@pytest.fixture
def root(tmp_path, cache):
    write_videos(tmp_path / "k400", cache, "{split}/{under}/{cut}.mp4")
    return tmp_path / "k400"


def prepare(root, **options):
    prepared = prepare_kinetics400(root, root.parent / "i.json", ActionOptions(workers=1, **options))
    return prepared, read_action_index(root.parent / "i.json")


def test_another_order_needs_its_label_map(root):
    (root / "map.txt").write_text("arm wrestling\nabseiling\nbowling\n")
    _, index = prepare(root, labels=root / "map.txt")
    assert index.classes == ["arm wrestling", "abseiling", "bowling"]
    assert told(index) == WANTED


def test_fewer_classes_than_there_should_be_are_told(root):
    prepared, _ = prepare(root)
    assert "2 classes, kinetics400 has 400" in prepared.notes[0]
    (root / "map.txt").write_text("abseiling\narm wrestling\n")
    assert prepare(root, labels=root / "map.txt")[0].notes == []


def test_numbers_of_another_order_are_noticed(root):
    write_list(root, "{split}.txt", "{under}/{cut}.mp4 {number}")
    (root / "map.txt").write_text("arm wrestling\nabseiling\n")
    with pytest.raises(
        DataError, match=r"train\.txt, line 1: is labelled 'abseiling' but lies in the folder"
    ):
        prepare(root, labels=root / "map.txt")


def test_numbers_without_names_need_a_label_map(tmp_path, cache):
    write_videos(tmp_path / "k400", cache, "{split}/{id}.mp4")
    write_list(tmp_path / "k400", "{split}.txt", "{id}.mp4 {number}")
    with pytest.raises(DataError, match=r"train\.txt, line 1: labels are numbers without names.*--labels"):
        prepare(tmp_path / "k400")
    (tmp_path / "map.txt").write_text("abseiling\narm wrestling\n")
    assert prepare(tmp_path / "k400", labels=tmp_path / "map.txt")[1].classes == CLASSES


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (" 7", "7 is none of 0-1"),
        (" -1", "-1 is none of 0-1"),
        (",arm wresting", "'arm wresting' is none of the 2 classes; did you mean 'arm wrestling'"),
    ],
)
def test_a_label_outside_the_map_is_named_or_skipped(root, label, message):
    write_list(root, "{split}.txt", "{cut}.mp4 {number}")
    (root / "val.txt").write_text(f"{cut('0wR5jVB-WPk', 0)}.mp4{label}\n")
    (root / "map.txt").write_text("abseiling\narm wrestling\n")
    with pytest.raises(DataError, match=rf"val\.txt, line 1: the label {message}"):
        prepare(root, labels=root / "map.txt")
    bad_rows, options = BadRows(skip=True), ActionOptions(workers=1, labels=root / "map.txt")
    prepared = prepare_kinetics400(root, root.parent / "i.json", options, bad_rows)
    assert (prepared.counts, len(bad_rows.messages)) == ({"train": 2}, 1)


def test_a_video_listed_twice_is_named(root):
    write_list(root, "{split}.txt", "{under}/{cut}.mp4 {number}")
    with (root / "val.txt").open("a") as file:
        file.write(f"abseiling/{cut('_dbcJuKJQNs', 40)}.mp4 0\n")
    with pytest.raises(
        DataError, match=r"val\.txt, line 2: .*mp4 is listed twice, first in .*train\.txt, line 2"
    ):
        prepare(root)


def test_missing_and_broken_videos_are_listed_with_their_reasons_and_nothing_else_is_lost(root):
    write_list(root, "{split}.csv", OFFICIAL, HEADER)
    with (root / "val.csv").open("a") as file:
        file.write("abseiling,gone,1,11,val,0\n")
    next(root.glob("train/arm_wrestling/*.mp4")).write_bytes(b"")
    prepared, index = prepare(root)
    assert (prepared.counts, prepared.broken) == ({"train": 1, "val": 1}, 2)
    missing, empty = index.broken
    assert "val.csv, line 3: gone_000001_000011 is not there" in missing.reason
    assert "is empty (0 bytes)" in empty.reason
    assert (empty.split, index.classes[empty.label]) == ("train", "arm wrestling")
    with pytest.raises(DataError, match=r"gone_000001_000011 is not there.*; 2 of 4 videos are broken"):
        prepare_kinetics400(root, root.parent / "strict.json", ActionOptions(workers=1, strict=True))
    assert not (root.parent / "strict.json").exists()


def test_two_files_of_one_name_are_told_apart_or_listed(root, cache):
    write_list(root, "{split}.csv", OFFICIAL, HEADER)
    (good,) = root.glob("val/arm_wrestling/*.mp4")
    (root / "train/arm_wrestling" / good.name).write_bytes(good.read_bytes())
    _, index = prepare(root)
    assert told(index) == WANTED
    assert [v.path for v in index.of("val")] == [f"val/arm_wrestling/{good.name}"]
    (root / "val/again/arm_wrestling").mkdir(parents=True)
    shutil.copy(good, root / "val/again/arm_wrestling")
    _, index = prepare(root)
    assert "several files are called" in index.broken[0].reason
    assert len(index.videos) == 2


def test_a_dry_run_writes_nothing_and_says_the_same(root):
    options = ActionOptions(workers=1, dry_run=True)
    planned = prepare_kinetics400(root, root.parent / "i.json", options)
    assert [path.name for path in root.parent.iterdir()] == ["k400"]
    assert str(planned) == str(prepare(root)[0])


def test_only_the_index_is_left(root):
    prepare(root)
    assert sorted(path.name for path in root.parent.iterdir()) == ["i.json", "k400"]


def test_index_and_videos_can_move_together(root, tmp_path):
    prepare(root)
    shutil.move(root.parent, tmp_path.parent / f"{tmp_path.name}-moved")
    index = read_action_index(tmp_path.parent / f"{tmp_path.name}-moved" / "i.json")
    assert all(index.path_of(video).is_file() for video in index.videos)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda root: (root / "trainees.csv").write_text("a.mp4 1\n"), None),
        (
            lambda root: (root / "k400_train.txt").write_text("a.mp4 1\n"),
            "both list train; choose with --list",
        ),
        (lambda root: (root / "train.csv").write_text(""), "lists no videos"),
        (lambda root: (root / "val.csv").write_text("a.mp4 0\n"), "a.mp4 is not there"),
    ],
)
def test_which_lists_are_used_is_never_guessed(root, write, message):
    if message and "both" in message:
        (root / "train.csv").write_text("a.mp4 1\n")
    write(root)
    if message is None:
        assert told(prepare(root)[1]) == WANTED
        return
    with pytest.raises(DataError, match=message):
        prepare(root)


def test_a_list_that_does_not_say_its_split_needs_to_be_told(root):
    name = cut("_dbcJuKJQNs", 40)
    (root / "all.txt").write_text(f"{name}.mp4 abseiling\n")
    with pytest.raises(DataError, match=r"all\.txt, line 1: cannot tell its split.*train=FILE"):
        prepare(root, lists=(str(root / "all.txt"),))
    _, index = prepare(root, lists=(f"val={root / 'all.txt'}",))
    assert [video.split for video in index.videos] == ["val"]
    with pytest.raises(UsageError, match="train=FILE"):
        prepare(root, lists=(f"upper={root / 'all.txt'}",))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"workers": 0}, "--workers 0"), ({"rate": 0.0}, "--rate"), ({"pairs": Path("x")}, "--flip swap")],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        ActionOptions(**options)


def test_an_output_that_cannot_be_written_is_said_before_the_work(root, monkeypatch):
    monkeypatch.setattr("svit.data.prepare.action_index.scan_videos", lambda *_: pytest.fail("began to work"))
    for name in ("none/i.json", "i.txt"):
        with pytest.raises(OutputError):
            prepare_kinetics400(root, root.parent / name, ONE)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("")])
def test_an_input_that_is_not_the_data_set_is_an_error(tmp_path, make):
    make(tmp_path / "k400")
    with pytest.raises(DataError):
        prepare_kinetics400(tmp_path / "k400", tmp_path / "i.json", ONE)
