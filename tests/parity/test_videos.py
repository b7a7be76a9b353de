"""Real videos: every codec of the collection decodes whole, at its times, in its colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.video.clips import detections

from svit.types import FrameResult
from svit.video import open_source, open_writers

# name: width, height, rate, frames, time of the last frame in seconds
CLIPS = {
    "av1_video.mkv": (640, 360, 25.0, 125, 4.96),
    "bt709_full_range.mp4": (1280, 720, 30.0, 30, 29 / 30),
    "h264_10bits.mp4": (200, 200, 30.0, 30, 29 / 30),
    "h265_10bits.mp4": (200, 200, 30.0, 30, 29 / 30),
    "h265_video.mp4": (128, 128, 10.0, 10, 0.9),
    "nasa_13013.mp4": (320, 180, 25.0, 325, 12.96),
    "ucf101_xvid.avi": (320, 240, 25.0, 164, 6.52),
    "var_fps_video.mp4": (128, 128, 300 / 14.9333, 300, 14.9333),
}


def clip(shared: Path, name: str) -> Path:
    path = shared / "data" / name
    if not path.exists():
        pytest.skip(f"needs shared/data/{name} beside the project")
    return path


@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_decodes_whole(shared, name):
    width, height, rate, frames, last = CLIPS[name]
    with open_source(clip(shared, f"videos/decoder/{name}")) as source:
        assert (source.width, source.height) == (width, height)
        assert source.rate == pytest.approx(rate, rel=0.01)
        assert source.frames == frames
        times, indices, spread = [], [], []
        for frame in source:
            assert frame.image.shape == (height, width, 3)
            assert frame.image.dtype == np.uint8
            times.append(frame.timestamp)
            indices.append(frame.index)
            spread.append(int(frame.image.max()) - int(frame.image.min()))
        assert source.skipped == 0
    assert indices == list(range(frames))
    assert times[0] == 0
    assert times[-1] == pytest.approx(last, abs=0.03)
    assert (np.diff(times) > 0).all()
    assert max(spread) > 100, "there is a picture"


def test_variable_frame_rate_is_not_smoothed(shared):
    with open_source(clip(shared, "videos/decoder/var_fps_video.mp4")) as source:
        gaps = np.diff([frame.timestamp for frame in source])
    assert gaps.max() > 1.5 * gaps.min()


def test_a_real_clip_comes_back_from_every_output(shared, tmp_path):
    path = clip(shared, "tracking/pseudo/ONE-BY-ONE/video.mp4")
    tracks = detections([(100, 50, 220, 400)])
    outputs = {"video": tmp_path / "a.mp4", "mot": tmp_path / "a.txt", "contact_sheet": tmp_path / "a.png"}
    originals = []
    with open_source(path) as source, open_writers(source, **outputs) as writers:
        for frame in source:
            if frame.index == 40:
                break
            originals.append(frame)
            writers.write(FrameResult(frame.index, frame.timestamp, tracks, tracks, frame.image))
    with open_source(outputs["video"]) as video:
        for original, copy in zip(originals, video, strict=True):
            assert copy.timestamp == pytest.approx(original.timestamp, abs=1e-4)
            difference = np.abs(copy.image.astype(int) - original.image)
            assert difference[:, 300:].mean() < 4, "the picture is unchanged away from the box"
            assert difference[60:390, 97:104].mean() > 15, "the box is there"
    assert len(outputs["mot"].read_text().splitlines()) == 40
    assert outputs["contact_sheet"].stat().st_size > 10_000
