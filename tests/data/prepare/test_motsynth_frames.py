"""MOTSynth's videos as folders of images: whole or not at all, and never twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.video.clips import Coding, flat, levels, noise, write_clip

from svit.cli import main
from svit.data.bad_rows import BadRows
from svit.data.prepare import motsynth_frames
from svit.data.prepare.motsynth_frames import ExtractOptions, extract_frames
from svit.data.video_frames import open_frames
from svit.errors import DataError, OutputError, UsageError

ONE = ExtractOptions(workers=1)


@pytest.fixture
def videos(tmp_path):
    """Videos 000 and 001 of 5 and 7 frames; frame n is grey of 20 + 4 n."""
    folder = tmp_path / "MOTSynth" / "videos"
    folder.mkdir(parents=True)
    for name, count in (("000", 5), ("001", 7)):
        write_clip(folder / f"{name}.mp4", [flat(level) for level in levels(count)])
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "MOTSynth" / "train"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_frame_becomes_an_image_of_its_number(videos, out, workers):
    told = extract_frames(videos, out, ExtractOptions(workers=workers))
    assert (told.videos, told.frames, told.finished) == (2, 12, 0)
    assert names(out) == ["000", "001"]
    assert names(out / "001" / "img1") == [f"{number:06d}.jpg" for number in range(1, 8)]
    with open_frames(out / "001" / "img1") as images, open_frames(videos / "001.mp4") as frames:
        for number, image in enumerate(images):
            assert image.mean() == pytest.approx(20 + 4 * number, abs=2)
            assert np.abs(image.astype(int) - frames[number]).max() <= 3


def test_a_second_run_does_nothing_and_a_new_video_is_added(videos, out):
    extract_frames(videos, out, ONE)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    write_clip(videos / "002.mp4", [flat(50)] * 2)
    told = extract_frames(videos, out, ONE)
    assert (told.videos, told.frames, told.finished) == (1, 2, 2)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert str(told) == f"{out}: 1 videos, 2 frames; 2 were there already"


def test_quality_is_that_of_the_official_script_unless_said(videos, out, tmp_path):
    write_clip(videos / "000.mp4", noise(2))
    words = ["prepare", "motsynth-frames", "-i", str(videos), "--workers", "1", "-o"]
    assert main([*words, str(out)]) == 0
    assert main([*words, str(tmp_path / "fine"), "--quality", "95"]) == 0
    extract_frames(videos, tmp_path / "official", ExtractOptions(workers=1, quality=75))
    usual, fine, official = (
        (folder / "000/img1/000001.jpg").read_bytes()
        for folder in (out, tmp_path / "fine", tmp_path / "official")
    )
    assert usual == official
    assert len(fine) > 1.5 * len(usual)


def test_a_dry_run_says_what_is_left_and_writes_nothing(videos, out):
    told = extract_frames(videos, out, ExtractOptions(dry_run=True))
    assert (told.videos, told.finished) == (2, 0)
    assert not out.exists()
    extract_frames(videos, out, ONE)
    write_clip(videos / "002.mp4", [flat(50)] * 2)
    told = extract_frames(videos, out, ExtractOptions(dry_run=True))
    assert (told.videos, told.finished) == (1, 2)
    assert names(out) == ["000", "001"]


def damage(path: Path) -> None:
    """Writes a video of 60 frames without its end."""
    write_clip(path, noise(60), Coding(container={"movflags": "+faststart"}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_video_is_named_or_skipped_and_leaves_no_folder(videos, out, workers):
    damage(videos / "000.mp4")
    options = ExtractOptions(workers=workers)
    with pytest.raises(DataError, match=r"000\.mp4: .*missing"):
        extract_frames(videos, out, options)
    assert "000" not in names(out)
    assert not [name for name in names(out) if name.startswith(".")]
    bad_rows = BadRows(skip=True)
    told = extract_frames(videos, out, options, bad_rows)
    assert told.videos + told.finished == 1
    assert len(bad_rows.messages) == 1
    assert names(out) == ["001"]


def test_a_damaged_frame_makes_a_bad_video(videos, out):
    path = write_clip(videos / "000.mp4", noise(30), Coding(keyframes=1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"000\.mp4: frame 1\d cannot be decoded"):
        extract_frames(videos, out, ONE)
    assert names(out) == []


def test_a_folder_with_other_frames_is_told_and_left_alone(videos, out):
    extract_frames(videos, out, ONE)
    (out / "000" / "img1" / "000003.jpg").unlink()
    with pytest.raises(DataError, match=r"000: holds 4 frames, but .*000\.mp4 has 5; remove the folder"):
        extract_frames(videos, out, ONE)
    bad_rows = BadRows(skip=True)
    bad_rows.report("something else before")
    told = extract_frames(videos, out, ONE, bad_rows)
    assert (told.videos, told.finished) == (0, 1)
    assert len(names(out / "000" / "img1")) == 4


def test_wrong_folders_are_said(videos, out):
    with pytest.raises(DataError, match=rf"one level too high: give {videos}"):
        extract_frames(videos.parent, out)
    with pytest.raises(DataError, match="nothing: no such folder"):
        extract_frames(videos / "nothing", out)
    out.write_text("a file")
    with pytest.raises(OutputError, match="train: "):
        extract_frames(videos, out)


@pytest.mark.parametrize("options", [{"workers": 0}, {"quality": 0}, {"quality": 96}])
def test_numbers_out_of_range_are_said(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        ExtractOptions(**options)


def test_a_full_disk_is_said_and_leaves_nothing(videos, out, monkeypatch):
    def save(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(motsynth_frames.PillowImage.Image, "save", save)
    with pytest.raises(OutputError, match="000: the disk is full"):
        extract_frames(videos, out, ONE)
    assert names(out) == []


def start(videos: Path, out: Path, workers: int) -> subprocess.Popen[str]:
    words = ["prepare", "motsynth-frames", "-i", str(videos), "-o", str(out), "--workers", str(workers)]
    return subprocess.Popen(
        [sys.executable, "-m", "svit.cli", *words],
        env={**os.environ, "PYTHONPATH": "src"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(happens: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    """A video that takes a while."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return write_clip(path, [flat(60 + n % 50, (160, 96)) for n in range(2500)], Coding(keyframes=250))


