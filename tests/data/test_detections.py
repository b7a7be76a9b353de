"""Files of public detections: which are found, what their scores mean, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svit.data.detections import find_detections, read_detections
from svit.errors import DataError, UsageError

SEQINFO = (
    "[Sequence]\nname=S\nimDir=img1\nframeRate=30\nseqLength={}\nimWidth=640\nimHeight=480\nimExt=.jpg\n"
)


def write(path: Path, text: str = "1,-1,10,20,30,40,0.5\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_boxes_become_corners_and_the_folder_names_the_sequence(tmp_path):
    path = write(tmp_path / "SEQ/det/det.txt", "2,-1,10,20,30,40,0.5,-1,-1,-1\n1,-1,1,2,3,4,1\n")
    found = read_detections(path)
    assert (found.name, found.path, found.frames) == ("SEQ", path, 2)
    np.testing.assert_array_equal(found.rows, [[2, -1, 10, 20, 40, 60, 0.5], [1, -1, 1, 2, 4, 6, 1]])
    assert read_detections(write(tmp_path / "OTHER.txt")).name == "OTHER"


def test_a_name_does_not_depend_on_where_one_stands(tmp_path, monkeypatch):
    write(tmp_path / "SEQ/det/det.txt")
    monkeypatch.chdir(tmp_path / "SEQ/det")
    assert read_detections(Path("det.txt")).name == "SEQ"


def test_seqinfo_tells_the_length(tmp_path):
    det = write(tmp_path / "SEQ/det/det.txt")
    write(tmp_path / "SEQ/seqinfo.ini", SEQINFO.format(9))
    assert read_detections(det).frames == 9
    assert read_detections(write(tmp_path / "SEQ/boxes.txt")).frames == 9
    write(det, "10,-1,1,2,3,4,1\n")
    with pytest.raises(DataError, match=r"det\.txt: frame 10, but .*seqinfo\.ini says that there are 9"):
        read_detections(det)


def test_scores_from_0_to_1_are_kept_and_others_are_an_error_that_says_what_to_do(tmp_path):
    path = write(tmp_path / "a.txt", "1,-1,1,2,3,4,0\n1,-1,1,2,3,4,1\n1,-1,1,2,3,4,0.25\n")
    assert read_detections(path).rows[:, 6].tolist() == [0, 1, 0.25]
    assert read_detections(path, "one").rows[:, 6].tolist() == [1, 1, 1]
    write(path, "1,-1,1,2,3,4,-0.5\n1,-1,1,2,3,4,2.75\n")
    with pytest.raises(
        DataError, match=r"a\.txt: scores from -0\.5 to 2\.75, .*--scores sigmoid .*--scores one"
    ):
        read_detections(path)
    expected = 1 / (1 + np.exp([0.5, -2.75]))
    np.testing.assert_allclose(read_detections(path, "sigmoid").rows[:, 6], expected)
    write(path, "1,-1,1,2,3,4,1e9\n1,-1,1,2,3,4,-1e9\n")
    assert read_detections(path, "sigmoid").rows[:, 6].tolist() == [1, 0]


@pytest.mark.parametrize("text", ["1,-1,1,2,3,4\n2,-1,1,2,3,4\n", "1,-1,1,2,3,4,-1\n2,-1,1,2,3,4,-1,-1,-1\n"])
@pytest.mark.parametrize("scores", ["keep", "sigmoid"])
def test_boxes_without_scores_are_certain_and_that_is_said(tmp_path, text, scores):
    path = write(tmp_path / "a.txt", text)
    with pytest.warns(UserWarning, match=r"a\.txt: has no scores; every box counts as certain"):
        assert read_detections(path, scores).rows[:, 6].tolist() == [1, 1]


def test_boxes_without_area_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "a.txt", "1,-1,1,2,3,4,1\n7,-1,1,2,0,4,1\n8,-1,1,2,3,-4,1\n")
    with pytest.warns(UserWarning, match=r"a\.txt: left out 2 boxes .* the first in frame 7"):
        found = read_detections(path)
    assert (len(found.rows), found.frames) == (1, 1)


def test_an_empty_file_has_no_boxes(tmp_path):
    found = read_detections(write(tmp_path / "a.txt", ""))
    assert (found.rows.shape, found.frames) == ((0, 7), 0)


def test_malformed_rows_name_file_and_line(tmp_path):
    path = write(tmp_path / "a.txt", "1,-1,1,2,3,4,0.5\n1,-1,1,two,3,4,0.5\n")
    with pytest.raises(DataError, match=r"a\.txt, line 2: "):
        read_detections(path)
    with pytest.raises(UsageError, match="unknown scores 'softmax'; choose from keep, sigmoid, one"):
        read_detections(path, "softmax")


def test_files_are_found_in_every_layout(tmp_path):
    one, two = (write(tmp_path / f"train/{name}/det/det.txt") for name in ("A", "B"))
    write(tmp_path / "train/notes.txt")
    flat = [write(tmp_path / f"flat/{name}.txt") for name in ("A", "B")]
    assert find_detections(one) == [one]
    assert find_detections(tmp_path / "train/A") == [one]
    assert find_detections(tmp_path / "train") == [one, two]
    assert find_detections(tmp_path / "flat") == flat


def test_a_wrong_folder_is_an_error_that_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match="none: not found"):
        find_detections(tmp_path / "none")
    write(tmp_path / "MOT/train/A/det/det.txt")
    with pytest.raises(
        DataError, match=r"MOT: no SEQ/det/det.txt and no SEQ.txt in it; did you mean .*MOT/train\?"
    ):
        find_detections(tmp_path / "MOT")
    (tmp_path / "MOT/empty").mkdir()
    with pytest.raises(DataError, match=r"in it$"):
        find_detections(tmp_path / "MOT/empty")
    write(tmp_path / "MOT/train/B/seqinfo.ini", SEQINFO.format(9))
    with pytest.raises(DataError, match=r"B: no det/det\.txt, as the sequences beside it have"):
        find_detections(tmp_path / "MOT/train")
