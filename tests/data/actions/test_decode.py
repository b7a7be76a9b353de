"""Frames by number: exact, from the right keyframe, and past damage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.data.actions.videos import look_into, write_video
from tests.video.clips import Coding, noise, read_levels, write_clip

from svit.data.actions import decode
from svit.data.actions.decode import read_frames
from svit.data.actions.index import ActionVideo
from svit.data.actions.scan import Job, scan_video
from svit.data.video_frames import VideoFrames
from svit.errors import SvitError

REAL = [
    "av1_video.mkv",
    "h264_10bits.mp4",
    "h265_video.mp4",
    "nasa_13013.mp4",
    "ucf101_xvid.avi",
    "var_fps_video.mp4",
]


@pytest.mark.parametrize("name", REAL)
def test_frames_are_those_of_decoding_from_the_start(shared, name):
    path = shared / "data/videos/decoder" / name
    video = look_into(path)
    numbers = np.random.default_rng(0).integers(0, video.frames, 6)
    found = read_frames(path, video, numbers)
    assert found.numbers.tolist() == numbers.tolist()
    assert found.broken == []
    with VideoFrames(path) as frames:
        for number, image in zip(numbers, found.frames, strict=True):
            np.testing.assert_array_equal(image, frames[int(number)])


def test_order_and_repeats_are_as_asked_for(tmp_path):
    path = write_video(tmp_path / "a.mp4", 8)
    found = read_frames(path, look_into(path), [5, 0, 5, 7])
    assert read_levels(found.frames) == pytest.approx([60, 20, 60, 76], abs=2)


def test_decoding_starts_at_the_last_keyframe_and_skips_to_later_ones(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", noise(60), Coding(keyframes=10))
    video, decoded = look_into(path), []
    frames_from = decode._frames_from

    def watched(*args):
        for number, frame in frames_from(*args):
            decoded.append(number)
            yield number, frame

    monkeypatch.setattr(decode, "_frames_from", watched)
    assert read_frames(path, video, [23, 25, 52]).broken == []
    assert decoded == [20, 21, 22, 23, 24, 25, 50, 51, 52]


def test_keyframes_that_are_none_do_no_harm(tmp_path):
    path = write_clip(tmp_path / "a.mp4", noise(30), Coding(keyframes=10))
    video = look_into(path)
    wrong = replace(video, keyframes=(0, 7, 13, 22))
    for numbers in ([8], [9, 15, 28]):
        good, bad = (read_frames(path, each, numbers) for each in (video, wrong))
        assert bad.numbers.tolist() == numbers
        assert all(np.array_equal(a, b) for a, b in zip(good.frames, bad.frames, strict=True))


def test_a_damaged_frame_is_replaced_by_its_neighbour_and_told(tmp_path):
    path = write_clip(tmp_path / "a.mp4", noise(30), Coding(keyframes=1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    video = look_into(path)
    found = read_frames(path, video, range(30))
    bad = [n for n in range(30) if n not in found.numbers]
    assert 1 <= len(bad) <= 2
    assert len(found.frames) == 30
    assert all(abs(int(found.numbers[n]) - n) <= len(bad) for n in bad)
    (line,) = found.broken
    why = f"{path}: frame {bad[-1]} cannot be decoded; the file is damaged there"
    assert line == f"{why}; {len(bad)} of 30 frames replaced by their neighbours"
    with pytest.raises(SvitError, match="cannot be decoded"):
        read_frames(path, video, bad)


def test_a_file_that_has_changed_or_gone_is_named(tmp_path):
    path = write_video(tmp_path / "a.mp4", 8)
    video = look_into(path)
    write_video(path, 6)
    with pytest.raises(SvitError, match=r"a\.mp4: has changed since it was indexed"):
        read_frames(path, video, [0])
    path.unlink()
    with pytest.raises(SvitError, match=r"a\.mp4: cannot be opened"):
        read_frames(path, video, [0])


def test_a_folder_of_frames_is_read_from_its_first(tmp_path):
    for number in range(6):
        Image.new("RGB", (40, 30), (10 * number,) * 3).save(tmp_path / f"{number + 1:05d}.png")
    facts = scan_video(Job(tmp_path, 12.0, first=2, frames=3))
    video = ActionVideo("", 0, "train", "g", **facts)
    assert read_levels(read_frames(tmp_path, video, [0, 2]).frames) == [20, 40]


def test_frames_of_several_sizes_are_refused(tmp_path):
    for number in range(2):
        Image.new("RGB", (40 + number, 30)).save(tmp_path / f"{number}.png")
    video = ActionVideo("", 0, "train", "g", **scan_video(Job(tmp_path, 12.0)))
    with pytest.raises(SvitError, match="differ in size"):
        read_frames(tmp_path, video, [0, 1])
