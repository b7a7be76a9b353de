"""The report: plots and pictures show what happened, and the page is one file that needs nothing else."""

from __future__ import annotations

import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image as PillowImage

from svit.errors import OutputError
from svit.evaluate.failures import CELL, draw_failure, find_misses, find_switches, jpeg, worst
from svit.evaluate.hota import ALPHAS
from svit.evaluate.plots import bar_figure, rival_figure, svg, threshold_figure
from svit.evaluate.report import Card, Page, Section, write_page
from svit.evaluate.table import Table


def people(*spans):
    """Ground truth rows: person n (from 1) in the frames of its span, walking to the right."""
    rows = [
        [frame, person, 20 * person + frame, 30, 20, 50, 1, 1, 1]
        for person, span in enumerate(spans, start=1)
        for frame in span
    ]
    return np.array(rows, dtype=np.float64)


def events(*rows, columns):
    return np.array(rows, dtype=np.int64).reshape(-1, columns)


def switches(*rows):
    return events(*rows, columns=4)


def misses(*rows):
    return events(*rows, columns=2)


# Which failures are the worst


def test_a_switch_costs_the_shorter_piece_of_the_track_it_cuts():
    gt = people(range(1, 101), range(1, 101))
    found = worst(find_switches("A", gt, switches((4, 1, 10, 11), (50, 2, 12, 13)), misses()), 5)
    assert [(f.person, f.cost, f.frames, f.tracks) for f in found] == [
        (2, 49, (49, 50), (12, 13)),
        (1, 3, (3, 4), (10, 11)),
    ]


def test_a_switch_after_a_gap_shows_the_last_frame_that_was_matched():
    gt = people(range(1, 21))
    missed = misses(*((frame, 1) for frame in range(6, 11)))
    (failure,) = find_switches("A", gt, switches((11, 1, 3, 4)), missed)
    assert (failure.frames, failure.cost) == ((5, 11), 5)


def test_two_switches_of_a_person_are_one_failure_the_worse():
    gt = people(range(1, 101))
    found = worst(find_switches("A", gt, switches((90, 1, 2, 3), (40, 1, 1, 2)), misses()), 5)
    assert [(f.cost, f.frames[1]) for f in found] == [(39, 40)]


def test_the_longest_miss_of_a_person_is_shown_where_the_person_is_largest():
    gt = people(range(1, 31))
    gt[gt[:, 0] == 14, 5] = 90
    gt[gt[:, 0] == 25, 5] = 200  # larger, but matched
    missed = misses((3, 1), (4, 1), *((frame, 1) for frame in range(12, 18)))
    (failure,) = find_misses("A", gt, missed)
    assert (failure.cost, failure.first, failure.last, failure.frames) == (6, 12, 17, (14,))


def test_rows_that_do_not_count_are_no_misses():
    gt = people(range(1, 11))
    gt[gt[:, 0] == 5, 6] = 0
    (failure,) = find_misses("A", gt, misses((4, 1), (6, 1)))
    assert (failure.cost, failure.first, failure.last) == (2, 4, 6)


def test_captions_say_who_and_when():
    gt = people(range(1, 21))
    (switch,) = find_switches("A", gt, switches((11, 1, 3, 4)), misses())
    (miss,) = find_misses("A", gt, misses((7, 1)))
    assert switch.caption() == "A: person 1, id 3 becomes 4 in frame 11"
    assert miss.caption() == "A: person 1 missed in frame 7"


# Pictures


def frames_of(count, size=(200, 120)):
    return [np.full((size[1], size[0], 3), 40 + number, np.uint8) for number in range(count)]


def test_a_switch_has_two_pictures_of_the_same_place_with_box_and_track():
    gt = people(range(1, 21))
    results = np.column_stack((gt[:, :6], np.ones(20)))
    results[:10, 1], results[10:, 1] = 3, 4
    (failure,) = find_switches("A", gt, switches((11, 1, 3, 4)), misses())
    before, after = draw_failure(failure, frames_of(20), gt, results)
    assert before.shape == after.shape
    assert before.shape[1] <= CELL[0]
    assert before.shape[0] <= CELL[1]
    for picture in (before, after):
        assert (picture == 255).all(axis=2).any(), "the dashes of the ground truth"
        spread = picture.max(axis=2).astype(int) - picture.min(axis=2)
        assert (spread > 100).any(), "the colour of the track"


