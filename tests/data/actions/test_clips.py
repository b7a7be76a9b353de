"""Training clips by number: the same wherever they are made, broken videos replaced and told of."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tests.data.actions.videos import index_of, look_into, write_video

from svit.data.actions import ActionAugmentConfig, ActionClips, FlipRule, SamplingConfig
from svit.errors import DataError

SAMPLING = SamplingConfig(length=4)
PLAIN = ActionAugmentConfig(size=16, scale=(1, 1), flip=0, randaugment=None, erasing=None)
FULL = ActionAugmentConfig(size=16)
FLIPPED = PLAIN.model_copy(update={"flip": 1.0})
SWAP = FlipRule("swap", (("left", "right"),))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return folder, [look_into(write_video(folder / f"{n}.mp4"), label=n) for n in range(3)]


def clips_of(videos, augment=PLAIN, flip=None, seed=0, repeats=1):
    folder, records = videos
    return ActionClips(index_of(folder, *records, flip=flip), "train", SAMPLING, augment, seed, repeats)


def test_a_clip_has_frames_label_and_times(videos):
    sample = clips_of(videos)[0]
    assert sample.frames.shape == (4, 16, 16, 3)
    assert sample.frames.dtype == np.uint8
    assert sample.name == f"{sample.label}.mp4"
    levels = sample.frames.mean((1, 2, 3))
    np.testing.assert_allclose((levels - 20) / 8 / 10, sample.timestamps, atol=0.04)
    assert sample.broken == []


def test_an_epoch_shows_every_video_once_in_an_order_of_its_own(videos):
    clips = clips_of(videos)
    assert clips.per_epoch == 3
    epochs = [tuple(clips[3 * epoch + n].label for n in range(3)) for epoch in range(6)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_repeats_show_a_video_several_times_differently(videos):
    clips = clips_of(videos, FULL, repeats=2)
    assert clips.per_epoch == 6
    made = [clips[n] for n in range(6)]
    assert Counter(sample.name for sample in made) == {f"{n}.mp4": 2 for n in range(3)}
    for one, other in zip(made[::2], made[1::2], strict=True):
        assert one.name == other.name
        assert not np.array_equal(one.frames, other.frames)


def test_a_clip_depends_on_seed_and_number_alone(videos):
    one, same, other = clips_of(videos, FULL), clips_of(videos, FULL), clips_of(videos, FULL, seed=1)
    one[3]  # what was asked for before does not matter
    copied = pickle.loads(pickle.dumps(same))  # as a worker gets it
    np.testing.assert_array_equal(one[7].frames, copied[7].frames)
    np.testing.assert_array_equal(one[7].timestamps, copied[7].timestamps)
    assert not np.array_equal(one[7].frames, other[7].frames)


@pytest.mark.parametrize("name", ["test", "ssv2", "kinetics400"])
def test_the_rule_of_the_data_set_decides_about_mirroring_whatever_its_name(videos, name):
    folder, records = videos
    for flip, swapped, mirrored in (
        (FlipRule(), False, False),
        (FlipRule("any"), False, True),
        (SWAP, True, True),
    ):
        index = replace(index_of(folder, *records, flip=flip), name=name)
        clips = ActionClips(index, "train", SAMPLING, FLIPPED)
        still = ActionClips(index, "train", SAMPLING, PLAIN)
        labels = {clips[n].name: clips[n].label for n in range(3)}
        assert labels == (
            {"0.mp4": 1, "1.mp4": 0, "2.mp4": 2} if swapped else {f"{n}.mp4": n for n in range(3)}
        )
        assert clips[0].name == still[0].name
        assert mirrored == (flip.kind != "never")


def test_ssv2_is_never_mirrored_unless_told(tmp_path):
    """By its pixels: the left half is dark in every clip."""
    from tests.video.clips import write_clip

    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, 48:] = 200
    write_clip(tmp_path / "a.mp4", [picture] * 4)
    record = look_into(tmp_path / "a.mp4")
    for flip, darker in ((FlipRule(), "left"), (SWAP, "right"), (FlipRule("any"), "right")):
        frames = ActionClips(index_of(tmp_path, record, flip=flip), "train", SAMPLING, FLIPPED)[0].frames
        left, right = frames[:, :, :6].mean(), frames[:, :, -6:].mean()
        assert ("left" if left < right else "right") == darker


def test_a_broken_video_is_replaced_and_told_of(videos, tmp_path):
    _, records = videos
    for n in (0, 1):
        write_video(tmp_path / f"{n}.mp4")
    clips = ActionClips(index_of(tmp_path, *records), "train", SAMPLING, PLAIN)
    samples = [clips[n] for n in range(3)]
    (told,) = [sample for sample in samples if sample.broken]
    assert "2.mp4: cannot be opened" in told.broken[0]
    assert all(sample.frames.shape == (4, 16, 16, 3) for sample in samples)


def test_where_none_can_be_read_it_says_so(videos, tmp_path):
    with pytest.raises(DataError, match=r"8 videos in a row cannot be read; the last: .*mp4"):
        ActionClips(index_of(tmp_path, *videos[1]), "train", SAMPLING, PLAIN)[0]


def test_a_video_of_one_frame_makes_a_clip(tmp_path):
    record = look_into(write_video(tmp_path / "one.mp4", 1))
    sample = ActionClips(index_of(tmp_path, record), "train", SAMPLING, FULL)[0]
    assert sample.frames.shape == (4, 16, 16, 3)
    assert sample.timestamps.tolist() == [0, 0, 0, 0]


def test_a_split_without_videos_is_an_error(videos):
    with pytest.raises(DataError, match="no videos of the split 'val'"):
        ActionClips(index_of(videos[0], *videos[1]), "val", SAMPLING, PLAIN)
