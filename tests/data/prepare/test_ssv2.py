"""Something-Something v2: official layouts and lists give the same index, which is not to be mirrored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.prepare.action_layouts import frames_folder, told, video

from svit.data.actions import read_action_index
from svit.data.actions.labels import read_label_map
from svit.data.prepare.action_index import ActionOptions, mirrored_pairs
from svit.data.prepare.ssv2 import prepare_ssv2
from svit.errors import DataError

LEFT, RIGHT = "Pushing something from right to left", "Pushing something from left to right"
HOLDING = "Holding something next to something"
CLASSES = [HOLDING, RIGHT, LEFT]
CLIPS = {"78687": ("train", HOLDING, 5), "42326": ("train", LEFT, 6), "145274": ("val", RIGHT, 7)}
WANTED = sorted((split, label, name, frames) for name, (split, label, frames) in CLIPS.items())


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def bracketed(label: str) -> str:
    return label.replace("something", "[something]")


def write_videos(root: Path, cache: Path, folder: str = "20bn-something-something-v2") -> None:
    for name, (_, _, frames) in CLIPS.items():
        video(root / folder / f"{name}.webm", frames, cache)


def write_json(root: Path, labels: str, train: str, val: str, test: str) -> None:
    def put(name: str, value: object) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(value))

    put(labels, {name: str(number) for number, name in enumerate(CLASSES)})
    for split, name in (("train", train), ("val", val)):
        rows = [
            {"id": key, "label": "", "template": bracketed(label), "placeholders": []}
            for key, (where, label, _) in CLIPS.items()
            if where == split
        ]
        put(name, rows)
    put(test, [{"id": "1420"}])


def write_official(root: Path) -> None:
    write_json(root, "labels/labels.json", "labels/train.json", "labels/validation.json", "labels/test.json")


def write_long_names(root: Path) -> None:
    stem = "something-something-v2-"
    write_json(root, *(f"{stem}{name}.json" for name in ("labels", "train", "validation", "test")))


def write_lists(root: Path, line: str, labels: bool = True) -> None:
    if labels:
        (root / "labels.json").write_text(json.dumps({name: str(n) for n, name in enumerate(CLASSES)}))
    for split in ("train", "val"):
        lines = [
            line.format(id=name, number=CLASSES.index(label), label=label, frames=frames)
            for name, (where, label, frames) in CLIPS.items()
            if where == split
        ]
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")


LAYOUTS = {
    "official": write_official,
    "official, long names": write_long_names,
    "path label": lambda root: write_lists(root, "{id}.webm {number}"),
    "path,label": lambda root: write_lists(root, "videos/{id}.mp4,{number}"),
    "id;name": lambda root: write_lists(root, "{id};{label}", labels=False),
}


def prepare(root: Path, **options):
    prepared = prepare_ssv2(root, root.parent / "i.json", ActionOptions(workers=1, **options))
    return prepared, read_action_index(root.parent / "i.json")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_index(tmp_path, cache, name):
    root = tmp_path / "ssv2"
    write_videos(root, cache)
    LAYOUTS[name](root)
    _, index = prepare(root)
    assert index.classes == CLASSES
    assert [row[:2] + row[3:] for row in told(index)] == [row[:2] + row[3:] for row in WANTED]
    assert {Path(group).stem for _, _, group, _ in told(index)} == set(CLIPS)
    assert index.flip.kind == "never"


@pytest.mark.parametrize("layout", ["json", "list"])
def test_folders_of_frames_are_videos(tmp_path, layout):
    root = tmp_path / "ssv2"
    for name, (_, _, frames) in CLIPS.items():
        frames_folder(root / "rawframes" / name, frames)
    write_official(root) if layout == "json" else write_lists(root, "{id} {frames} {number}")
    _, index = prepare(root, rate=12.0)
    assert [row[:2] + row[3:] for row in told(index)] == [row[:2] + row[3:] for row in WANTED]
    assert {video.rate for video in index.videos} == {12.0}


def test_videos_may_be_elsewhere(tmp_path, cache):
    write_videos(tmp_path / "videos", cache, ".")
    write_official(tmp_path / "ssv2")
    _, index = prepare(tmp_path / "ssv2", videos=tmp_path / "videos")
    assert len(index.videos) == 3


@pytest.mark.parametrize("name", ["ssv2", "kinetics400", "flip_me"])
def test_it_is_not_mirrored_whatever_its_folder_is_called(tmp_path, cache, name):
    write_videos(tmp_path / name, cache)
    write_official(tmp_path / name)
    assert prepare(tmp_path / name)[1].flip.kind == "never"


def test_swapping_pairs_left_and_right_on_request(tmp_path, cache):
    write_videos(tmp_path / "ssv2", cache)
    write_official(tmp_path / "ssv2")
    _, index = prepare(tmp_path / "ssv2", flip="swap")
    assert index.mirrored == [0, 2, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [("p.csv", f"{LEFT},{RIGHT}\n"), ("p.json", json.dumps([[bracketed(RIGHT), bracketed(LEFT)]]))],
)
def test_pairs_may_be_given(tmp_path, cache, name, content):
    write_videos(tmp_path / "ssv2", cache)
    write_official(tmp_path / "ssv2")
    (tmp_path / name).write_text(content)
    _, index = prepare(tmp_path / "ssv2", flip="swap", pairs=tmp_path / name)
    assert index.mirrored == [0, 2, 1]


@pytest.mark.parametrize("content", ["one,two,three\n", f"{LEFT},no such class\n"])
def test_bad_pairs_are_named(tmp_path, cache, content):
    write_videos(tmp_path / "ssv2", cache)
    write_official(tmp_path / "ssv2")
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(DataError, match=r"p\.csv: must be pairs|no class 'no such class'"):
        prepare(tmp_path / "ssv2", flip="swap", pairs=tmp_path / "p.csv")


def test_the_real_classes_have_three_pairs(shared):
    classes = read_label_map(shared / "data/formats/ssv2/label_map_sthv2.txt")
    pairs = mirrored_pairs(classes)
    assert [one for one, _ in pairs] == [
        "Pulling something from left to right",
        "Pushing something from left to right",
        "Turning the camera left while filming something",
    ]


def test_a_side_without_its_counterpart_is_an_error():
    with pytest.raises(DataError, match="'Turning left' has no counterpart 'Turning right'"):
        mirrored_pairs(["Turning left", "Standing"])
    with pytest.raises(DataError, match="no class speaks of left or right"):
        mirrored_pairs(["Standing"])


def test_the_test_set_comes_with_its_answers_only(tmp_path, cache):
    write_videos(tmp_path / "ssv2", cache)
    video(tmp_path / "ssv2/20bn-something-something-v2/1420.webm", 8, cache)
    write_official(tmp_path / "ssv2")
    assert prepare(tmp_path / "ssv2")[0].counts == {"train": 2, "val": 1}
    (tmp_path / "ssv2/labels/test-answers.csv").write_text(f"1420;{HOLDING}\n")
    assert prepare(tmp_path / "ssv2")[0].counts == {"train": 2, "val": 1, "test": 1}


def test_a_template_outside_the_map_is_named(tmp_path, cache):
    write_videos(tmp_path / "ssv2", cache)
    write_official(tmp_path / "ssv2")
    rows = [{"id": "78687", "template": "Holding [something] next to [somebody]"}]
    (tmp_path / "ssv2/labels/train.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=rf"train\.json, record 1: the label .* did you mean '{HOLDING}'"):
        prepare(tmp_path / "ssv2")


def test_without_lists_it_says_what_it_expects(tmp_path, cache):
    write_videos(tmp_path / "ssv2", cache)
    with pytest.raises(DataError, match=r"no lists; expected train\.json"):
        prepare(tmp_path / "ssv2")


def test_the_real_rows_find_their_classes(shared, tmp_path, cache):
    root, formats = tmp_path / "ssv2", shared / "data/formats/ssv2"
    for name in ("78687", "42326", "145274"):
        video(root / f"{name}.webm", 5, cache)
    (root / "labels.json").write_text((formats / "labels_DiST.json").read_text())
    (root / "train.json").write_text((formats / "official_json_three_rows.json").read_text())
    prepared, index = prepare(root)
    assert (len(index.classes), prepared.notes) == (174, [])
    labels = {video.group: video.label for video in index.videos}
    listed = dict(
        line.split() for line in (formats / "train_videomae_format_first300.csv").read_text().splitlines()
    )
    assert labels["78687"] == int(listed["78687.webm"])
    assert labels["42326"] == int(listed["42326.webm"])
