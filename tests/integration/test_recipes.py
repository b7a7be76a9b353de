"""The scripts in runs/: what they call exists, they go on where they were, and the small one really runs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.results import names
from tests.video.clips import write_clip

from svit.cli import main
from svit.train.experiment import load_experiment
from svit.video import open_source

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs"

RECORD = """#!/usr/bin/env bash
printf '%q ' "$(basename "$0")" "$@" >> "$CALLS"
echo >> "$CALLS"
"""


@pytest.fixture
def downloads(tmp_path):
    """The layout that runs/mot17.sh asks for, empty."""
    data = tmp_path / "data"
    for folder in ("MOT17/train", "crowdhuman/train", "MOTSynth/videos", "MOTSynth/annotations"):
        (data / folder).mkdir(parents=True)
    for name in ("annotation_train.odgt", "annotation_val.odgt"):
        (data / "crowdhuman" / name).touch()
    (tmp_path / "clip.pt").touch()
    return data


@pytest.fixture
def mot17(tmp_path, downloads):
    """Runs runs/mot17.sh with programs that only write down how they were called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("svit", "torchrun"):
        (programs / name).write_text(RECORD)
        (programs / name).chmod(0o755)
    calls = tmp_path / "calls.txt"

    def run(**variables):
        calls.write_text("")
        environment = {
            **os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls),
            "DATA": str(downloads), "CLIP": str(tmp_path / "clip.pt"), "OUTPUT": str(tmp_path / "out"),
            **variables,
        }  # fmt: skip
        done = subprocess.run(
            [RUNS / "mot17.sh"], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done, [shlex.split(line) for line in calls.read_text().splitlines()]

    return run


def commands(calls):
    """The words behind `svit`, also of those that torchrun starts."""
    return [words[words.index("svit.cli") + 1 :] if "svit.cli" in words else words[1:] for words in calls]


def test_the_papers_run_calls_commands_that_exist_with_settings_that_exist(mot17):
    done, calls = mot17()
    assert done.returncode == 0, done.stderr
    words = commands(calls)
    assert [" ".join(call[:2]) for call in words] == [
        "prepare crowdhuman", "prepare mot", "prepare motsynth-frames", "prepare motsynth",
        *["prepare check"] * 5, "train mot17-base", "train mot17-base", "eval mot17-half",
    ]  # fmt: skip
    for call in words:
        assert main([*call, "--help"]) == 0
    training = load_experiment(
        "mot17-base", [word for word in words[-2][2:] if not word.startswith("output=")]
    )
    for source in training.data.sources:
        written = {word for call in words[:4] for word in call}
        path = training.data.root / source.annotations
        assert {str(path), str(path.parent)} & written, "it is what was prepared"
    assert str(training.evaluate.root) == words[-1][words[-1].index("--data") + 1]


@pytest.mark.parametrize("gpus", [1, 2, 4, 8, 16])
def test_every_number_of_gpus_takes_sixteen_clips_a_step(mot17, gpus):
    _, calls = mot17(GPUS=str(gpus))
    training = calls[-2]
    assert training[training.index("--nproc-per-node") + 1] == str(gpus)
    settings = dict(word.split("=") for word in training if "=" in word)
    assert gpus * int(settings["batch"]) * int(settings["accumulate"]) == 16


def test_what_is_prepared_is_not_prepared_again(mot17, downloads):
    for name in (
        "crowdhuman/annotations/crowdhuman_val.json", "MOT17/annotations/half-val_cocoformat.json",
        "MOTSynth/all_cocoformat.json",
    ):  # fmt: skip
        (downloads / name).parent.mkdir(exist_ok=True)
        (downloads / name).touch()
    words = commands(mot17()[1])
    assert [call[1] for call in words if call[0] == "prepare" and call[1] != "check"] == ["motsynth-frames"]


@pytest.mark.parametrize("missing", ["MOTSynth/videos", "crowdhuman/annotation_val.odgt"])
def test_a_download_that_is_missing_is_one_line_before_anything_is_done(mot17, downloads, missing):
    path = downloads / missing
    path.rmdir() if path.is_dir() else path.unlink()
    done, calls = mot17()
    assert (done.returncode, calls) == (1, [])
    assert done.stderr == f"runs/mot17.sh: {path} is not there; the head of this file says where to get it\n"


def test_a_number_of_gpus_that_does_not_fit_is_one_line(mot17):
    done, calls = mot17(GPUS="3")
    assert (done.returncode, calls) == (2, [])
    assert "GPUS=3 does not divide 16 clips" in done.stderr


@pytest.mark.slow
def test_the_small_run_learns_its_clips_by_heart_scores_and_tracks(tmp_path):
    with open_source(ROOT / "src/svit/assets/one-by-one.mp4") as sample:
        write_clip(tmp_path / "short.mp4", [frame.image for frame, _ in zip(sample, range(8), strict=False)])
    command = tmp_path / "svit"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m svit.cli "$@"\n')
    command.chmod(0o755)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT / "src"), "SVIT": str(command), "OUTPUT": str(tmp_path / "out"),
        "FRAMES": "235-264", "VIDEO": str(tmp_path / "short.mp4"),
    }  # fmt: skip
    done = subprocess.run(
        [RUNS / "cpu.sh"], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == ["clips.png", "eval", "tracks.mp4", "tracks.txt", "train"]
    assert (tmp_path / "out" / "eval" / "report.html").is_file()
    for said in ("clips/s per worker", "weights: ", "HOTA", "summary:       8 frames"):
        assert said in done.stdout
    scores = json.loads((tmp_path / "out" / "eval" / "results.json").read_text())["COMBINED"]
    assert scores["detection"]["mAP@0.50"] > 90, "it has learned these frames by heart"
    assert scores["tracking"]["MOTA"] > 60
