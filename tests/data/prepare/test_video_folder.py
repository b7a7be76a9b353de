"""Any folder of class folders: split by what videos were cut from, always the same way."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from tests.data.prepare.action_layouts import frames_folder, video

from svit.data.actions import read_action_index
from svit.data.actions.lists import Row
from svit.data.prepare.action_index import ActionOptions
from svit.data.prepare.action_rows import Entry
from svit.data.prepare.video_folder import SplitOptions, prepare_video_folder, split_by_group
from svit.errors import DataError, UsageError


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def root(tmp_path, cache):
    """UCF101's names: class folders, and clips cut from four sources each."""
    for name in ("Archery", "Bowling"):
        for group in range(1, 5):
            for clip in range(1, 3):
                video(tmp_path / f"ucf/{name}/v_{name}_g{group:02d}_c{clip:02d}.mp4", 4, cache)
    return tmp_path / "ucf"


def prepare(root: Path, split: SplitOptions | None = None, **options):
    prepare_video_folder(root, root.parent / "i.json", ActionOptions(workers=1, **options), split)
    return read_action_index(root.parent / "i.json")


def groups_of(index):
    return {split: {video.group for video in index.of(split)} for split in index.splits}


UCF = SplitOptions(group_by=r"v_\w+_g\d+")


def test_classes_are_folders_and_groups_stay_together(root):
    index = prepare(root, UCF)
    assert index.classes == ["Archery", "Bowling"]
    groups = groups_of(index)
    assert groups["train"].isdisjoint(groups["val"])
    assert groups["train"] | groups["val"] == {f"v_{n}_g{g:02d}" for n in index.classes for g in range(1, 5)}
    assert Counter(video.label for video in index.of("val")) == {0: 2, 1: 2}
    assert index.flip.kind == "never"
    assert index.name == "ucf"


def test_the_split_is_the_same_again_and_another_with_another_seed(root):
    first = groups_of(prepare(root, UCF))
    assert groups_of(prepare(root, UCF)) == first
    seeds = [groups_of(prepare(root, SplitOptions(UCF.group_by, seed=seed)))["val"] for seed in range(1, 6)]
    assert any(groups != first["val"] for groups in seeds)


def test_the_split_does_not_depend_on_the_order_of_files():
    entries = [Entry(Row("l", ("x",), 0), f"{n % 7}/{n}.mp4", n % 2) for n in range(70)]
    split = SplitOptions(group_by="folder")
    forward = {entry.path: entry.row.split for entry in split_by_group(entries, split)}
    backward = {entry.path: entry.row.split for entry in split_by_group(entries[::-1], split)}
    assert forward == backward


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_the_share_for_validation_is_about_kept_in_each_class(share):
    entries = [Entry(Row("l", ("x",), 0), f"{n // 3}/{n}.mp4", n // 300) for n in range(900)]
    split = split_by_group(entries, SplitOptions("folder", val=share))
    counts = Counter(entry.label for entry in split if entry.row.split == "val")
    for label in range(3):
        assert counts[label] == pytest.approx(share * 300, abs=3)


def test_no_share_puts_all_in_training(root):
    assert prepare(root, SplitOptions(val=0)).splits == ["train"]


def test_a_single_group_of_a_class_is_for_training():
    entries = [Entry(Row("l", ("x",), 0), f"{n}/{k}.mp4", n) for n in range(2) for k in range(4)]
    assert {entry.row.split for entry in split_by_group(entries, SplitOptions("folder"))} == {"train"}


def test_folders_of_splits_are_kept(root, tmp_path, cache):
    for split in ("train", "val"):
        for number, name in enumerate(("Archery", "Bowling")):
            video(tmp_path / f"set/{split}/{name}/{split}{number}.mp4", 4, cache)
    index = prepare(tmp_path / "set")
    assert {video.path for video in index.of("val")} == {"val/Archery/val0.mp4", "val/Bowling/val1.mp4"}


def test_a_group_on_both_sides_is_an_error_unless_split_anew(tmp_path, cache):
    for split in ("train", "val"):
        video(tmp_path / f"set/{split}/a/tube7_{split}.mp4", 4, cache)
        video(tmp_path / f"set/{split}/a/{split}_x.mp4", 4, cache)
    group = r"tube\d+|\w+_x"
    with pytest.raises(DataError, match="'tube7' is in train and in val; what is cut from one video must be"):
        prepare(tmp_path / "set", SplitOptions(group))
    groups = groups_of(prepare(tmp_path / "set", SplitOptions(group, val=0.4)))
    assert groups["train"].isdisjoint(groups["val"])


def test_a_list_gives_labels_splits_and_groups(tmp_path, cache):
    rows = ["path,label,split,source_video"]
    for number in range(6):
        video(tmp_path / f"set/clips/{number}.mp4", 4, cache)
        rows.append(f"clips/{number}.mp4,{'fight' if number % 2 else 'calm'},{'val' if number > 3 else 'train'},t{number // 2}")  # fmt: skip  # noqa: E501
    (tmp_path / "set/clips.csv").write_text("\n".join(rows))
    index = prepare(tmp_path / "set", flip="any")
    assert index.classes == ["calm", "fight"]
    assert groups_of(index) == {"train": {"t0", "t1"}, "val": {"t2"}}
    assert index.flip.kind == "any"
    (tmp_path / "set/clips.csv").write_text("\n".join(rows).replace("5.mp4,fight,val", "5.mp4,fight,train"))
    with pytest.raises(DataError, match=r"clips\.csv, line 7: 't2' is in val and in train"):
        prepare(tmp_path / "set")


def test_folders_of_frames_are_videos(tmp_path):
    for name in ("a", "b"):
        for number in range(2):
            frames_folder(tmp_path / f"set/{name}/clip{number}", 3)
    index = prepare(tmp_path / "set", rate=10.0)
    assert {(video.path, video.frames) for video in index.videos} == {
        (f"{name}/clip{number}", 3) for name in "ab" for number in range(2)
    }


def test_two_files_of_one_name_in_two_folders_are_two_videos(tmp_path, cache):
    for name in ("a", "b"):
        for number in range(2):
            video(tmp_path / f"set/{name}/{number}.mp4", 4, cache)
    shutil.copy(tmp_path / "set/a/0.mp4", tmp_path / "set/a/0.mkv")
    assert len(prepare(tmp_path / "set").videos) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"val": 1.0}, "--val 1.0"), ({"val": -0.1}, "--val"), ({"group_by": "("}, "no regular expression")],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        SplitOptions(**options)


def test_a_pattern_that_matches_nothing_is_named(root):
    with pytest.raises(DataError, match=r"g01_c01\.mp4: --group-by nothing matches nothing"):
        prepare(root, SplitOptions("nothing"))


def test_a_video_in_no_class_folder_is_named(root, cache):
    video(root / "stray.mp4", 4, cache)
    with pytest.raises(DataError, match=r"stray\.mp4: lies in no class folder"):
        prepare(root)


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="no lists, and no videos in class folders"):
        prepare(tmp_path / "set")


def test_the_real_clips_keep_their_split_by_source_video(shared, tmp_path):
    options = ActionOptions(workers=1, dry_run=True)
    folder = shared / "data/actions/fight_surv"
    prepared = prepare_video_folder(folder, tmp_path / "i.json", options)
    assert prepared.counts == {"train": 143, "val": 35}
    assert prepared.index.classes == ["fight", "noFight"]
