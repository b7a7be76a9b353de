"""Drawing: ids keep their colour, trails follow and are forgotten, odd boxes do no harm."""

from __future__ import annotations

import numpy as np
import pytest
from tests.video.clips import detections, flat

from svit.video import TrackPainter, draw_tracks
from svit.video.draw import id_colour

GREY = flat(120, (320, 240))


def changed(image):
    return (image != GREY).any(axis=2)


def test_a_box_is_drawn_in_its_colour_on_a_copy():
    before = GREY.copy()
    drawn = draw_tracks(GREY, detections([(100, 80, 200, 200)], [3]))
    assert (before == GREY).all()
    assert drawn.shape == GREY.shape
    assert drawn.dtype == np.uint8
    for y, x in ((140, 100), (140, 200), (200, 150)):
        assert tuple(drawn[y, x]) == id_colour(3)
    assert not changed(drawn)[100:190, 110:190].any(), "the person stays visible"


def test_the_label_stays_inside_the_picture():
    for box in ((0, 0, 60, 60), (300, 200, 320, 240), (-50, -50, 20, 20), (100, 235, 150, 300)):
        drawn = draw_tracks(GREY, detections([box], [1234]))
        colour = np.array(id_colour(1234))
        assert (drawn == colour).all(axis=2).sum() > 150, "label and box are there"


def test_ids_keep_their_colour_and_neighbours_differ():
    colours = [id_colour(number) for number in range(50)]
    assert colours == [id_colour(number) for number in range(50)]
    distances = [
        np.abs(np.subtract(colours[a], colours[b])).sum()
        for a in range(50)
        for b in range(a + 1, min(a + 6, 50))
    ]
    assert min(distances) > 60


def test_no_tracks_leave_the_picture_as_it_is():
    assert (draw_tracks(GREY, detections()) == GREY).all()
    assert (TrackPainter().paint(GREY, detections()) == GREY).all()


@pytest.mark.parametrize(
    "box",
    [
        (np.nan, 10, 50, 50),
        (10, 10, np.inf, 50),
        (1e9, 1e9, 2e9, 2e9),
        (-1e9, -1e9, -1e8, -1e8),
    ],
)
def test_a_box_that_is_nowhere_is_left_out(box):
    tracks = detections([(0, 0, 1, 1)])
    tracks.xyxy[0] = box  # on creation supervision would refuse it
    painter = TrackPainter()
    for _ in range(3):
        drawn = painter.paint(GREY, tracks)
    assert (drawn == GREY).all()


def test_a_box_beyond_every_edge_does_no_harm():
    painter = TrackPainter()
    for _ in range(3):
        drawn = painter.paint(GREY, detections([(-1e9, -1e9, 1e9, 1e9)]))
    assert drawn.shape == GREY.shape


def test_an_inverted_box_is_drawn_as_if_it_were_not():
    upright = draw_tracks(GREY, detections([(50, 60, 150, 200)]))
    assert (draw_tracks(GREY, detections([(150, 200, 50, 60)])) == upright).all()


def test_a_trail_follows_the_feet_and_fades():
    painter = TrackPainter(trail_frames=20)
    for step in range(40):
        tracks = detections([(50 + 4 * step, 60, 80 + 4 * step, 160)])
        drawn = painter.paint(GREY, tracks)
    feet = [(65 + 4 * step, 160) for step in range(40)]
    assert painter.trails()[0] == [pytest.approx(point) for point in feet[-20:]]
    difference = np.abs(drawn.astype(int) - GREY).sum(axis=2)
    old, new = feet[-19], feet[-5]
    assert difference[new[1], new[0]] > difference[old[1], old[0]] > 0
    assert not changed(drawn)[155:165, : feet[10][0]].any(), "what is older than the trail is forgotten"


def test_tracks_that_are_gone_are_forgotten():
    painter = TrackPainter(trail_frames=5)
    for number in range(200):
        painter.update(detections([(10, 10, 20, 30)], [number]))
        assert len(painter.trails()) <= 5
    for _ in range(5):
        painter.update(detections())
    assert painter.trails() == {}


def test_without_trails_only_boxes_are_drawn():
    painter = TrackPainter(trail_frames=0)
    for step in range(5):
        tracks = detections([(50 + 9 * step, 60, 80 + 9 * step, 160)])
        drawn = painter.paint(GREY, tracks)
    assert (drawn == draw_tracks(GREY, tracks)).all()


def test_two_painters_do_not_share_trails():
    first, second = TrackPainter(), TrackPainter()
    first.update(detections([(0, 0, 10, 10)]))
    assert second.trails() == {}


def test_any_size_of_picture_can_be_drawn_on():
    for size in ((1, 1), (7, 3), (2000, 40)):
        image = flat(9, size)
        assert draw_tracks(image, detections([(0, 0, 5, 5)])).shape == image.shape
