"""The contact sheet: evenly spaced frames of a video of any length, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests.video.clips import detections, flat, result, write_and_fail

from svit.errors import OutputError, UsageError
from svit.video import ContactSheet
from svit.video.contact_sheet import SPARE

SIZE = (96, 64)


def write(path, frames, **options):
    with ContactSheet(path, width=96, **options) as writer:
        for index in range(frames):
            writer.write(result(index, flat(index * 255 // max(frames, 1))))
    return path


def cells(path, columns, rows):
    """The pictures on a sheet of cells of 96 x 64, by their mean grey level."""
    with PillowImage.open(path) as image:
        sheet = np.asarray(image)
    tall, wide = sheet.shape[0] // rows, sheet.shape[1] // columns
    return [
        float(sheet[row * tall + 20 : row * tall + 50, column * wide + 20 : column * wide + 80].mean())
        for row in range(rows)
        for column in range(columns)
    ]


@pytest.mark.parametrize("frames", [12, 47, 48, 49, 100, 1000])
def test_frames_are_evenly_spaced_whatever_the_length(tmp_path, frames):
    found = cells(write(tmp_path / "out.png", frames), 3, 4)
    positions = np.array(found) / 255
    gaps = np.diff(positions)
    assert positions[0] < 0.02
    assert positions[-1] > 0.85
    assert gaps.min() > 0
    assert gaps.max() / gaps.min() < 2.1


@pytest.mark.parametrize(("frames", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2)])
def test_a_short_video_has_a_small_sheet(tmp_path, frames, columns, rows):
    found = cells(write(tmp_path / "out.png", frames), columns, rows)
    expected = [index * 255 // frames for index in range(frames)]
    assert found[:frames] == pytest.approx(expected, abs=2)


def test_memory_is_bounded(tmp_path):
    writer = ContactSheet(tmp_path / "out.png", cells=3, width=16)
    for index in range(500):
        writer.write(result(index))
        assert len(writer._kept) < SPARE * 3
    writer.close()


def test_tracks_are_drawn_on_the_cells(tmp_path):
    image = flat(100, (640, 480))
    for name, tracks in (("with.png", detections([(100, 100, 400, 400)])), ("without.png", detections())):
        with ContactSheet(tmp_path / name) as writer:
            writer.write(result(0, image, tracks))
    drawn, plain = (np.asarray(PillowImage.open(tmp_path / name)) for name in ("with.png", "without.png"))
    assert drawn.shape == plain.shape
    assert (drawn != plain).any(axis=2).sum() > 500


def test_a_change_of_size_is_fitted(tmp_path):
    with ContactSheet(tmp_path / "out.png") as writer:
        writer.write(result(0, flat(100, (640, 480))))
        writer.write(result(1, flat(100, (100, 300)), detections([(0, 0, 50, 50)])))
    assert (tmp_path / "out.png").is_file()


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_or_ctrl_c_still_gives_a_sheet(tmp_path, failure):
    with pytest.raises(failure):
        write_and_fail(ContactSheet(tmp_path / "out.png"), [result(0)], failure)
    PillowImage.open(tmp_path / "out.png").verify()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.png"]


def test_without_a_frame_nothing_is_left(tmp_path):
    with ContactSheet(tmp_path / "out.png"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    writer = ContactSheet(tmp_path / "out.png")
    writer.write(result(0))
    monkeypatch.setattr(PillowImage.Image, "save", full)
    with pytest.raises(OutputError, match="disk is full"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["columns", "cells", "width"])
def test_senseless_settings_are_refused(tmp_path, option):
    with pytest.raises(UsageError, match="at least 1"):
        ContactSheet(tmp_path / "out.png", **{option: 0})


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"must end in \.png"):
        ContactSheet(tmp_path / "out.gif")
