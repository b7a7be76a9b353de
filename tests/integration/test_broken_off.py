"""Runs that do not get to the end: what was written before stays, readable, and all outputs agree."""

from __future__ import annotations

import os
import re
import signal
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from PIL import Image as PillowImage
from tests.integration.results import OUTPUTS, counts, names, one_line, records, truncated
from tests.integration.samples import SIZE, moving, write_images
from tests.video.clips import Coding, noise, write_clip

import svit
from svit.cli import main
from svit.types import Frame
from svit.video import MotWriter, Source, open_source
from svit.video.output import LineFile, output_error


def fail(error):
    def run(*_, **__):
        raise error

    return run


def test_a_broken_image_in_the_middle_keeps_everything_before_it(track, tmp_path, here):
    folder = write_images(tmp_path / "images", moving(8))
    truncated(folder / "0005.png", folder / "0005.png", 0.5)
    status, out, err = track(folder, *OUTPUTS)
    assert status == 1
    one_line(err, r"0005\.png: cannot be read .*replace or remove it")
    assert counts(here) == {"mp4": 5, "txt": 5, "jsonl": 5}
    PillowImage.open(here / "a.png").verify()
    assert "summary:       5 frames" in out


def test_a_video_that_breaks_off_keeps_everything_before_that(track, tmp_path, here):
    whole = write_clip(tmp_path / "whole.mp4", noise(20), Coding(container={"movflags": "+faststart"}))
    status, _, err = track(truncated(tmp_path / "cut.mp4", whole, 0.6), *OUTPUTS)
    assert status == 1
    one_line(err, "breaks off after [0-9]+ frames")
    frames = int(re.search(r"after ([0-9]+) frames", err)[1])
    assert frames > 5
    assert counts(here) == {"mp4": frames, "txt": frames, "jsonl": frames}


def test_a_change_of_resolution_midway_is_one_warning_and_goes_on(track, tmp_path, here):
    first = write_clip(tmp_path / "a.ts", moving(4)).read_bytes()
    second = write_clip(tmp_path / "b.ts", moving(4, size=(64, 96))).read_bytes()
    (tmp_path / "both.ts").write_bytes(first + second)
    status, _, err = track(tmp_path / "both.ts", *OUTPUTS)
    assert status == 0
    one_line(err, "frame 4: the size changes to 64x96; the memory starts anew", "warning")
    assert counts(here) == {"mp4": 8, "txt": 8, "jsonl": 8}
    with open_source(here / "a.mp4") as video:
        assert {frame.image.shape for frame in video} == {(SIZE[1], SIZE[0], 3)}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize("option", ["--mot", "--jsonl"])
def test_a_full_disk_from_the_start_is_one_line_and_leaves_nothing(track, clip, here, option):
    status, out, err = track(clip, option, "/dev/full", "-o", "a.mp4")
    assert (status, out) == (1, "")
    one_line(err, "/dev/full: the disk is full; free some space or write elsewhere")
    assert names(here) == []


def test_a_disk_that_fills_up_under_the_text_keeps_what_was_written_and_the_video(
    track, clip, here, monkeypatch
):
    append = LineFile.append

    def fill_up(self, lines):
        if lines.startswith("4,"):  # rows of the fourth frame
            raise output_error(Path("a.txt"), OSError(28, os.strerror(28)))
        append(self, lines)

    monkeypatch.setattr(LineFile, "append", fill_up)
    status, out, err = track(clip, *OUTPUTS)
    assert status == 1
    one_line(err, "a.txt: the disk is full")
    assert counts(here) == {"mp4": 4, "txt": 3, "jsonl": 3}, "the video comes first"
    assert "summary:       3 frames" in out


def test_a_disk_that_fills_up_under_the_video_keeps_the_text(track, clip, here, monkeypatch):
    def full(self, image, ticks):
        if ticks > 0:
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr("svit.video.mp4._Encoder.encode", full)
    status, out, err = track(clip, "--jsonl", "a.jsonl", "-o", "a.mp4")
    assert status == 1
    one_line(err, "a.mp4: the disk is full")
    assert len(records(here / "a.jsonl")) == 1
    assert names(here) == ["a.jsonl"]
    assert "a.mp4" not in out, "a file that is not there is not announced"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize("buffer", [1, 8192], ids=["while printing", "at the end"])
