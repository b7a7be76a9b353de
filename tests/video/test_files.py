"""Video files: every frame, at its time, in its colours, the right way up; damage is said, not hidden."""

from __future__ import annotations

import logging
import wave
from pathlib import Path

import numpy as np
import pytest
from tests.video.clips import SIZE, Coding, flat, levels, noise, read_levels, write_clip

from svit.errors import SourceError
from svit.video import open_source

FRONT_INDEX = Coding(container={"movflags": "+faststart"})


def read_all(path: Path) -> tuple[list[int], str]:
    """Indices of the frames that come, and the error that ends the source, if any."""
    indices = []
    with open_source(path) as source:
        try:
            indices.extend(frame.index for frame in source)
        except SourceError as error:
            return indices, str(error)
    return indices, ""


def assert_one_line(message: str, path: Path) -> None:
    assert "\n" not in message
    assert str(path) in message


def test_every_frame_comes_in_order_with_size_rate_and_time(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", [flat(level) for level in levels(20)])
    with open_source(path) as source:
        assert (source.width, source.height) == SIZE
        assert source.rate == pytest.approx(10)
        assert source.frames == 20
        assert not source.live
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.timestamp for frame in frames] == pytest.approx([number / 10 for number in range(20)])
    assert np.allclose(read_levels(frame.image for frame in frames), levels(20), atol=2)
    assert all(frame.image.dtype == np.uint8 and frame.image.flags.c_contiguous for frame in frames)


def test_a_path_may_be_a_string_and_hold_a_colon(tmp_path):
    path = write_clip(tmp_path / "10:30.mp4", [flat(50)] * 3)
    with open_source(str(path)) as source:
        assert len(list(source)) == 3
    with open_source(f"file://{path}") as source:
        assert len(list(source)) == 3


def test_variable_frame_rate_keeps_its_times(tmp_path):
    times = [0.0, 0.033, 0.1, 0.5, 0.52, 1.4]
    path = write_clip(tmp_path / "clip.mp4", [flat(60)] * 6, times=times)
    with open_source(path) as source:
        assert [frame.timestamp for frame in source] == pytest.approx(times, abs=1e-3)


def test_times_start_at_the_first_frame(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", [flat(60)] * 3, times=[5.0, 5.1, 5.2])
    with open_source(path) as source:
        assert [frame.timestamp for frame in source] == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_metadata_is_honoured(tmp_path, degrees, mirrored):
    upright = flat(0)
    upright[:32, :48], upright[:32, 48:], upright[32:, :48] = 200, 120, 60
    coding = Coding(rotation=(degrees, mirrored))
    path = write_clip(tmp_path / "clip.mp4", [upright] * 3, coding)
    with open_source(path) as source:
        image = next(source).image
        assert (source.height, source.width) == image.shape[:2]
    # FFmpeg's convention: turned counterclockwise by the angle, then mirrored.
    turned = np.rot90(upright, degrees // 90)
    expected = turned[:, ::-1] if mirrored else turned
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv444p10le"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_colours_come_back_whatever_the_coding(tmp_path, matrix, full_range, pixels):
    colours = [(220, 30, 40), (30, 200, 60), (40, 50, 230), (255, 255, 255), (0, 0, 0), (128, 128, 128)]
    image = np.zeros((64, 96, 3), np.uint8)
    for place, colour in enumerate(colours):
        image[:, place * 16 : place * 16 + 16] = colour
    coding = Coding(pixels=pixels, matrix=matrix, full_range=full_range, options={"crf": "1"})
    path = write_clip(tmp_path / "clip.mp4", [image] * 2, coding)
    with open_source(path) as source:
        got = next(source).image
    for place, colour in enumerate(colours):
        assert np.abs(got[8:-8, place * 16 + 4 : place * 16 + 12].astype(int) - colour).max() <= 4


@pytest.mark.parametrize(
    ("codec", "name"), [("libx265", "clip.mp4"), ("mpeg4", "clip.avi"), ("libvpx-vp9", "c.webm")]
)
def test_other_codecs_open_too(tmp_path, codec, name):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_clip(
        tmp_path / name, [flat(level) for level in levels(12)], Coding(codec=codec, options=options)
    )
    with open_source(path) as source:
        assert np.allclose(read_levels(frame.image for frame in source), levels(12), atol=3)


def test_times_always_increase_even_where_an_avi_has_b_frames(tmp_path):
    coding = Coding(codec="mpeg4", options={"bf": "2"})
    path = write_clip(tmp_path / "clip.avi", noise(30), coding)
    with open_source(path) as source:
        times = [frame.timestamp for frame in source]
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(2.9, abs=0.2)


def test_a_change_of_resolution_midway_yields_true_sizes(tmp_path):
    first = write_clip(tmp_path / "a.ts", [flat(50)] * 5, Coding(codec="libx264")).read_bytes()
    second = write_clip(tmp_path / "b.ts", noise(5, size=(160, 128))).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(first + second)
    with open_source(path) as source:
        shapes = [frame.image.shape[:2] for frame in source]
        assert (source.height, source.width) == (64, 96)
    assert shapes == [(64, 96)] * 5 + [(128, 160)] * 5


def test_a_damaged_frame_in_the_middle_is_left_out_and_counted(tmp_path, caplog):
    path = write_clip(tmp_path / "clip.mp4", noise(30), Coding(keyframes=1))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "svit"), open_source(path) as source:
        indices = [frame.index for frame in source]
        assert source.skipped == 1
    assert len(indices) == 29
    assert set(range(30)) - set(indices) <= {14, 15, 16}
    assert [record.message for record in caplog.records] == [f"{path}: left out 1 damaged frame(s)"]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_a_cut_off_file_ends_with_an_error_after_its_good_frames(tmp_path, name):
    coding = Coding(codec="mpeg4") if name.endswith("avi") else FRONT_INDEX
    coding = coding if name.endswith("mp4") else Coding(codec=coding.codec)
    path = write_clip(tmp_path / name, noise(60), coding)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    indices, message = read_all(path)
    assert_one_line(message, path)
    assert "breaks off" in message
    assert indices == list(range(len(indices)))
    assert len(indices) >= 30


def test_a_whole_file_ends_without_an_error(tmp_path):
    for name in ("clip.mp4", "clip.mkv", "clip.avi", "clip.ts"):
        path = write_clip(
            tmp_path / name, noise(40), Coding(codec="mpeg4" if name.endswith("avi") else "libx264")
        )
        assert read_all(path) == (list(range(40)), "")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"this is no video\n" * 50, "not a video file"),
        ("notes.txt", b"this is no video\n" * 50, "holds no video"),
        ("zeros.mkv", bytes(5000), "not a video file"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=says) as caught:
        open_source(path)
    assert_one_line(str(caught.value), path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(SourceError, match="no such file") as caught:
        open_source(tmp_path / "nothing.mp4")
    assert_one_line(str(caught.value), tmp_path)


def test_an_mp4_without_its_index_is_explained(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", noise(30))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="moov") as caught:
        open_source(path)
    assert_one_line(str(caught.value), path)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    with pytest.raises(SourceError, match="holds no video"):
        open_source(path)


def test_closing_ends_the_iteration(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", [flat(50)] * 5)
    source = open_source(path)
    next(source)
    source.close()
    source.close()
    assert list(source) == []


def test_it_knows_its_own_file(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", [flat(50)] * 2)
    (tmp_path / "link.mp4").symlink_to(path)
    with open_source(path) as source:
        assert source.reads(path)
        assert source.reads(tmp_path / "link.mp4")
        assert not source.reads(tmp_path / "other.mp4")
