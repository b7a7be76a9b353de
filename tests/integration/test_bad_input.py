"""Bad input on the command line: one line, the right status, nothing half-written, nothing executed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.integration.results import names, one_line, truncated
from tests.integration.samples import lively_model, moving, write_images
from tests.video.clips import write_clip

from svit.weights import save


def make_wrong_source(kind: str, folder: Path, clip: Path) -> Path:
    path = folder / "wrong.mp4"
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            truncated(path, clip, 0.5)
        case "text":
            path.write_text("not a video\n" * 100)
        case "bytes":
            path.write_bytes(np.random.default_rng(0).bytes(5000))
        case "text file":
            path = folder / "notes.txt"
            path.write_text("a shopping list\n" * 50)
        case "empty folder":
            path = folder / "images"
            path.mkdir()
        case "broken first image":
            path = write_images(folder / "images", moving(2))
            (path / "0000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no such file or folder; check the path"),
        ("empty", "the file is empty"),
        ("truncated", "cut off|damaged or incomplete"),
        ("text", "not a video file, or damaged"),
        ("bytes", "not a video file, or damaged"),
        ("text file", "not a video|holds no video"),
        ("empty folder", "no images in this folder"),
        ("broken first image", r"0000\.png: cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line_and_status_1(track, clip, tmp_path, here, kind, says):
    path = make_wrong_source(kind, tmp_path, clip)
    status, out, err = track(path, "-o", "a.mp4", "--mot", "a.txt")
    assert (status, out) == (1, "")
    one_line(err, says)
    assert str(path) in err
    assert names(here) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for a device file")
def test_a_camera_that_is_not_there_is_one_line(track):
    status, out, err = track("97")
    assert (status, out) == (1, "")
    one_line(err, "camera 97: not found")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["track", "CLIP", "--memry", "3"], "No such option.*--memory"),
        (["trak", "CLIP"], "No such command 'trak'.*track"),
        (["track"], "(?i)source"),
        (["track", "CLIP", "--memory", "a"], "'--memory'.*integer"),
        (
            ["track", "CLIP", "--model", "CHECKPOINT", "--memory", "0"],
            "memory capacity must be 1 frame or more, got 0",
        ),
        (["track", "CLIP", "--model", "tiny-persn"], "did you mean 'tiny-person'"),
        (["track", "CLIP", "--model", "bse"], "no model or file 'bse'; did you mean 'base'"),
        (["track", "CLIP", "--model", "base"], "no weights come with the preset 'base'"),
        (["track", "CLIP", "--precision", "fp61"], "unknown precision 'fp61'; did you mean 'fp16'"),
        (["track", "CLIP", "--device", "gpu"], "device 'gpu' cannot be used here"),
        (["track", "CLIP", "--no-video", "-o", "a.mp4"], "-o asks for a video and --no-video for none"),
        (["convert-checkpoint", "one"], "(?i)target"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_is_one_line_and_status_2(command, checkpoint, clip, here, words, says):
    files = {"CLIP": clip, "CHECKPOINT": checkpoint}
    status, out, err = command(*(files.get(word, word) for word in words))
    assert (status, out) == (2, "")
    one_line(err, says)
    assert names(here) == []


class Malicious:
    """Unpickling it would make a folder."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def make_wrong_checkpoint(kind: str, good: Path) -> Path:
    path = Path("wrong.safetensors")
    match kind:
        case "truncated":
            truncated(path, good, 0.6)
        case "other model":
            save_file({"transformer.weight": torch.zeros(3)}, path)
        case "other shape":
            with_config = lively_model()
            state = {key: torch.zeros(2) for key in with_config.state_dict()}
            save_file(state, path, {"svit": with_config.config.model_dump_json()})
        case "malicious":
            path = Path("wrong.pth")
            torch.save({"state_dict": {"weight": Malicious()}}, path)
        case "video":
            write_clip(path.with_suffix(".mp4"), moving(2)).rename(path)
        case "folder":
            path.mkdir()
        case "NaN":
            model = lively_model()
            model.encoder.norm_in.weight.data.fill_(float("nan"))
            save(model, path)
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no checkpoint at wrong.safetensors"),
        ("truncated", "wrong.safetensors is damaged, truncated"),
        ("other model", "wrong.safetensors is neither a checkpoint of svit"),
        ("other shape", "wrong.safetensors does not fit the model: [0-9]+ of another shape"),
        ("malicious", r"refused to open wrong\.pth: it would execute code"),
        ("video", "wrong.safetensors is damaged"),
        ("folder", "wrong.safetensors is a folder"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line_and_never_executed(command, checkpoint, clip, kind, says):
    path = make_wrong_checkpoint(kind, checkpoint)
    for words in (
        ["track", clip, "--mot", "a.txt", "--model", path],
        ["convert-checkpoint", path, "m.safetensors"],
    ):
        status, out, err = command(*words)
        assert (status, out) == (1, "")
        one_line(err, says)
    assert not Path("executed").exists()
    assert not Path("a.txt").exists()
    assert not Path("m.safetensors").exists()


def test_weights_with_nan_are_one_line(command, clip, checkpoint, here):
    path = make_wrong_checkpoint("NaN", checkpoint)
    status, out, err = command("track", clip, "--mot", "a.txt", "--model", path)
    assert status == 1
    assert out == ""
    one_line(err, "not finite: its weights")
    assert names(here) == ["wrong.safetensors"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing/a.mp4", "the folder missing does not exist; create it first"),
        ("folder.mp4", "is a folder; give the name of a file"),
        ("a.avi", r"must end in \.mp4"),
        ("-", r"-: cannot write this kind of file; its name must end in \.mp4"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line_before_anything_is_begun(track, clip, here, name, says):
    (here / "folder.mp4").mkdir()
    status, out, err = track(clip, "--mot", "a.txt", "-o", name)
    assert (status, out) == (1, "")
    one_line(err, says)
    assert names(here) == ["folder.mp4"]


@pytest.mark.parametrize(
    ("number", "says"), [(13, "no permission to write there"), (30, "the disk is read-only")]
)
def test_no_permission_is_one_line(track, clip, here, monkeypatch, number, says):
    really = Path.open

    def refuse(self, mode="r", *more, **options):
        if "w" in mode:
            raise OSError(number, os.strerror(number))
        return really(self, mode, *more, **options)

    monkeypatch.setattr("svit.video.output.Path.open", refuse)
    status, out, err = track(clip, "--mot", "a.txt")
    assert (status, out) == (1, "")
    one_line(err, says)
    assert names(here) == []


def test_the_input_is_never_overwritten(track, clip, tmp_path):
    before = clip.read_bytes()
    (tmp_path / "link.mp4").symlink_to(clip)
    for name in (clip, tmp_path / "link.mp4"):
        status, out, err = track(clip, "-o", name)
        assert (status, out) == (1, "")
        one_line(err, "is the input; choose another name")
    assert clip.read_bytes() == before


def test_one_name_for_two_outputs_is_one_line(track, clip, here):
    status, _, err = track(clip, "--mot", "-", "--jsonl", "-")
    assert status == 1
    one_line(err, "is named for two outputs")
