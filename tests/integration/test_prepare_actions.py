"""`svit prepare kinetics400 | ssv2 | video-folder`: lines, exit status, and runs that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.data.prepare.action_layouts import CLIPS, video
from tests.data.prepare.layouts import tree
from tests.integration.results import names, one_line

from svit.cli import main
from svit.data.actions import read_action_index

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def prepare(command):
    """Runs `svit prepare` with these words and one worker; returns status, stdout, stderr."""

    def run(*words):
        return command("prepare", *words, "--workers", "1")

    return run


@pytest.fixture
def kinetics(here, cache):
    for (split, label, name, _), frames in CLIPS.items():
        video(here / f"k400/{split}/{label}/{name}.mp4", frames, cache)
    return here / "k400"


def test_kinetics_says_what_is_in_it_and_warns_of_its_few_classes(prepare, kinetics, here):
    status, out, err = prepare("kinetics400", "-i", "k400", "-o", "k400.json")
    assert (status, out) == (0, "k400.json: 2 classes, 3 videos (2 train, 1 val); flip: any\n")
    one_line(err, "2 classes, kinetics400 has 400", kind="warning")
    assert names(here) == ["k400", "k400.json"]


def test_broken_videos_are_warned_of_and_the_rest_is_indexed(prepare, kinetics):
    (kinetics / "val/abseiling").mkdir()
    for number in range(7):
        (kinetics / f"val/abseiling/{number}.mp4").write_bytes(b"")
    words = ("kinetics400", "-i", "k400", "-o", "k400.json")
    status, out, err = prepare(*words)
    assert status == 0
    assert "3 videos (2 train, 1 val), 7 broken" in out
    lines = [line for line in err.splitlines() if "classes" not in line]
    assert len(lines) == 6
    assert lines[0] == "svit: warning: k400/val/abseiling/0.mp4: is empty (0 bytes)"
    assert lines[-1] == "svit: warning: 7 videos cannot be used; the index lists them"
    assert len(read_action_index(kinetics.parent / "k400.json").broken) == 7
    status, out, err = prepare(*words[:-1], "strict.json", "--strict")
    assert (status, out) == (1, "")
    one_line(err, r"0\.mp4: is empty \(0 bytes\); 7 of 10 videos are broken")
    assert not (kinetics.parent / "strict.json").exists()


def test_a_dry_run_says_the_same_and_writes_nothing(prepare, kinetics, here):
    before = tree(here)
    status, planned, _ = prepare("kinetics400", "-i", "k400", "-o", "k400.json", "--dry-run")
    assert status == 0
    assert tree(here) == before
    assert planned == "would write " + prepare("kinetics400", "-i", "k400", "-o", "k400.json")[1]


def test_ssv2_is_indexed_and_never_mirrored_unless_told(prepare, here, cache):
    for name in ("1", "2"):
        video(here / f"ssv2/{name}.webm", 4, cache)
    templates = {"1": "Pushing [something] from left to right", "2": "Pushing [something] from right to left"}
    rows = [{"id": name, "template": template} for name, template in templates.items()]
    (here / "ssv2/train.json").write_text(json.dumps(rows))
    status, out, _ = prepare("ssv2", "-i", "ssv2", "-o", "i.json")
    assert (status, out) == (0, "i.json: 2 classes, 2 videos (2 train); flip: never\n")
    assert prepare("ssv2", "-i", "ssv2", "-o", "i.json", "--flip", "swap")[1].endswith("flip: swap\n")
    assert read_action_index(here / "i.json").mirrored == [1, 0]


def test_a_folder_is_split_by_group(prepare, here, cache):
    for group in range(5):
        for clip in range(2):
            video(here / f"set/walk/g{group}_{clip}.mp4", 4, cache)
    words = ("video-folder", "-i", "set", "-o", "i.json", "--group-by", r"g\d", "--val", "0.4")
    status, out, err = prepare(*words)
    assert (status, out, err) == (0, "i.json: 1 classes, 10 videos (6 train, 4 val); flip: never\n", "")
    first = read_action_index(here / "i.json").videos
    groups = {video.group: video.split for video in first}
    assert all(groups[video.group] == video.split for video in first)
    prepare(*words)
    assert read_action_index(here / "i.json").videos == first


def test_a_bad_row_ends_the_run_or_is_skipped_and_counted(prepare, kinetics):
    name = next(kinetics.glob("train/abseiling/*")).name
    (kinetics / "train.csv").write_text(f"{name},abseiling\nnonsense\n")
    status, out, err = prepare("kinetics400", "-i", "k400", "-o", "i.json")
    assert (status, out) == (1, "")
    one_line(err, r"k400/train\.csv, line 2: must be `path label`")
    status, out, err = prepare("kinetics400", "-i", "k400", "-o", "i.json", "--skip-bad")
    assert (status, "1 videos" in out) == (0, True)
    assert "svit: warning: 1 bad rows skipped" in err


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("kinetics400", "-i", "none", "-o", "i.json"), 1),
        (("ssv2", "-i", "k400", "-o", "i.json"), 1),
        (("kinetics400", "-i", "k400", "-o", "i.txt"), 1),
        (("kinetics400", "-i", "k400", "-o", "none/i.json"), 1),
        (("kinetics400", "-i", "k400", "-o", "i.json", "--flip", "sometimes"), 2),
        (("kinetics400", "-i", "k400", "-o", "i.json", "--pairs", "x"), 2),
        (("video-folder", "-i", "k400", "-o", "i.json", "--val", "2"), 2),
        (("video-folder", "-i", "k400", "-o", "i.json", "--group-by", "("), 2),
    ],
)
def test_what_is_wrong_is_one_line(prepare, kinetics, words, status):
    got, out, err = prepare(*words)
    assert (got, out) == (status, "")
    one_line(err, "")
    assert names(kinetics.parent) == ["k400"]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_goes_on_where_it_was(here, cache, sent):
    count = 150
    for number in range(count):
        video(here / f"set/walk/{number:03d}.mp4", 4, cache)
    words = ["prepare", "video-folder", "-i", "set", "-o", "i.json", "--workers"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    run = subprocess.Popen([sys.executable, "-m", "svit.cli", *words, "2"], env=env, stderr=subprocess.PIPE)
    journal = here / ".i.json.scan"
    try:
        wait_for(lambda: journal.exists() and journal.read_text().count("\n") > 5)
    finally:
        run.send_signal(sent)
        run.communicate(timeout=60)
    assert run.returncode != 0
    done = journal.read_text().count("\n") - 1
    assert 5 <= done < count
    assert not (here / "i.json").exists()
    before = [line for line in journal.read_text().splitlines() if line.endswith("}]")]
    assert main([*words, "1"]) == 0
    index = read_action_index(here / "i.json")
    assert [each.path for each in index.videos] == [f"walk/{number:03d}.mp4" for number in range(count)]
    assert {each.frames for each in index.videos} == {4}
    assert len(before) >= 5
    assert names(here) == ["i.json", "set"]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
