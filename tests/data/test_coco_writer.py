"""A COCO-video file appears whole or not at all, and holds what was written."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from svit.data.coco_video import CocoVideoWriter
from svit.errors import DataError, OutputError


def test_the_file_holds_the_records_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.json"
    with CocoVideoWriter(path, categories=("pedestrian", "car")) as writer:
        for number in (1, 2):
            writer.video({"id": number, "name": f"v{number}"})
            writer.annotation({"id": number, "bbox": np.array([1, 2, 3.5, 4]), "iscrowd": np.bool_(True)})
            writer.image({"id": np.int64(number), "file_name": "ä.jpg"})
        writer.extra("num_instances", 7)
    assert json.loads(path.read_text()) == {
        "categories": [{"id": 1, "name": "pedestrian"}, {"id": 2, "name": "car"}],
        "videos": [{"id": 1, "name": "v1"}, {"id": 2, "name": "v2"}],
        "images": [{"id": 1, "file_name": "ä.jpg"}, {"id": 2, "file_name": "ä.jpg"}],
        "annotations": [
            {"id": 1, "bbox": [1, 2, 3.5, 4], "iscrowd": True},
            {"id": 2, "bbox": [1, 2, 3.5, 4], "iscrowd": True},
        ],
        "num_instances": 7,
    }
    assert [entry.name for entry in path.parent.iterdir()] == ["out.json"]


def test_sections_can_be_empty_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with CocoVideoWriter(path, sections=("images",)):
        pass
    assert json.loads(path.read_text()) == {"categories": [{"id": 1, "name": "pedestrian"}], "images": []}


def test_an_error_on_the_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), CocoVideoWriter(path) as writer:  # noqa: PT012
        writer.video({"id": 1})
        raise KeyboardInterrupt
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("out.json", "old")]


def test_a_value_that_json_cannot_hold_is_named(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(DataError, match=r"out\.json: annotations record 2 cannot"),
        CocoVideoWriter(tmp_path / "out.json") as writer,
    ):
        writer.annotation({"bbox": [1.0]})
        writer.annotation({"bbox": [float("nan")]})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_readable_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with (
        pytest.raises(OutputError, match="the disk is full"),
        CocoVideoWriter(tmp_path / "a" / "o.json") as w,
    ):
        w.video({"id": 1})
    assert list((tmp_path / "a").iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        CocoVideoWriter(tmp_path / "file" / "out.json")
    with pytest.raises(OutputError, match=r"\.json"):
        CocoVideoWriter(tmp_path / "out.txt")


def test_a_killed_run_leaves_nothing_but_its_part(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from svit.data.coco_video import CocoVideoWriter
with CocoVideoWriter(sys.argv[1]) as writer:
    for number in range(50_000):
        writer.annotation({"id": number})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "out.json"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    killed = subprocess.run([sys.executable, "-c", program, path], env=environment, check=False)
    assert killed.returncode == -9
    assert [entry.name for entry in tmp_path.iterdir()] == [".out.json.part"]
    with CocoVideoWriter(path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]
