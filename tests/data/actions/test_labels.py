"""Label maps in every layout, made here and real."""

from __future__ import annotations

import pytest

from svit.data.actions.labels import read_label_map, spaced, without_brackets
from svit.errors import DataError

LAYOUTS = {
    "names.txt": "bowling\narm wrestling\nabseiling\n",
    "from0.txt": "0 bowling\n1 arm wrestling\n2 abseiling\n",
    "from1.txt": "1 bowling\n2 arm wrestling\n3 abseiling\n",
    "header.csv": "id,name\n0,bowling\n1,arm wrestling\n2,abseiling\n",
    "numbers.json": '{"arm wrestling": 1, "abseiling": 2, "bowling": 0}',
    "texts.json": '{"arm wrestling": "1", "abseiling": "2", "bowling": "0"}',
    "quoted.json": '{"\\"arm wrestling\\"": 1, "abseiling": 2, "bowling": 0}',
    "list.json": '["bowling", "arm wrestling", "abseiling"]',
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_classes(tmp_path, name):
    (tmp_path / name).write_text(LAYOUTS[name])
    assert read_label_map(tmp_path / name) == ["bowling", "arm wrestling", "abseiling"]


def test_names_that_begin_with_numbers_stay_names(tmp_path):
    (tmp_path / "names.txt").write_text("4 square\nbowling\n")
    assert read_label_map(tmp_path / "names.txt") == ["4 square", "bowling"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "no classes"), ("a\nb\na\n", "'a' comes twice"), (None, "cannot be read")],
)
def test_a_bad_map_is_named(tmp_path, content, message):
    path = tmp_path / "map.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=f"map.txt.*{message}"):
        read_label_map(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 0, "b": 2}', "'b' has number 2; expected 1"),
        ('{"a": 0, "b": 0}', "'b' has number 0; expected 1"),
        ('{"a": "x"}', "whole number"),
        ("{", "line 1"),
        ("3", "names"),
    ],
)
def test_a_bad_json_map_is_named(tmp_path, content, message):
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(DataError, match=rf"map\.json.*{message}"):
        read_label_map(tmp_path / "map.json")


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("k400/label_map_k400.txt", 400, "abseiling"),
        ("k400/labels_DiST.json", 400, "abseiling"),
        ("ssv2/label_map_sthv2.txt", 174, "Approaching something with your camera"),
        ("ssv2/labels_DiST.json", 174, "Approaching something with your camera"),
        ("jester/label_map.txt", 27, "Swiping Left"),
        ("ucf101/label_map.txt", 101, "ApplyEyeMakeup"),
        ("hmdb51/label_map.txt", 51, "brush_hair"),
    ],
)
def test_real_maps_have_all_their_classes(shared, name, count, first):
    names = read_label_map(shared / "data/formats" / name)
    assert (len(names), names[0]) == (count, first)


@pytest.mark.parametrize("data_set", ["k400/label_map_k400.txt k400/labels_DiST.json",
                                      "ssv2/label_map_sthv2.txt ssv2/labels_DiST.json"])  # fmt: skip
def test_the_two_real_maps_of_a_data_set_agree_and_are_alphabetical(shared, data_set):
    one, other = (read_label_map(shared / "data/formats" / name) for name in data_set.split())
    assert one == other == sorted(one)


def test_spellings_of_one_class():
    assert spaced("arm_wrestling") == spaced('"arm wrestling"') == "arm wrestling"
    assert (
        without_brackets("Holding [something] next to [something]") == "Holding something next to something"
    )
