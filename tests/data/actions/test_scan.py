"""Looking into videos: what is found, what is broken, and going on after a kill."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.actions.videos import write_video
from tests.video.clips import Coding, flat, levels, noise, write_clip

from svit.data.actions import scan
from svit.data.actions.scan import Job, scan_video, scan_videos


def facts_of(path: Path) -> dict:
    return scan_video(Job(path, 12.0))


def test_frames_rate_size_duration_and_keyframes_are_found(tmp_path):
    path = write_clip(tmp_path / "a.mp4", [flat(20)] * 30, Coding(keyframes=12), rate=10)
    facts = facts_of(path)
    assert {**facts, "rate": round(facts["rate"], 6), "duration": round(facts["duration"], 6)} == {
        "frames": 30,
        "rate": 10.0,
        "width": 96,
        "height": 64,
        "duration": 3.0,
        "keyframes": [0, 12, 24],
        "start": 0.0,
        "bytes": path.stat().st_size,
    }


def test_times_are_kept_where_they_are_uneven(tmp_path):
    times = [0.0, 0.1, 0.15, 0.5, 0.9, 1.0]
    facts = facts_of(write_clip(tmp_path / "a.mp4", [flat(v) for v in levels(6)], times=times))
    np.testing.assert_allclose(facts["times"], times)
    assert facts["rate"] == pytest.approx(5.0)


def test_one_frame_is_a_video_and_lasts_one_interval(tmp_path):
    facts = facts_of(write_clip(tmp_path / "a.mp4", [flat(20)], rate=10))
    assert (facts["frames"], facts["keyframes"]) == (1, [0])
    assert 0 < facts["duration"] <= 1


def test_a_file_that_does_not_say_how_long_it_is_is_measured(tmp_path):
    path = tmp_path / "live.mkv"
    write_clip(path, [flat(v) for v in levels(20)], Coding(container={"live": "1"}), rate=10)
    facts = facts_of(path)
    assert facts["frames"] == 20
    assert facts["duration"] == pytest.approx(2.0, abs=0.01)


def test_what_cannot_be_used_says_why_in_one_line(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("not a video")
    cut = write_clip(tmp_path / "cut.mp4", noise(30), Coding(container={"movflags": "+faststart"}))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    said = {"empty": "is empty (0 bytes)", "text": "not a video", "cut": "missing", "gone": "gone"}
    for name, why in said.items():
        reason = facts_of(tmp_path / f"{name}.mp4")["reason"]
        assert f"{name}.mp4" in reason
        assert why in reason
        assert "\n" not in reason


def write_images(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for name in names:
        Image.new("RGB", (40, 30)).save(folder / name)
    return folder


def test_a_folder_of_frames_is_a_video(tmp_path):
    folder = write_images(tmp_path / "a", [f"img_{n:05d}.jpg" for n in range(1, 7)])
    assert facts_of(folder) == {
        "frames": 6, "rate": 12.0, "duration": 0.5, "first": 0, "width": 40, "height": 30
    }  # fmt: skip
    part = scan_video(Job(folder, 12.0, first=2, frames=3))
    assert (part["frames"], part["first"]) == (3, 2)
    assert "says 5 frames, there are 4" in scan_video(Job(folder, 12.0, first=2, frames=5))["reason"]


def test_a_folder_with_optical_flow_beside_the_frames_is_refused(tmp_path):
    folder = write_images(tmp_path / "a", ["img_1.jpg", "img_2.jpg", "flow_x_1.jpg", "flow_x_2.jpg"])
    assert "several kinds (flow_x_, img_)" in facts_of(folder)["reason"]


def test_a_gap_between_frames_is_named(tmp_path):
    folder = write_images(tmp_path / "a", ["1.jpg", "3.jpg"])
    assert "frame 2 is missing" in facts_of(folder)["reason"]


@pytest.fixture
def jobs(tmp_path):
    return [Job(write_video(tmp_path / f"{n}.mp4", 2 + n), 12.0) for n in range(4)]


def test_several_processes_find_the_same(jobs, monkeypatch):
    monkeypatch.setattr(scan, "FEW", 1)
    assert scan_videos(jobs, None, 2) == scan_videos(jobs, None, 1)


def test_a_video_that_kills_its_process_is_just_broken(jobs, monkeypatch):
    monkeypatch.setattr(scan, "FEW", 1)
    monkeypatch.setattr(scan._Worker, "_start", _start_fragile)
    found = scan_videos(jobs, None, 2)
    assert [found[job].get("frames") for job in jobs] == [2, None, 4, 5]
    assert "1.mp4: the process that read it died" in found[jobs[1]]["reason"]


def test_a_video_whose_process_died_is_looked_into_again(jobs, tmp_path, monkeypatch):
    """Whoever ended it, the system for want of memory perhaps: the video may be good."""
    monkeypatch.setattr(scan, "FEW", 1)
    with monkeypatch.context() as patched:
        patched.setattr(scan._Worker, "_start", _start_fragile)
        assert "reason" in scan_videos(jobs, tmp_path / ".journal", 2)[jobs[1]]
    looked_at = []
    monkeypatch.setattr(scan, "scan_video", lambda job: looked_at.append(job) or scan_video(job))
    found = scan_videos(jobs, tmp_path / ".journal", 1)
    assert [found[job].get("frames") for job in jobs] == [2, 3, 4, 5]
    assert looked_at == [jobs[1]]


def _start_fragile(self):
    self._connection, theirs = self._context.Pipe()
    self._process = self._context.Process(target=_serve_fragile, args=(theirs,), daemon=True)
    self._process.start()
    theirs.close()


def _serve_fragile(connection):
    while True:
        job = connection.recv()
        if job.path.name == "1.mp4":
            os._exit(1)
        connection.send(scan_video(job))


class Killed(BaseException):
    """Stands for a kill: nothing is cleaned up by it."""


def test_a_killed_run_goes_on_where_it_was(jobs, tmp_path, monkeypatch):
    journal, looked_at = tmp_path / ".journal", []

    def look(job):
        looked_at.append(job)
        if len(looked_at) == 3:
            raise Killed
        return scan_video(job)

    monkeypatch.setattr(scan, "scan_video", look)
    with pytest.raises(Killed):
        scan_videos(jobs, journal, 1)
    with journal.open("a") as file:
        file.write('["half a li')
    found = scan_videos(jobs, journal, 1)
    assert looked_at == [*jobs[:3], *jobs[2:]]
    assert [found[job]["frames"] for job in jobs] == [2, 3, 4, 5]
    assert scan_videos(jobs, journal, 1) == found
    assert len(looked_at) == 5


def test_a_video_that_has_changed_is_looked_at_again(jobs, tmp_path):
    journal = tmp_path / ".journal"
    scan_videos(jobs, journal, 1)
    write_video(jobs[0].path, 7)
    assert scan_videos(jobs, journal, 1)[jobs[0]]["frames"] == 7
    assert len([line for line in journal.read_text().splitlines() if line and json.loads(line)]) == 5
