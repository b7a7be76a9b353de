"""Clips by number: the same wherever they are made, each frame once per epoch, broken ones replaced."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svit.config import validated
from svit.data.augment.settings import AugmentConfig
from svit.data.clips import ClipConfig, Clips
from svit.data.scenes import Scene, SourceConfig, load_scenes
from svit.errors import DataError, SvitError, UsageError

PLAIN = AugmentConfig(height=64, width=96, mosaic=0, flip=0, colour={"hue": 0, "saturation": 0, "value": 0})
MIXED = AugmentConfig(height=64, width=96)
FRAMES = 6


def write_data_set(root: Path, videos: int = 2, stills: int = 3) -> Path:
    """Videos as pictures whose grey is their number, one person and one ignored region in each."""
    images, annotations, records = [], [], []
    for video in range(videos):
        records.append({"id": video + 1, "name": f"V{video}", "fps": 25, "width": 96, "height": 64})
    for number in range(videos * FRAMES + stills):
        video, frame = divmod(number, FRAMES)
        name = f"V{video}/{frame}.png" if video < videos else f"still{number}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 64), (10 * number,) * 3).save(root / name)
        image = {"id": number + 1, "file_name": name, "width": 96, "height": 64}
        if video < videos:
            image |= {"video_id": video + 1, "frame_id": frame, "mot_frame_id": frame + 1}
        images.append(image)
        box = {"image_id": number + 1, "category_id": 1, "bbox": [10, 10, 20, 30], "area": 600}
        annotations.append(box | {"id": 2 * number + 1, "iscrowd": False, "instance_id": 7 + video})
        annotations.append(box | {"id": 2 * number + 2, "iscrowd": True, "instance_id": 0})
    categories = [{"id": 1, "name": "pedestrian"}]
    content = {"categories": categories, "videos": records, "images": images, "annotations": annotations}
    (root / "all.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_data_set(tmp_path)


def scenes_of(root: Path, **settings: object) -> list[Scene]:
    config = validated(SourceConfig, {"annotations": "all.json", "images": ".", **settings}, "source")
    return load_scenes(config, root)


def first_grey(clips: Clips, number: int) -> int:
    return int(clips[number].clip.frames[0][32, 48, 0])


def test_an_epoch_starts_a_clip_at_every_frame_once(root: Path) -> None:
    clips = Clips([(scenes_of(root), 1.0)], ClipConfig(), PLAIN)
    assert clips.per_epoch == 2 * FRAMES + 3
    for epoch in range(2):
        numbers = range(epoch * clips.per_epoch, (epoch + 1) * clips.per_epoch)
        assert sorted(first_grey(clips, n) for n in numbers) == [10 * n for n in range(clips.per_epoch)]


def test_every_epoch_has_an_order_of_its_own(root: Path) -> None:
    clips = Clips([(scenes_of(root), 1.0)], ClipConfig(), PLAIN)
    first, second = ([first_grey(clips, e * clips.per_epoch + n) for n in range(15)] for e in range(2))
    assert first != second


def test_a_share_below_one_draws_other_frames_each_epoch(root: Path) -> None:
    clips = Clips([(scenes_of(root), 0.2)], ClipConfig(length=1), PLAIN)
    assert clips.per_epoch == 3
    epochs = [frozenset(first_grey(clips, 3 * epoch + n) for n in range(3)) for epoch in range(12)]
    assert all(len(greys) == 3 for greys in epochs)
    assert len(set(epochs)) > 6


def test_a_share_above_one_repeats_evenly(root: Path) -> None:
    clips = Clips([(scenes_of(root), 2.0)], ClipConfig(length=1), PLAIN)
    counts = Counter(first_grey(clips, n) for n in range(clips.per_epoch))
    assert set(counts.values()) == {2}


def test_a_clip_depends_on_seed_and_number_alone(root: Path) -> None:
    made = [Clips([(scenes_of(root), 1.0)], ClipConfig(), MIXED, seed) for seed in (0, 0, 1)]
    made[0][3]  # what was asked for before does not matter
    first, again, other = (clips[40].clip for clips in made)
    np.testing.assert_array_equal(first.frames, again.frames)
    for t in range(2):
        np.testing.assert_array_equal(first.boxes[t], again.boxes[t])
    assert not np.array_equal(first.frames, other.frames)


def test_people_are_targets_and_crowds_are_ignored(root: Path) -> None:
    clip = Clips([(scenes_of(root, pattern="V0"), 1.0)], ClipConfig(), PLAIN)[0].clip
    for t in range(2):
        np.testing.assert_allclose(clip.boxes[t], [[10, 10, 30, 40]])
        np.testing.assert_allclose(clip.ignore[t], [[10, 10, 30, 40]])


def test_frames_of_a_clip_are_of_one_video_and_in_order(root: Path) -> None:
    clips = Clips([(scenes_of(root, pattern="V*"), 1.0)], ClipConfig(length=3, strides=(1, 2)), PLAIN)
    for number in range(12):
        greys = [int(frame[32, 48, 0]) // 10 for frame in clips[number].clip.frames]
        if greys[0] < 2 * FRAMES:  # a still moves, so that its middle need not be grey
            assert greys == sorted(greys)
            assert len({grey // FRAMES for grey in greys}) == 1


def test_part_and_every_choose_where_clips_start(root: Path) -> None:
    scenes = scenes_of(root, pattern="V1", part="2-5", every=2)
    videos = [scene for scene in scenes if len(scene) > 1]
    assert [len(scene) for scene in videos] == [4]
    assert videos[0].starts.tolist() == [0, 2]


def test_a_clip_that_cannot_be_read_is_replaced_and_told(root: Path) -> None:
    (root / "V0/3.png").write_bytes(b"no picture")
    clips = Clips([(scenes_of(root), 1.0)], ClipConfig(length=1), PLAIN)
    samples = [clips[number] for number in range(clips.per_epoch)]
    broken = [line for sample in samples for line in sample.broken]
    assert broken
    assert all("V0/3.png" in line for line in broken)


def test_when_nothing_can_be_read_it_says_so(root: Path) -> None:
    for picture in root.rglob("*.png"):
        picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="in a row cannot be read"):
        Clips([(scenes_of(root), 1.0)], ClipConfig(), PLAIN)[0]


def test_the_last_clips_may_be_plain(root: Path) -> None:
    clips = Clips([(scenes_of(root, pattern="V*"), 1.0)], ClipConfig(length=1), MIXED)
    plain = clips.plain_from(5)
    np.testing.assert_array_equal(clips[4].clip.frames, plain[4].clip.frames)
    assert not np.array_equal(clips[6].clip.frames, plain[6].clip.frames)


def test_sequences_in_mot_layout_are_a_source_too(shared: Path) -> None:
    config = SourceConfig(sequences=Path("tracking/train/PETS09-S2L1-A"), part="1-20")
    (scene,) = load_scenes(config, shared / "data")
    assert len(scene) == 20
    labels, image = scene.labels(4), scene.clip([4]).frames[0]
    assert image.shape == (360, 480, 3)
    assert len(labels.boxes) == len(set(labels.ids.tolist())) > 2


@pytest.mark.parametrize("settings", [{}, {"annotations": "a.json", "sequences": "b"}])
def test_a_source_has_one_place(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="either annotations or sequences"):
        validated(SourceConfig, dict(settings), "source")


def test_nothing_to_train_on_is_an_error(root: Path) -> None:
    (root / "all.json").write_text(json.dumps({"categories": [], "images": [], "annotations": []}))
    with pytest.raises(SvitError, match=r"all\.json"):
        scenes_of(root)
