"""MOT text and JSON lines: exact rows, whole lines, and never a half-written file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tests.video.clips import detections, result, write_and_fail

from svit.errors import OutputError
from svit.video import JsonLinesWriter, MotWriter
from svit.video import output as output_module

TRACKS = [((10.126, 20.0, 30.5, 60.25), 0), ((0.0, 1.0, 5.0, 9.0), 12)]
KINDS = [(MotWriter, "out.txt"), (JsonLinesWriter, "out.jsonl")]


def tracks():
    return detections([box for box, _ in TRACKS], [number for _, number in TRACKS])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_mot_rows_are_what_the_benchmark_reads(tmp_path):
    path = tmp_path / "out.txt"
    with MotWriter(path) as writer:
        writer.write(result(0))
        writer.write(result(1, tracks=tracks()))
    assert path.read_text() == (
        "2,0,10.13,20.00,20.37,40.25,0.9000,-1,-1,-1\n"
        "2,12,0.00,1.00,5.00,8.00,0.9000,-1,-1,-1\n"
    )  # fmt: skip
    assert np.loadtxt(path, delimiter=",").shape == (2, 10)


def test_json_lines_say_every_frame(tmp_path):
    path = tmp_path / "out.jsonl"
    with JsonLinesWriter(path) as writer:
        writer.write(result(0))
        writer.write(result(7, tracks=tracks(), timestamp=0.2800001))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {"frame": 0, "timestamp": 0.0, "tracks": [], "detections": 0}
    assert second == {
        "frame": 7,
        "timestamp": 0.28,
        "tracks": [
            {"id": 0, "box": [10.13, 20.0, 30.5, 60.25], "score": 0.9, "class": 0},
            {"id": 12, "box": [0.0, 1.0, 5.0, 9.0], "score": 0.9, "class": 0},
        ],
        "detections": 2,
    }


def test_tracks_without_score_and_class_are_written(tmp_path):
    bare = tracks()
    bare.confidence = bare.class_id = None
    with MotWriter(tmp_path / "out.txt") as mot, JsonLinesWriter(tmp_path / "out.jsonl") as lines:
        mot.write(result(0, tracks=bare))
        lines.write(result(0, tracks=bare))
    assert ",1.0000,-1,-1,-1\n" in (tmp_path / "out.txt").read_text()
    track = json.loads((tmp_path / "out.jsonl").read_text())["tracks"][0]
    assert track["score"] is None
    assert track["class"] is None


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_box_that_is_not_finite_is_left_out(tmp_path, kind, name):
    odd = tracks()
    odd.xyxy[0, 2] = np.nan
    with kind(tmp_path / name) as writer:
        writer.write(result(0, tracks=odd))
    text = (tmp_path / name).read_text().lower()
    assert "nan" not in text
    assert "12" in text


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_the_file_gets_its_name_only_when_it_is_finished(tmp_path, kind, name):
    (tmp_path / name).write_text("old")
    with kind(tmp_path / name) as writer:
        writer.write(result(0, tracks=tracks()))
        assert (tmp_path / name).read_text() == "old"
        assert names(tmp_path) == sorted([f".{name}.part", name])
    assert (tmp_path / name).read_text().count("\n") >= 1
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_what_was_written_before_a_failure_or_ctrl_c_is_kept(tmp_path, kind, name, failure):
    with pytest.raises(failure):
        write_and_fail(kind(tmp_path / name), [result(0, tracks=tracks())], failure)
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text().endswith("\n")


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_failure_before_the_first_frame_leaves_an_older_file_alone(tmp_path, kind, name):
    (tmp_path / name).write_text("old")
    with pytest.raises(RuntimeError), kind(tmp_path / name):
        raise RuntimeError
    assert (tmp_path / name).read_text() == "old"
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_closing_twice_is_fine(tmp_path, kind, name):
    writer = kind(tmp_path / name)
    writer.close()
    writer.close()
    assert names(tmp_path) == [name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize("kind", [MotWriter, JsonLinesWriter])
def test_a_full_disk_is_said_in_one_line(kind):
    writer = kind("/dev/full")
    with pytest.raises(OutputError, match="disk is full") as caught:
        writer.write(result(0, tracks=tracks()))
    assert "\n" not in str(caught.value)
    writer.close()
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path, kind, name, monkeypatch):
    writer = kind(tmp_path / name)
    writer.write(result(0, tracks=tracks()))
    whole = (tmp_path / f".{name}.part").read_bytes()
    fill_up(monkeypatch, writer)
    with pytest.raises(OutputError, match="disk is full"), writer:
        writer.write(result(1, tracks=tracks()))
    assert (tmp_path / name).read_bytes() == whole
    assert names(tmp_path) == [name]


def fill_up(monkeypatch, writer) -> None:
    """From now on the file takes three more bytes, then there is no space."""
    file = writer._lines._file

    class Full:
        closed = False
        room = 3

        def write(self, data):
            if not self.room:
                raise OSError(28, os.strerror(28))
            taken, self.room = file.write(data[: self.room]), 0
            return taken

        def __getattr__(self, name):
            return getattr(file, name)

    monkeypatch.setattr(writer._lines, "_file", Full())


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs the device /dev/null")
def test_devices_are_written_directly():
    with MotWriter("/dev/null") as writer:
        writer.write(result(0, tracks=tracks()))
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing/out.txt", "does not exist"),
        ("folder.txt", "is a folder"),
        ("out.mp4", r"must end in \.txt"),
        ("out", r"must end in \.txt"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path, name, says):
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(OutputError, match=says) as caught:
        MotWriter(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert names(tmp_path) == ["folder.txt"]


def test_no_permission_is_said(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(output_module.Path, "open", refuse)
    with pytest.raises(OutputError, match="no permission"):
        MotWriter(tmp_path / "out.txt")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_folder_or_file_is_said(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="no permission"):
        MotWriter(locked / "out.txt")
    (tmp_path / "out.txt").touch(mode=0o400)
    with pytest.raises(OutputError, match="read-only"):
        MotWriter(tmp_path / "out.txt")
