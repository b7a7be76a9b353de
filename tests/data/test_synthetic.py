"""Made-up clips: their class is in the order of the frames alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.data.actions.videos import write_video

from svit.data.actions.settings import SyntheticConfig
from svit.data.synthetic import SyntheticClips, load_backgrounds
from svit.errors import DataError

CONFIG = SyntheticConfig(length=8, size=48)
NAMES = [
    "moves left", "moves right", "approaches", "recedes", "appears", "disappears", "covers", "uncovers",
    "played forward", "played backward",
]  # fmt: skip


@pytest.fixture(scope="module")
def backgrounds():
    rng = np.random.default_rng(0)
    return [rng.integers(60, 130, (40, 60, 3)).astype(np.uint8) for _ in range(4)]


def test_a_clip_looks_like_any_other(backgrounds):
    clips = SyntheticClips(backgrounds, CONFIG)
    assert clips.classes == NAMES
    sample = clips[13]
    assert sample.frames.shape == (8, 48, 48, 3)
    assert sample.frames.dtype == np.uint8
    assert (sample.label, sample.broken) == (3, [])
    np.testing.assert_allclose(sample.timestamps, np.arange(8) / 12)
    assert clips.per_epoch == CONFIG.clips


def test_the_two_classes_of_a_pair_are_the_same_frames_in_reverse(backgrounds):
    clips = SyntheticClips(backgrounds, CONFIG, seed=3)
    for scene in range(5):
        for label in range(0, 10, 2):
            np.testing.assert_array_equal(clips.clip(scene, label), clips.clip(scene, label + 1)[::-1])


def test_something_happens_in_every_clip(backgrounds):
    clips = SyntheticClips(backgrounds, CONFIG.model_copy(update={"drift": 0.0, "distractors": 0}))
    for number in range(30):
        frames = clips[number].frames.astype(int)
        changed = (np.abs(frames[0] - frames[-1]) > 20).any(-1).mean()
        assert changed > 0.01, clips.classes[clips[number].label]


def place(frames):
    """Mean x of what differs from the frame's median, per frame."""
    odd = np.abs(frames.astype(int) - np.median(frames, axis=(0, 1, 2))).sum(-1) > 60
    return [float(np.nonzero(frame)[1].mean()) for frame in odd]


def test_left_is_left():
    grey = [np.full((60, 60, 3), 128, np.uint8)]
    config = SyntheticConfig(length=5, size=48, pairs=("moves",), distractors=0)
    clips = SyntheticClips(grey, config)
    for number in range(10):
        steps = np.diff(place(clips[number].frames))
        assert (steps < 0).all() if number % 2 == 0 else (steps > 0).all()


def test_clips_depend_on_seed_and_number_alone(backgrounds):
    one, same, other = (SyntheticClips(backgrounds, CONFIG, seed) for seed in (1, 1, 2))
    one[2]
    np.testing.assert_array_equal(one[9].frames, same[9].frames)
    assert not np.array_equal(one[9].frames, other[9].frames)
    assert not np.array_equal(one[9].frames, one[19].frames)


@pytest.mark.parametrize(("length", "size"), [(2, 16), (3, 224), (40, 33)])
def test_any_length_and_size(backgrounds, length, size):
    clips = SyntheticClips(backgrounds, SyntheticConfig(length=length, size=size))
    assert all(clips[n].frames.shape == (length, size, size, 3) for n in range(10))


def test_backgrounds_come_from_images_and_videos_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (900, 600), (10, 20, 30)).save(tmp_path / "a" / "1.png")
    (tmp_path / "broken.jpg").write_text("not an image")
    write_video(tmp_path / "b.mp4")
    found = load_backgrounds(tmp_path, count=4, side=320)
    shapes = sorted(picture.shape for picture in found)
    assert shapes == [(64, 96, 3)] * 3 + [(320, 480, 3)], "an image once, of a video as many as are wanted"
    assert len(load_backgrounds(tmp_path, count=1)) == 1
    for one, same in zip(found, load_backgrounds(tmp_path, count=4, side=320), strict=True):
        np.testing.assert_array_equal(one, same)


def test_no_backgrounds_are_an_error(tmp_path):
    (tmp_path / "broken.jpg").write_text("not an image")
    with pytest.raises(DataError, match="no image or video"):
        load_backgrounds(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        load_backgrounds(tmp_path / "none")
    with pytest.raises(DataError, match="at least one picture"):
        SyntheticClips([])
