"""Tables of scores: every number in its place, at any width, on a terminal and on a page."""

from __future__ import annotations

import math
import re

import pytest

from svit.evaluate.mot import COMBINED
from svit.evaluate.table import MAIN, Table, shown

ROWS = [
    ("A", {"HOTA": 61.25, "MOTA": -7.5, "FP": 12, "IDs": 3}),
    ("a longer name", {"HOTA": 8.0, "MOTA": 93.125, "FP": 100000, "IDs": 0}),
    (COMBINED, {"HOTA": 44.444, "MOTA": 88.0, "FP": 100012, "IDs": 3}),
]
COLUMNS = ("HOTA", "MOTA", "FP", "IDs")


def words(text):
    return [line.split() for line in text.splitlines()]


def test_a_text_table_has_a_line_for_each_row_and_a_cell_for_each_number():
    lines = words(Table("sequence", ROWS, COLUMNS).text())
    assert lines[0] == ["sequence", *COLUMNS]
    assert lines[1] == ["A", "61.25", "-7.50", "12", "3"]
    assert lines[2] == ["a", "longer", "name", "8.00", "93.12", "100000", "0"]
    assert lines[3] == [COMBINED, "44.44", "88.00", "100012", "3"]


def test_numbers_stand_below_their_titles():
    lines = Table("sequence", ROWS, COLUMNS).text().splitlines()
    assert len({len(line) for line in lines}) == 1
    for title in COLUMNS:
        end = lines[0].index(title) + len(title)
        assert all(line[end - 1] != " " and line[end : end + 2] in ("  ", "") for line in lines)


@pytest.mark.parametrize("width", [24, 30, 40, 60])
def test_columns_that_do_not_fit_go_below_with_the_names_again(width):
    text = Table("sequence", ROWS, COLUMNS).text(width)
    blocks = text.split("\n\n")
    assert max(map(len, text.splitlines())) <= width
    assert [line.split("  ")[0] for line in blocks[-1].splitlines()] == [
        "sequence",
        "A",
        "a longer name",
        COMBINED,
    ]
    assert [title for block in words(text) if block[:1] == ["sequence"] for title in block[1:]] == [*COLUMNS]


def test_a_table_is_readable_where_even_one_column_is_too_wide():
    lines = Table("sequence", ROWS, COLUMNS).text(1).splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("sequence")] == [*COLUMNS]


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_not_known_is_a_dash(value):
    assert shown("HOTA", value) == "-"
    assert words(Table("sequence", [("A", {"HOTA": value})], ("HOTA", "IDF1")).text())[1] == ["A", "-", "-"]


def test_the_standard_columns_are_those_of_the_benchmarks():
    assert MAIN == ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "FP", "FN", "IDs", "MT", "ML", "Frag")


def test_the_title_stands_above():
    assert Table("sequence", ROWS, COLUMNS, title="Online").text().startswith("Online\nsequence")


def cells(page):
    return [re.sub("<[^>]+>", "", cell) for cell in re.findall("<t[hd][^>]*>.*?</t[hd]>", page)]


def test_the_page_has_the_same_numbers_as_the_terminal():
    table = Table("sequence", ROWS, COLUMNS)
    in_text = [word for line in words(table.text()) for word in line]
    assert " ".join(cells(table.html())).split() == in_text


def test_names_on_the_page_are_escaped():
    page = Table("sequence", [("<script>&\"'", {"HOTA": 1.0})], ("HOTA",), title="<i>").html()
    assert "<script>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;&amp;" in page


def best(page):
    return re.findall("<td class=best>([^<]+)", page)


def test_of_rivals_the_best_number_stands_out_whether_high_or_low_is_good():
    assert best(Table("tracker", ROWS[:2], COLUMNS, compared=True).html()) == ["61.25", "12", "93.12", "0"]
    assert best(Table("tracker", ROWS[:2], COLUMNS).html()) == []


def test_equal_rivals_have_no_best():
    same = [("A", {"HOTA": 5.0}), ("B", {"HOTA": 5.0})]
    assert best(Table("tracker", same, ("HOTA",), compared=True).html()) == []
