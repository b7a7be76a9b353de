"""Scores of actions as pictures: over time, and on a frame; bounded, whole, and for any names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests.video.clips import flat, result

from svit.errors import OutputError
from svit.types import ActionScores
from svit.video import Timeline, draw_actions
from svit.video.timeline import POINTS, timeline_figure

NAMES = ("walk", "a $5 run", "_fall", "a very long name of something that [something] does to [something]")


def answer(number, classes=4):
    scores = np.random.default_rng(number).dirichlet(np.ones(classes)).astype(np.float32)
    return ActionScores(NAMES[:classes] if classes <= 4 else tuple(map(str, range(classes))), scores)


def with_actions(number, **values):
    made = result(number, **values)
    return type(made)(
        made.frame_index, made.timestamp, made.detections, made.tracks, made.image, answer(number)
    )


def fill(timeline, count):
    for number in range(count):
        timeline.write(with_actions(number))


@pytest.mark.parametrize("count", [1, 2, 50, 2 * POINTS + 3])
def test_a_video_of_any_length_makes_a_picture_in_bounded_memory(tmp_path, count):
    timeline = Timeline(tmp_path / "a.png")
    fill(timeline, count)
    assert len(timeline._times) < POINTS
    timeline.close()
    timeline.close()
    picture = PillowImage.open(tmp_path / "a.png")
    assert (picture.format, picture.width) == ("PNG", 1100)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_points_are_means_of_their_frames(tmp_path):
    timeline = Timeline(tmp_path / "a.png")
    fill(timeline, POINTS + 2)
    expected = [np.mean([answer(n).probabilities for n in (i, i + 1)], axis=0) for i in (0, POINTS)]
    np.testing.assert_allclose([timeline._scores[0], timeline._scores[-1]], expected, atol=1e-6)
    assert timeline._times[1] == pytest.approx(0.2)
    timeline.discard()
    assert not list(tmp_path.iterdir())


def test_the_classes_that_came_highest_have_a_line():
    scores = np.zeros((3, 30))
    scores[0, 7] = scores[1, 21] = 0.9
    scores[2, 3] = 0.5
    figure = timeline_figure(np.array([0.0, 1.0, 2.0]), scores, tuple(f"class {n}" for n in range(30)))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:3] == ["class 7", "class 21", "class 3"]
    assert len(labels) == 6


def test_without_actions_there_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"older")
    with Timeline(tmp_path / "a.png") as timeline:
        timeline.write(result(0))
    assert (tmp_path / "a.png").read_bytes() == b"older"


@pytest.mark.parametrize("name", ["a.jpg", "nowhere/a.png"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, name):
    with pytest.raises(OutputError) as caught:
        Timeline(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(640, 360), (96, 64), (9, 7), (1, 1), (40, 900)])
def test_labels_are_drawn_on_a_picture_of_any_size_and_leave_the_frame_alone(size):
    image = flat(200, size)
    drawn = draw_actions(image, answer(0))
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    assert (image == 200).all()
    assert (drawn != image).any()
    height = image.shape[0]
    assert (drawn[: height // 4] == 200).all() or height < 80


def test_bars_are_as_long_as_the_scores():
    image = flat(200, (640, 360))
    certain, doubt = (
        draw_actions(image, ActionScores(("walk", "run"), np.array([p, 1 - p], np.float32)), 1)
        for p in (1.0, 0.55)
    )
    blue = (31, 95, 191)
    lengths = [int((picture == blue).all(2).sum()) for picture in (certain, doubt)]
    assert lengths[1] == pytest.approx(0.55 * lengths[0], rel=0.15)
