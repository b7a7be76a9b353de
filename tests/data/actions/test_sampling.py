"""Which frames make a clip: by time, whatever the frame rate."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data.actions.videos import look_into

from svit.data.actions import ActionVideo, SamplingConfig
from svit.data.actions.sampling import frames_at, sample_test_frames, sample_training_frames

UNIFORM = SamplingConfig(length=4)
DENSE = SamplingConfig(kind="dense", length=4, stride=2)


def video(frames: int, rate: float = 25.0, times: tuple[float, ...] | None = None) -> ActionVideo:
    duration = frames / rate if times is None else times[-1] + 1 / rate
    return ActionVideo("a", 0, "train", "a", frames, rate, 96, 64, duration, times=times)


def test_test_clips_take_the_middle_of_each_part():
    assert sample_test_frames(video(16), UNIFORM, 1).tolist() == [[2, 6, 10, 14]]
    assert sample_test_frames(video(10), UNIFORM, 1).tolist() == [[1, 3, 6, 8]]


@pytest.mark.parametrize("frames", [4, 5, 8, 16, 23, 64, 300, 1001])
@pytest.mark.parametrize("rate", [10.0, 24000 / 1001, 25.0, 30000 / 1001, 59.94])
def test_rounding_never_moves_a_frame(frames, rate):
    found = sample_test_frames(video(frames, rate), SamplingConfig(length=16), 1)[0]
    assert found.tolist() == [int((2 * part + 1) * frames // 32) for part in range(16)]


def test_several_clips_share_the_parts_out():
    clips = sample_test_frames(video(32), UNIFORM, 4)
    assert clips.tolist() == [[1, 9, 17, 25], [3, 11, 19, 27], [5, 13, 21, 29], [7, 15, 23, 31]]


def test_training_takes_a_random_frame_of_each_part():
    rng = np.random.default_rng(0)
    drawn = np.stack([sample_training_frames(video(20), UNIFORM, rng) for _ in range(200)])
    for part in range(4):
        assert set(drawn[:, part]) == set(range(5 * part, 5 * part + 5))


def test_a_dense_clip_is_stride_apart_and_starts_anywhere_it_fits():
    rng = np.random.default_rng(0)
    drawn = np.stack([sample_training_frames(video(20), DENSE, rng) for _ in range(300)])
    assert (np.diff(drawn, axis=1) == 2).all()
    assert set(drawn[:, 0]) == set(range(14))


def test_dense_test_clips_spread_from_start_to_end():
    assert sample_test_frames(video(20), DENSE, 1)[0, 0] in (6, 7)
    assert sample_test_frames(video(21), DENSE, 3).tolist() == [
        [0, 2, 4, 6],
        [7, 9, 11, 13],
        [14, 16, 18, 20],
    ]


def test_at_a_set_rate_a_dense_clip_covers_the_same_time_in_every_video():
    config = DENSE.model_copy(update={"rate": 10.0})
    for rate in (10.0, 20.0, 60.0):
        frames = sample_test_frames(video(int(5 * rate), rate), config, 3)[1]
        assert np.diff(frames / rate) == pytest.approx(0.2, abs=1 / rate)


@pytest.mark.parametrize("config", [UNIFORM, DENSE])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_shorter_video_repeats_frames_in_order(config, frames):
    rng = np.random.default_rng(0)
    for found in (
        sample_training_frames(video(frames), config, rng),
        sample_test_frames(video(frames), config, 3),
    ):
        assert found.shape[-1] == 4
        assert found.min() >= 0
        assert found.max() < frames
        assert (np.diff(found) >= 0).all()


def test_sampling_depends_on_the_generator_alone():
    one, same, other = (
        sample_training_frames(video(300), UNIFORM, np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_a_time_shows_the_last_frame_that_is_not_later():
    clock = np.array([0.0, 0.1, 0.2, 1.0])
    assert frames_at(clock, np.array([-1, 0, 0.05, 0.1, 0.99, 1.0, 9])).tolist() == [0, 0, 0, 1, 2, 3, 3]


def test_where_the_rate_varies_parts_are_equal_in_time():
    slow_then_fast = video(8, 4.0, (0.0, 1.0, 2.0, 3.0, 3.1, 3.2, 3.3, 3.4))
    assert sample_test_frames(slow_then_fast, UNIFORM, 1).tolist() == [[0, 1, 2, 4]]


def test_a_real_file_of_varying_rate_is_sampled_at_the_right_times(shared):
    real = look_into(shared / "data/videos/decoder/var_fps_video.mp4")
    clock = real.clock()
    assert real.times is not None
    steps = np.diff(clock)
    assert steps.max() > 2 * steps.min()
    for length in (4, 16):
        frames = sample_test_frames(real, SamplingConfig(length=length), 1)[0]
        wanted = (np.arange(length) + 0.5) * real.duration / length
        shown_until = np.append(clock[1:], real.duration)
        assert (clock[frames] <= wanted + 1e-6).all()
        assert (wanted < shown_until[frames]).all()
    counted = ((np.arange(16) + 0.5) * real.frames / 16).astype(int)
    assert np.abs(clock[counted] - wanted).max() > 0.4, "by number, times would be wrong"
