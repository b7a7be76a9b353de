"""`svit prepare mot` and `svit prepare crowdhuman`: their lines, their exit status, and runs broken off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from tests.data.prepare.layouts import jpeg, tree, write_crowdhuman, write_mot
from tests.integration.results import names, one_line

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def prepare(command):
    """Runs `svit prepare` with these words; returns status, stdout, stderr."""

    def run(*words):
        return command("prepare", *words)

    return run


def test_mot_writes_the_official_names_and_says_what_is_in_them(prepare, here):
    write_mot(here / "MOT17")
    words = ("-i", "MOT17", "-o", "MOT17/annotations", "--split-train", "--convert-det")
    status, out, err = prepare("mot", *words)
    assert (status, err) == (0, ""), "no progress bar where stderr is no terminal"
    assert names(here / "MOT17/annotations") == [
        f"{subset}_{kind}.json"
        for subset in ("half-train", "half-val", "test", "train")
        for kind in ("cocoformat", "detections")
    ]
    assert out.splitlines()[:3] == [
        "MOT17/annotations/train_cocoformat.json: 2 videos, 10 images, 6 boxes, 4 ids, 2 rows dropped",
        "MOT17/annotations/train_detections.json: 10 images, 4 boxes",
        "MOT17/annotations/test_cocoformat.json: 1 videos, 3 images",
    ]
    assert "MOT17/train/*/gt/gt_half-train.txt: 2 files, 8 rows" in out


def test_mot_options_reach_the_converter(prepare, here):
    write_mot(here / "MOT17")
    before = tree(here / "MOT17")
    words = ("--split-train", "--convert-det", "--det-format", "npz", "--no-write-gt", "--drop-ignored")
    status, out, _ = prepare("mot", "-i", "MOT17", "-o", "out", *words)
    assert status == 0
    assert "train_cocoformat.json: 2 videos, 10 images, 4 boxes" in out
    assert "out/train_detections.npz" in out
    assert tree(here / "MOT17") == before
    status, _, err = prepare("mot", "-i", "MOT17", "-o", "out", "--det-format", "pkl")
    assert status == 2
    one_line(err, "pkl")


@pytest.mark.parametrize(("name", "write"), [("mot", write_mot), ("crowdhuman", write_crowdhuman)])
def test_a_dry_run_says_the_same_and_writes_nothing(prepare, here, name, write):
    write(here / "set")
    before = tree(here)
    status, planned, err = prepare(name, "-i", "set", "-o", "out", "--dry-run")
    assert (status, err) == (0, "")
    assert tree(here) == before
    assert not (here / "out").exists()
    _, done, _ = prepare(name, "-i", "set", "-o", "out")
    assert planned.splitlines() == [f"would write {line}" for line in done.splitlines()]


@pytest.mark.parametrize(
    ("name", "write", "path", "line"),
    [
        ("mot", write_mot, "train/SEQ-01/gt/gt.txt", "1,2,3"),
        ("crowdhuman", write_crowdhuman, "annotation_train.odgt", "{}"),
    ],
)
def test_a_bad_row_ends_the_run_or_is_skipped_and_counted(prepare, here, name, write, path, line):
    write(here / "set")
    for _ in range(7):
        with (here / "set" / path).open("a") as file:
            file.write(line + "\n")
    status, out, err = prepare(name, "-i", "set", "-o", "out")
    assert (status, out) == (1, "")
    one_line(err, rf"set/{path}, line \d+: ")
    status, out, err = prepare(name, "-i", "set", "-o", "out", "--skip-bad")
    assert status == 0
    assert out
    assert err.splitlines()[-1] == "svit: warning: 7 bad rows skipped"
    assert len(err.splitlines()) == 7


def test_crowdhuman_unpacks_on_request(prepare, here):
    write_crowdhuman(here / "crowdhuman", zipped=True)
    words = ("-i", "crowdhuman", "-o", "crowdhuman/annotations")
    status, out, err = prepare("crowdhuman", *words)
    assert (status, err) == (0, "")
    assert "3 pictures still zipped" in out
    status, out, err = prepare("crowdhuman", *words, "--extract")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "crowdhuman/train/Images: 3 pictures",
        "crowdhuman/annotations/crowdhuman_train.json: 3 images, 3 boxes, 1 ignored boxes",
        "crowdhuman/val/Images: 1 pictures",
        "crowdhuman/annotations/crowdhuman_val.json: 1 images, 1 boxes, 0 ignored boxes",
    ]


@pytest.mark.parametrize("name", ["mot", "crowdhuman"])
def test_a_root_one_level_too_high_is_one_line(prepare, here, name):
    {"mot": write_mot, "crowdhuman": write_crowdhuman}[name](here / "data" / "set")
    status, out, err = prepare(name, "-i", "data", "-o", "out")
    assert (status, out) == (1, "")
    one_line(err, "one level too high: give data/set$")


@pytest.mark.parametrize("name", ["mot", "crowdhuman"])
def test_input_and_output_must_be_named(prepare, name):
    status, _, err = prepare(name)
    assert status == 2
    one_line(err, "'-i'")


def test_a_killed_extraction_leaves_whole_pictures_only_and_goes_on(here):
    root = here / "crowdhuman"
    root.mkdir()
    count, picture = 1500, jpeg(64, 48)
    with zipfile.ZipFile(root / "CrowdHuman_train01.zip", "w") as archive:
        for number in range(count):
            archive.writestr(f"Images/{number}.jpg", picture)
    rows = [json.dumps({"ID": str(number), "gtboxes": []}) for number in range(count)]
    (root / "annotation_train.odgt").write_text("\n".join(rows))
    command = [sys.executable, "-m", "svit.cli", "prepare", "crowdhuman", "-i", root, "-o", here, "--extract"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    images, deadline = root / "train" / "Images", time.monotonic() + 60
    while not images.is_dir() or len(list(images.iterdir())) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    whole = list(images.glob("*.jpg"))
    assert 0 < len(whole) < count, "killed in the middle"
    assert all(path.read_bytes() == picture for path in whole if not path.name.startswith("."))
    assert not (here / "crowdhuman_train.json").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    left = int(done.stdout.split("Images: ")[1].split()[0])
    assert left == count - len(whole)
    assert len(json.loads((here / "crowdhuman_train.json").read_text())["images"]) == count
    assert len(names(images)) == count