def test_a_missed_person_at_the_border_has_a_picture():
    gt = people(range(1, 4))
    gt[:, 2:6] = (190, 100, 30, 60)  # reaches beyond the frame
    (failure,) = find_misses("A", gt, misses((1, 1), (2, 1), (3, 1)))
    (picture,) = draw_failure(failure, frames_of(3), gt, np.empty((0, 7)))
    assert (picture == 255).all(axis=2).any()


def test_a_picture_is_a_jpeg_of_its_size():
    with PillowImage.open(io.BytesIO(jpeg(frames_of(1)[0]))) as image:
        assert (image.format, image.size) == ("JPEG", (200, 120))


# Plots


def curves(height):
    return dict.fromkeys(("HOTA", "DetA", "AssA"), height * (1 - ALPHAS))


def test_thresholds_have_a_panel_for_each_name_and_a_line_for_each_metric():
    figure = threshold_figure({"COMBINED": curves(60), "a $b$": curves(50), "_c": curves(1)})
    assert [panel.get_title().strip() for panel in figure.axes] == ["COMBINED", r"a \$b\$", "_c"]
    drawn = [line.get_ydata() for line in figure.axes[1].get_lines()]
    np.testing.assert_allclose(drawn, [50 * (1 - ALPHAS)] * 3)
    assert len(figure.legends[0].get_texts()) == 3


@pytest.mark.parametrize("count", [2, 9])
def test_every_rival_has_a_line_of_its_own_and_a_name(count):
    figure = rival_figure({f"_tracker {number}": curves(10 * number) for number in range(count)})
    assert len(figure.legends[0].get_texts()) == count
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()}
    assert len(looks) == count


def test_bars_are_as_long_as_the_numbers_and_say_them():
    figure = bar_figure({"A": {"HOTA": 61.26, "MOTA": -250.0}, "B": {"HOTA": 8.0}}, ("HOTA", "MOTA"))
    (panel,) = figure.axes
    assert [bar.get_width() for bar in panel.patches] == [61.26, 8.0, -100.0, 0.0]
    assert [text.get_text() for text in panel.texts] == ["61.3", "8.0", "-250.0", ""]


@pytest.mark.parametrize("count", [1, 2, 5, 26])
def test_plots_of_any_number_of_sequences_can_be_drawn(count):
    names = [f"sequence {number} {'with a very long name ' * 3}" for number in range(count)]
    assert svg(threshold_figure({name: curves(50) for name in names})).startswith("<?xml")
    assert svg(bar_figure({name: {"HOTA": 5.0} for name in names}, ("HOTA",))).startswith("<?xml")


def test_plots_leave_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    svg(threshold_figure({"A": curves(50)}))
    assert dict(matplotlib.rcParams) == before


# The page


class Reader(HTMLParser):
    """What a browser would load, and whether every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.tags, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


EVIL = "<script>alert('1')</script>\"&"


@pytest.fixture
def page():
    card = Card(EVIL, [(EVIL, jpeg(frames_of(1)[0])), ("frame 2", jpeg(frames_of(2)[1]))])
    plot = (EVIL, svg(threshold_figure({EVIL: curves(50)})))
    table = Table("sequence", [(EVIL, {"HOTA": 12.5})], ("HOTA",))
    return Page(EVIL, [(EVIL, EVIL)], [Section(EVIL, EVIL, [table], [plot], [card, Card("no picture", ())])])


def test_the_page_loads_nothing_and_runs_nothing(page):
    reader = read(page.html())
    assert len(reader.sources) == 3
    assert all(source.startswith("data:image/") for source in reader.sources)
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert "url(" not in page.html()


def test_names_are_shown_as_they_are(page):
    assert read(page.html()).text.count(EVIL) == 9


def test_the_page_is_written_whole(page, tmp_path):
    write_page(page, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page.html()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_says_where(page, tmp_path):
    with pytest.raises(OutputError, match=r"none/report\.html.*does not exist"):
        write_page(page, tmp_path / "none" / "report.html")
