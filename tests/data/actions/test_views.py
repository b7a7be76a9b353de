"""What a test looks at: clips x crops, always the same; a video that cannot be read is told of, not lost."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data.actions.videos import index_of, look_into, write_video
from tests.video.clips import write_clip

from svit.config import validated
from svit.data.actions import ActionViews, SamplingConfig, ViewConfig
from svit.data.actions.views import crop_boxes
from svit.errors import UsageError

SAMPLING = SamplingConfig(length=4)


@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (4, 3), (1, 3), (2, 3)])
def test_a_video_has_clips_times_crops_views(tmp_path, clips, crops):
    record = look_into(write_video(tmp_path / "a.mp4", 16), split="val")
    views = ActionViews(
        index_of(tmp_path, record), "val", SAMPLING, ViewConfig(size=16, clips=clips, crops=crops)
    )
    assert len(views) == 1
    seen = views[0]
    assert seen.frames.shape == (clips * crops, 4, 16, 16, 3)
    assert seen.timestamps.shape == (clips * crops, 4)
    levels = (seen.frames.mean((2, 3, 4)) - 20) / 8 / 10
    np.testing.assert_allclose(levels, seen.timestamps, atol=0.04)
    per_clip = seen.timestamps.reshape(clips, crops, 4)
    assert (per_clip == per_clip[:, :1]).all()
    assert len(np.unique(per_clip[:, 0], axis=0)) == clips


def test_crops_lie_along_the_longer_side():
    three = ViewConfig(size=20, crops=3)
    assert crop_boxes(20, 40, three) == [(0, 0, 20, 20), (10, 0, 30, 20), (20, 0, 40, 20)]
    assert crop_boxes(40, 20, three) == [(0, 0, 20, 20), (0, 10, 20, 30), (0, 20, 20, 40)]
    assert crop_boxes(40, 20, ViewConfig(size=20)) == [(0, 10, 20, 30)]
    assert crop_boxes(256, 256, ViewConfig(size=224, short_side=256)) == [(16, 16, 240, 240)]


def test_left_and_right_crops_see_left_and_right(tmp_path):
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:, 64:] = 200
    write_clip(tmp_path / "a.mp4", [picture] * 4)
    record = look_into(tmp_path / "a.mp4")
    seen = ActionViews(index_of(tmp_path, record), "train", SAMPLING, ViewConfig(size=16, crops=3))[0]
    assert seen.frames.mean((1, 2, 3, 4)) == pytest.approx([0, 100, 200], abs=6)


def test_a_video_that_cannot_be_read_has_no_views_and_says_why(tmp_path):
    record = look_into(write_video(tmp_path / "a.mp4"))
    (tmp_path / "a.mp4").unlink()
    seen = ActionViews(index_of(tmp_path, record), "train", SAMPLING, ViewConfig(size=16))[0]
    assert seen.frames.shape == (0, 4, 16, 16, 3)
    assert (seen.name, seen.label) == ("a.mp4", 0)
    assert "a.mp4: cannot be opened" in seen.broken[0]


def test_there_is_an_end(tmp_path):
    views = ActionViews(index_of(tmp_path, look_into(write_video(tmp_path / "a.mp4"))), "train", SAMPLING)
    assert len(list(views)) == 1
    with pytest.raises(IndexError):
        views[1]


def test_a_short_side_below_the_size_is_an_error():
    with pytest.raises(UsageError, match="short_side 200 is below size 224"):
        validated(ViewConfig, {"short_side": 200}, "views")
