"""What can be scored, and one clear line for everything that cannot."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from svit.errors import DataError, UsageError
from svit.evaluate import score_tracking
from svit.evaluate.mot import combine, score_files

TRUTH = "1,1,0,0,10,20,1,1,1\n2,1,1,0,10,20,1,1,1\n2,2,50,0,10,20,1,1,1\n"
RESULTS = "1,3.0,0,0,10,20,0.9,-1,-1,-1\n2,3.0,1,0,10,20,0.9,-1,-1,-1\n2,4.0,50,0,10,20,0.8,-1,-1,-1\n"
PERFECT = {"HOTA": 100, "MOTA": 100, "IDF1": 100, "FP": 0, "FN": 0, "IDs": 0, "MT": 2, "ML": 0, "Frag": 0}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def add_sequence(root: Path, name: str, truth: str = TRUTH, length: int | None = 3) -> None:
    write(root / name / "gt" / "gt.txt", truth)
    if length is not None:
        write(root / name / "seqinfo.ini", f"[Sequence]\nseqLength={length}\n")


@pytest.fixture
def gt(tmp_path: Path) -> Path:
    root = tmp_path / "MOT17" / "train"
    for name in ("A", "B"):
        add_sequence(root, name)
    return root


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "mine"
    for name in ("A", "B"):
        write(folder / f"{name}.txt", RESULTS)
    return folder


def rows(text: str) -> np.ndarray:
    return np.array([[float(word) for word in line.split(",")] for line in text.splitlines()])


def is_perfect(scores: dict[str, float]) -> bool:
    return {name: round(scores[name], 9) for name in PERFECT} == PERFECT


def test_a_root_and_a_folder_of_results(gt: Path, results: Path) -> None:
    scores = score_tracking(gt, results)
    assert list(scores) == ["A", "B", "COMBINED"]
    assert is_perfect(scores["A"])
    assert scores["COMBINED"]["MT"] == 4
    assert all(isinstance(scores["A"][name], int) for name in ("FP", "FN", "IDs", "MT", "ML", "Frag"))


def test_results_in_a_data_folder_beside_other_files(gt: Path, tmp_path: Path) -> None:
    for name in ("A", "B"):
        write(tmp_path / "tracker" / "data" / f"{name}.txt", RESULTS)
    write(tmp_path / "tracker" / "pedestrian_summary.txt", "HOTA\n1\n")
    assert is_perfect(score_tracking(gt, tmp_path / "tracker")["B"])


def test_single_files_sequence_folders_arrays_and_mappings(gt: Path, results: Path, tmp_path: Path) -> None:
    alone = write(tmp_path / "gt.txt", TRUTH)
    result = results / "A.txt"
    ways = [
        (gt / "A", results),
        (gt / "A", result),
        (gt / "A" / "gt" / "gt.txt", str(result)),
        (alone, result),
        (rows(TRUTH), rows(RESULTS)),
        ({"A": rows(TRUTH)}, {"A": rows(RESULTS)}),
        ({"A": gt / "A", "B": alone}, {"A": str(result), "B": rows(RESULTS)}),
        ({"A": gt / "A", "B": gt / "B" / "gt" / "gt.txt"}, results),
    ]
    for truth, found in ways:
        scores = score_tracking(truth, found)
        assert len(scores) in (2, 3)
        assert all(is_perfect(score) for name, score in scores.items() if name != "COMBINED")
    assert list(score_tracking(gt / "A", result)) == ["A", "COMBINED"]
    assert list(score_tracking(alone, result)) == ["A", "COMBINED"]


def test_chosen_sequences_alone_are_scored(gt: Path, results: Path) -> None:
    (results / "A.txt").unlink()
    assert list(score_tracking(gt, results, sequences=["B"])) == ["B", "COMBINED"]
    with pytest.raises(DataError, match="no ground truth for C"):
        score_tracking(gt, results, sequences=["C"])


def test_an_empty_file_means_nothing_was_found(gt: Path, results: Path) -> None:
    write(results / "B.txt", "")
    scores = score_tracking(gt, results)
    assert (scores["B"]["FN"], scores["B"]["ML"], scores["B"]["HOTA"]) == (3, 2, 0)
    assert scores["COMBINED"]["FN"] == 3


def test_blanks_trailing_commas_and_a_byte_order_mark_are_read(gt: Path, results: Path) -> None:
    text = "\ufeff" + RESULTS.replace("\n", ",\r\n\r\n").replace(",", ", ")
    (results / "A.txt").write_bytes(text.encode())
    assert is_perfect(score_tracking(gt, results)["A"])


def broken(text: str, line: int, new: str) -> str:
    lines = text.splitlines()
    lines[line - 1] = new
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2,3,nan,0,10,20,1,-1,-1,-1", "NaN"),
        ("2,3,1,0,inf,20,1,-1,-1,-1", "NaN or infinite"),
        ("2,3,1,0,person,20,1,-1,-1,-1", "person"),
        ("2,3,1,0", "4 columns"),
        ("0,3,1,0,10,20,1,-1,-1,-1", "frame 0"),
        ("1.5,3,1,0,10,20,1,-1,-1,-1", "frame 1.5"),
        ("4,3,1,0,10,20,1,-1,-1,-1", "frame 4, but the sequence has 3 frames"),
        ("1,3,1,0,10,20,1,-1,-1,-1", "id 3 is twice in frame 1"),
        ("2,-1,1,0,10,20,1,-1,-1,-1", "id -1"),
        ("2,3.5,1,0,10,20,1,-1,-1,-1", "id 3.5"),
        ("2,3,1,0,10,20,1,3,-1,-1", "class 3"),
    ],
)
def test_a_bad_row_of_the_results_is_named(gt: Path, results: Path, line: str, problem: str) -> None:
    path = write(results / "B.txt", "\n" + broken(RESULTS, 2, line))  # a blank line first: lines, not rows
    with pytest.raises(DataError) as raised:
        score_tracking(gt, results)
    message = str(raised.value)
    assert message.startswith(f"{path}, line 3: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2,1,nan,0,10,20,1,1,1", "NaN"),
        ("9,1,1,0,10,20,1,1,1", "frame 9, but the sequence has 3 frames"),
        ("1,1,1,0,10,20,1,1,1", "id 1 is twice in frame 1"),
        ("2,1,1,0,10,20,1,14,1", "class 14"),
        ("2,1,1,0,10,20", "class -1"),
    ],
)
def test_a_bad_row_of_the_ground_truth_is_named(gt: Path, results: Path, line: str, problem: str) -> None:
    path = write(gt / "B" / "gt" / "gt.txt", broken(TRUTH, 2, line))
    with pytest.raises(DataError, match=re.escape(f"{path}, line 2: ")) as raised:
        score_tracking(gt, results)
    assert problem in str(raised.value)


@pytest.mark.parametrize("side", [0, 1])
def test_a_bad_row_in_memory_is_named(side: int) -> None:
    tables = [rows(TRUTH), rows(RESULTS)]
    tables[side][1, 2] = np.nan
    with pytest.raises(DataError, match=r"(ground truth|results) of A, row 1 \(from 0\): a number is NaN"):
        score_tracking({"A": tables[0]}, {"A": tables[1]})
    tables[side] = tables[side][:, :5]
    with pytest.raises(DataError, match=r"shape \(3, 5\)"):
        score_tracking(*tables)


def test_without_seqinfo_the_length_is_not_checked(tmp_path: Path, results: Path) -> None:
    for name in ("A", "B"):
        add_sequence(tmp_path / "gt", name, length=None)
    write(results / "B.txt", RESULTS + "90,3,1,0,10,20,1,-1,-1,-1\n")
    assert score_tracking(tmp_path / "gt", results)["B"]["FP"] == 1


def test_a_broken_seqinfo_is_named(gt: Path, results: Path) -> None:
    for text in (
        "[Sequence]\nname=B\n",
        "[Sequence]\nseqLength=many\n",
        "seqLength=3\n",
        "[Sequence]\nseqLength=0",
    ):
        path = write(gt / "B" / "seqinfo.ini", text)
        with pytest.raises(DataError, match=re.escape(str(path))):
            score_tracking(gt, results)


def test_sequences_of_one_side_only_are_named(gt: Path, results: Path) -> None:
    write(results / "C.txt", RESULTS)
    with pytest.raises(DataError, match="results for C, but the ground truth has A, B"):
        score_tracking(gt, results)
    (results / "C.txt").unlink()
    (results / "B.txt").unlink()
    with pytest.raises(DataError, match=r"no results for B.*empty file"):
        score_tracking(gt, results)
    with pytest.raises(DataError, match="no results for B"):
        score_tracking(gt / "B", results)


def test_missing_ground_truth_is_named_with_what_is_there(gt: Path, results: Path) -> None:
    write(gt / "A" / "gt" / "gt_half-val.txt", TRUTH)
    with pytest.raises(
        DataError, match=r"B/gt/gt_half-val.txt: not found.*gt\.txt.*svit prepare mot --split-train"
    ):
        score_tracking(gt, results, "gt_half-val.txt")
    (gt / "B" / "gt" / "gt.txt").unlink()
    with pytest.raises(DataError, match=r"B/gt/gt\.txt: not found"):
        score_tracking(gt, results)


def test_another_level_is_recognised(gt: Path, results: Path) -> None:
    expected = "expected is the folder that holds them"
    with pytest.raises(DataError, match=f"{expected}.*one level lower: {gt}"):
        score_tracking(gt.parent, results)
    with pytest.raises(DataError, match=f"{expected}.*one level higher: {gt}, or the sequence {gt / 'A'}"):
        score_tracking(gt / "A" / "gt", results)
    with pytest.raises(DataError, match=f"no results here.*one level lower: {results}"):
        score_tracking(gt, results.parent)
    with pytest.raises(DataError, match="no sequences here"):
        score_tracking(results, results)
    gt.rename(gt.parent / "gt")  # sequences in a folder that is called as the one in each of them
    with pytest.raises(DataError, match=f"{expected}.*one level lower: {gt.parent / 'gt'}"):
        score_tracking(gt.parent, results)


def test_what_is_not_there_is_named(gt: Path, results: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for truth, found in ((nowhere, results), (gt, nowhere), ({"A": nowhere}, results), (gt, {"A": nowhere})):
        with pytest.raises(DataError, match="nowhere: not found"):
            score_tracking(truth, found)
    with pytest.raises(DataError, match="no sequences to score"):
        score_tracking({}, {})
    with pytest.raises(DataError, match="no sequences to score"):
        combine([])


def test_an_unknown_benchmark_is_a_usage_error(gt: Path, results: Path) -> None:
    with pytest.raises(UsageError, match=r"MOT18.*MOT15, MOT16, MOT17, MOT20, DanceTrack, SportsMOT"):
        score_files(gt, results, benchmark="MOT18")
