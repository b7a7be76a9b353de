from __future__ import annotations

import numpy as np
import pytest

from svit.data.augment import sample_clip_indices


def test_frames_lie_one_stride_apart_inside_the_video():
    rng = np.random.default_rng(0)
    strides, starts = set(), set()
    for _ in range(400):
        indices = sample_clip_indices(30, 4, (1, 4), rng)
        (stride,) = set(np.diff(indices).tolist())
        strides.add(stride)
        starts.add(indices[0])
        assert indices[0] >= 0
        assert indices[-1] < 30
    assert strides == {1, 2, 3, 4}
    assert {0, 26} <= starts, "all of the video is used"


def test_a_short_video_gets_a_smaller_stride_then_repeats_its_last_frame():
    rng = np.random.default_rng(0)
    assert {tuple(sample_clip_indices(4, 4, (1, 4), rng)) for _ in range(20)} == {(0, 1, 2, 3)}
    assert sample_clip_indices(2, 4, (1, 4), rng) == [0, 1, 1, 1]
    assert sample_clip_indices(1, 3, (2, 2), rng) == [0, 0, 0]
    assert sample_clip_indices(1, 1, (1, 1), rng) == [0]


def test_a_given_start_is_kept_and_the_last_frame_repeats_past_the_end():
    rng = np.random.default_rng(0)
    drawn = {tuple(sample_clip_indices(10, 3, (1, 4), rng, start=7)) for _ in range(60)}
    assert drawn == {(7, 8, 9), (7, 9, 9)}


def test_half_the_clips_run_backwards_on_request():
    rng = np.random.default_rng(0)
    clips = [sample_clip_indices(50, 2, (1, 4), rng, may_reverse=True) for _ in range(200)]
    backwards = [first > last for first, last in clips]
    assert 60 < sum(backwards) < 140


@pytest.mark.parametrize(
    ("video", "length", "strides"), [(0, 2, (1, 4)), (5, 0, (1, 4)), (5, 2, (0, 4)), (5, 2, (3, 2))]
)
def test_numbers_out_of_range_are_refused(video: int, length: int, strides: tuple[int, int]):
    with pytest.raises(ValueError, match="no clip of"):
        sample_clip_indices(video, length, strides, np.random.default_rng(0))


def test_a_start_outside_the_video_is_refused():
    with pytest.raises(ValueError, match="frame 10 of a video of 10"):
        sample_clip_indices(10, 2, (1, 1), np.random.default_rng(0), start=10)