def test_a_full_disk_behind_stdout_is_one_line(capfd, buffer):
    with Path("/dev/full").open("w", buffer) as full, redirect_stdout(full):
        status = main(["--version"])
    assert status == 1
    one_line(capfd.readouterr().err, "No space left on device")


class Camera(Source):
    """Endless; somebody presses Ctrl-C during its fifth frame."""

    def __init__(self) -> None:
        super().__init__("camera", live=True)
        self.width, self.height = SIZE

    def _read(self):
        for number, image in enumerate(moving(20)):
            if number == 4:
                signal.raise_signal(signal.SIGINT)
            yield Frame(image, number, number / 25)

    def _release(self) -> None:
        pass


def test_ctrl_c_is_how_a_camera_is_stopped(track, here, monkeypatch):
    monkeypatch.setattr("svit.video.open_source", lambda *_, **__: Camera())
    before = signal.getsignal(signal.SIGINT)
    status, out, err = track("0", *OUTPUTS)
    assert (status, err) == (0, "stopped; what was written so far is complete\n")
    assert counts(here) == {"mp4": 4, "txt": 4, "jsonl": 4}
    assert "summary:       4 frames" in out
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_the_middle_of_writing_waits_for_every_output(track, tmp_path, here, monkeypatch):
    """The video is written first: without waiting it would be one frame ahead."""
    clip = write_clip(tmp_path / "long.mp4", moving(40))
    append = MotWriter._append

    def interrupted(self, result):
        if result.frame_index == 2:
            signal.raise_signal(signal.SIGINT)
        append(self, result)

    monkeypatch.setattr(MotWriter, "_append", interrupted)
    assert track(clip, *OUTPUTS)[0] == 1
    (frames,) = set(counts(here).values())
    assert 3 <= frames < 20


def test_ctrl_c_before_the_first_frame_leaves_nothing(track, clip, here, monkeypatch):
    (here / "a.txt").write_text("older\n")
    monkeypatch.setattr("svit.stream.Stream.chunk", fail(KeyboardInterrupt()))
    assert track(clip, *OUTPUTS)[0] == 1
    assert (names(here), (here / "a.txt").read_text()) == (["a.txt"], "older\n")


def test_ctrl_c_while_the_model_loads_is_one_word(track, clip, monkeypatch):
    monkeypatch.setattr("svit.weights.load", fail(KeyboardInterrupt()))
    assert track(clip) == (1, "", "stopped\n")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            RuntimeError("shapes differ\nC++ stack:\n  0"),
            "internal error: RuntimeError: shapes differ; run again with",
        ),
        (KeyError("x"), "internal error: KeyError: 'x'; run again with --debug and report it"),
        (AssertionError(), "internal error: AssertionError: no reason given; run again with --debug"),
        (MemoryError(), "error: out of memory; remember fewer frames"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "error: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "error: out of memory"),
        (OSError(5, "Input/output error", "x"), r"error: \[Errno 5\] Input/output error: 'x'"),
    ],
    ids=repr,
)
def test_an_unexpected_error_is_one_line_too_and_keeps_what_was_written(
    track, clip, here, monkeypatch, error, says
):
    chunk = svit.Stream.chunk
    monkeypatch.setattr(
        "svit.stream.Stream.chunk",
        lambda self, *arguments: fail(error)() if self._frames == 3 else chunk(self, *arguments),
    )
    status, _, err = track(clip, *OUTPUTS, "--chunk", "1")
    assert status == 1
    assert err.startswith("svit: ")
    assert err.count("\n") == 1
    assert re.search(says, err)
    assert counts(here) == {"mp4": 3, "txt": 3, "jsonl": 3}


@pytest.mark.parametrize("place", [0, 2, -1])
def test_debug_anywhere_shows_where_an_error_came_from(command, place):
    words = ["track", "missing.mp4", "--mot", "a.txt", "--model"]
    words.append("tiny-persn")
    words.insert(place if place >= 0 else len(words), "--debug")
    status, _, err = command(*words)
    assert status == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("svit: error: no model or file 'tiny-persn'")