@pytest.fixture
def long_videos(videos, long_video):
    """Besides 000, a video that takes a while."""
    shutil.copy(long_video, videos / "001.mp4")
    return videos


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_leaves_whole_folders_and_the_next_one_goes_on(long_videos, out, how, workers):
    process = start(long_videos, out, workers)
    wait_until(lambda: (out / ".001.part/img1/000020.jpg").exists() and (out / "000").exists())
    os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
    process.wait(60)
    message = process.stderr.read()
    if how == signal.SIGINT:
        assert names(out) == ["000"]
        assert message == "stopped\n"
    else:  # its workers notice
        wait_until(lambda: workers == 1 or names(out) == ["000"])
        assert "001" not in names(out)
    write_clip(long_videos / "001.mp4", [flat(70)] * 3)
    told = extract_frames(long_videos, out, ONE)
    assert (told.videos, told.frames, told.finished) == (1, 3, 1)
    assert names(out) == ["000", "001"]


def test_the_command(videos, out, capfd):
    words = ["prepare", "motsynth-frames", "-i", str(videos), "-o", str(out), "--workers", "1"]
    assert main([*words, "--dry-run"]) == 0
    assert capfd.readouterr().out == f"would extract to {out}: 2 videos; 0 were there already\n"
    assert main([*words, "--quality", "90"]) == 0
    assert capfd.readouterr().out == f"{out}: 2 videos, 12 frames; 0 were there already\n"
    damage(videos / "002.mp4")
    assert main(words) == 1
    assert "002.mp4" in capfd.readouterr().err
    assert main([*words, "--skip-bad"]) == 0
    assert "1 bad" in capfd.readouterr().err
    assert main([*words, "--workers", "0"]) == 2
