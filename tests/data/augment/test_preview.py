from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.augment.clips import empty_clip, rectangle_clip

from svit.data.actions import ActionSample
from svit.data.augment.preview import CAPTION, INK, preview
from svit.data.augment.settings import StillConfig
from svit.data.augment.stills import still_to_clip
from svit.errors import OutputError
from svit.video.draw import id_colour


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture.astype(int) - colour).max(axis=-1) <= 2).any())


def test_a_sheet_has_a_row_per_clip_with_each_frame_and_its_ids_colour(tmp_path: Path):
    clips = [rectangle_clip(0, length=3), rectangle_clip(4, length=2), empty_clip(3)]
    preview(clips, tmp_path / "sheet.png", width=160)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 126 + 6, 3 * 166 + 6, 3)
    for row, (clip, identity) in enumerate([(clips[0], 10), (clips[1], 14)]):
        for column in range(len(clip)):
            cell = sheet[6 + row * 126 :, 6 + column * 166 :][:120, :160]
            assert has_colour(cell, id_colour(identity))
    assert list(tmp_path.iterdir()) == [tmp_path / "sheet.png"]


def test_an_action_is_a_strip_from_the_first_frame_to_the_last_with_its_class_above(tmp_path: Path):
    frames = np.stack([np.full((40, 40, 3), 60 * number, np.uint8) for number in range(1, 4)])
    strips = {}
    for label in (0, 1):
        clip = ActionSample(frames, label, np.arange(3.0), "v.mp4", [])
        preview([clip], tmp_path / "sheet.png", ["falls", "gets up"], width=160)
        strips[label] = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert strips[0].shape == (6 + CAPTION + 40 + 6, 3 * 46 + 6, 3), (
        "a quarter of the width of other pictures"
    )
    for column, value in enumerate((60, 120, 180)):
        assert (strips[0][6 + CAPTION :, 6 + column * 46 :][:40, :40] == value).all()
    written = [strip[6 : 6 + CAPTION] for strip in strips.values()]
    assert all(has_colour(each, INK) for each in written)
    assert (written[0] != written[1]).any(), "another class, another name"


def test_boxes_and_actions_share_a_sheet(tmp_path: Path):
    action = ActionSample(np.zeros((3, 40, 40, 3), np.uint8), 0, np.arange(3.0), "v.mp4", [])
    preview([rectangle_clip(0, length=1), action], tmp_path / "sheet.png", ["falls"], width=160)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (6 + 126 + CAPTION + 46, max(166, 3 * 46) + 6, 3)
    assert has_colour(sheet[:132], id_colour(10))


def test_people_of_unknown_id_are_all_drawn(tmp_path: Path):
    boxes = np.array([[5, 30, 35, 90], [60, 30, 90, 90], [110, 30, 140, 90]], np.float32)
    labels = {"boxes": [boxes], "ids": [np.full(3, -1)], "classes": [np.zeros(3, int)], "ignore": [boxes[:0]]}
    preview([replace(empty_clip(1), **labels)], tmp_path / "sheet.png", width=160)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert all(has_colour(sheet, id_colour(number)) for number in (-1, -2, -3))


def test_only_augmented_clips_are_shown(tmp_path: Path):
    still = still_to_clip(rectangle_clip(length=1), 2, StillConfig(), np.random.default_rng(0))
    for clips in ([], [still]):
        with pytest.raises(ValueError, match="augmented"):
            preview(clips, tmp_path / "sheet.png")


def test_a_sheet_that_cannot_be_written_is_one_line(tmp_path: Path):
    with pytest.raises(OutputError):
        preview([rectangle_clip()], tmp_path / "missing" / "sheet.png")
