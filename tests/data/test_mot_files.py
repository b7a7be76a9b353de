"""MOTChallenge files: every row or a line number."""

from pathlib import Path

import numpy as np
import pytest

from svit.data.bad_rows import BadRows
from svit.data.mot_files import line_of_row, read_rows, read_sequence_info, read_sequence_length
from svit.errors import DataError

INFO = "[Sequence]\nname=A\nimDir=img1\nframeRate=25\nseqLength=7\nimWidth=640\nimHeight=480\nimExt=.png\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_rows_come_in_the_files_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "2,1.0,3.5,-4,1e1,6\n\n1, 2, 3, 4, 5, 6\n")
    np.testing.assert_array_equal(read_rows(path), [[2, 1, 3.5, -4, 10, 6], [1, 2, 3, 4, 5, 6]])
    assert [line_of_row(path, row) for row in (0, 1)] == [1, 3]


def test_short_rows_are_filled_and_trailing_commas_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "1,1,3,4,5,6,0.5\n2,1,3,4,5,6,\n")
    np.testing.assert_array_equal(read_rows(path), [[1, 1, 3, 4, 5, 6, 0.5], [2, 1, 3, 4, 5, 6, -1]])


@pytest.mark.parametrize("text", ["", "\n", " \n\n"])
def test_an_empty_file_has_no_rows(tmp_path: Path, text: str) -> None:
    assert read_rows(write(tmp_path / "a.txt", text), min_columns=7).shape == (0, 7)


@pytest.mark.parametrize(
    "line", ["1,1,3,4,5", "0,1,3,4,5,6", "1.5,1,3,4,5,6", "1,1,nan,4,5,6", "1,1,x,4,5,6", "# no"]
)
def test_a_bad_line_is_named_or_passed_over(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "a.txt", f"1,1,3,4,5,6\n{line}\n2,1,3,4,5,6\n")
    with pytest.raises(DataError, match=r"a\.txt, line 2: "):
        read_rows(path)
    bad = BadRows(skip=True)
    assert read_rows(path, bad)[:, 0].tolist() == [1, 2]
    assert len(bad.messages) == 1


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: not found"):
        read_rows(tmp_path / "gone.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary\.txt: cannot be read as text"):
        read_rows(tmp_path / "binary.txt")


def test_seqinfo_is_read_whole_or_only_its_length(tmp_path: Path) -> None:
    assert read_sequence_length(tmp_path) is None
    write(tmp_path / "seqinfo.ini", "[Sequence]\nseqLength=7\n")
    assert read_sequence_length(tmp_path) == 7
    with pytest.raises(DataError, match=r"seqinfo\.ini: 'imWidth' is missing"):
        read_sequence_info(tmp_path)
    write(tmp_path / "seqinfo.ini", INFO)
    info = read_sequence_info(tmp_path)
    assert (info.length, info.rate, info.width, info.height) == (7, 25.0, 640, 480)
    assert info.image(3) == f"{tmp_path.name}/img1/000003.png"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("seqLength=7", "seqLength=0", "seqLength is 0; it must be above 0"),
        ("imWidth=640", "imWidth=wide", "imWidth: invalid literal"),
        ("frameRate=25", "frameRate=nan", "frameRate is nan"),
        ("[Sequence]", "[Other]", "'Sequence' is missing"),
        ("[Sequence]\n", "", "File contains no section headers"),
    ],
)
def test_a_malformed_seqinfo_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    write(tmp_path / "seqinfo.ini", INFO.replace(old, new))
    with pytest.raises(DataError, match=r"seqinfo\.ini") as raised:
        read_sequence_info(tmp_path)
    assert problem in str(raised.value)
    with pytest.raises(DataError, match=r"seqinfo\.ini: not found"):
        read_sequence_info(tmp_path / "elsewhere")
