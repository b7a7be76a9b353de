"""The index: what is written is read again, and what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from svit.data.actions import ActionVideo, FlipRule, read_action_index
from svit.data.actions.index import ActionIndex, BrokenVideo, write_action_index
from svit.errors import DataError

EVEN = ActionVideo("a/x.mp4", 1, "train", "x", 50, 25.0, 96, 64, 2.0, (0, 12, 24), None, 0.04, 1234)
UNEVEN = ActionVideo("b/y.mp4", 0, "val", "y", 3, 2.0, 96, 64, 2.0, (0,), (0.0, 0.1, 1.0), 0.0, 99)
IMAGES = ActionVideo("c/z", 2, "val", "z", 5, 12.0, 96, 64, 5 / 12, first=2)
SWAP = FlipRule("swap", (("left", "right"),))


@pytest.fixture
def path(tmp_path):
    broken = [BrokenVideo("d.mp4", 0, "train", "d.mp4: is empty")]
    index = ActionIndex(
        tmp_path / "i.json", "n", tmp_path, ["left", "right", "still"], SWAP, [EVEN, UNEVEN, IMAGES], broken
    )
    with index.path.open("wb") as file:
        write_action_index(file, index, "videos")
    return index.path


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_is_written_is_read_again(path):
    index = read_action_index(path)
    assert index.videos == [EVEN, UNEVEN, IMAGES]
    assert index.broken == [BrokenVideo("d.mp4", 0, "train", "d.mp4: is empty")]
    assert (index.name, index.classes, index.flip) == ("n", ["left", "right", "still"], SWAP)
    assert index.path_of(EVEN) == path.parent / "videos" / "a/x.mp4"
    assert index.of("val") == [UNEVEN, IMAGES]


def test_one_video_is_one_line(path):
    lines = [line for line in path.read_text().splitlines() if '"path"' in line]
    assert [json.loads(line.rstrip(","))["path"] for line in lines] == ["a/x.mp4", "b/y.mp4", "c/z", "d.mp4"]


def test_the_videos_folder_may_be_another(path, tmp_path):
    assert read_action_index(path, tmp_path / "moved").path_of(EVEN) == tmp_path / "moved/a/x.mp4"


def test_the_clock_is_even_unless_the_index_has_times():
    np.testing.assert_allclose(EVEN.clock()[:3], [0, 0.04, 0.08])
    np.testing.assert_allclose(UNEVEN.clock(), [0.0, 0.1, 1.0])


def test_a_split_that_is_not_there_is_named_with_those_that_are(path):
    with pytest.raises(DataError, match=r"i\.json: no videos of the split 'test'; there is train, val"):
        read_action_index(path).of("test")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "other"}, "format 'other'"),
        ({"classes": ["left", "right"]}, "videos record 3: the label 2 is none of 0-1"),
        ({"classes": ["left", "left", "still"]}, "twice"),
        ({"flip": {"rule": "sometimes", "pairs": []}}, "never, any or swap"),
        ({"flip": {"rule": "swap", "pairs": [["left", "up"]]}}, "no class 'up'"),
        ({"flip": {"rule": "swap", "pairs": []}}, "swap, which needs them"),
        ({"videos": [{"path": "x"}]}, "videos record 1"),
        ({"videos": [3]}, "videos record 1"),
        ({"flip": 3}, "malformed"),
    ],
)
def test_what_does_not_fit_is_named_with_the_file(path, values, message):
    change(path, **values)
    with pytest.raises(DataError, match=message) as caught:
        read_action_index(path)
    assert "\n" not in str(caught.value)


def test_frames_and_times_must_fit(path):
    content = json.loads(path.read_text())
    content["videos"][1]["times"] = [0.0, 0.1]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="videos record 2: 2 times of 3 frames"):
        read_action_index(path)


@pytest.mark.parametrize("content", ["{}", '{"images": []}', "[]", ""])
def test_another_file_is_no_index(tmp_path, content):
    (tmp_path / "i.json").write_text(content)
    with pytest.raises(DataError, match=r"i\.json"):
        read_action_index(tmp_path / "i.json")


def test_mirroring_swaps_the_pairs_and_nothing_else():
    assert SWAP.mirrored(["left", "still", "right"]) == [2, 1, 0]
    assert FlipRule("any").mirrored(["left", "right"]) == [0, 1]
    with pytest.raises(DataError, match="two pairs"):
        FlipRule("swap", (("a", "b"), ("b", "c")))
