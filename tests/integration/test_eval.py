"""`svit eval`: files scored, trackers compared, a model run; every misfit one line and nothing printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.integration.results import names, one_line
from tests.integration.samples import SIZE, moving, write_images

from svit.evaluate import score_tracking
from svit.evaluate.table import ALL, MAIN, OF_RUN

FRAMES = 12
ROOT = Path(__file__).resolve().parents[2]


def people(count=2):
    """Ground truth rows: people side by side, walking to the right for all frames."""
    return np.array(
        [
            [frame, person, 30 * person + frame, 8, 12, 40, 1, 1, 1]
            for person in range(1, count + 1)
            for frame in range(1, FRAMES + 1)
        ],
        dtype=np.float64,
    )


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(f"{number:g}" for number in row) + "\n" for row in rows))
    return path


def write_sequence(folder, rows, pictures=True):
    write_rows(folder / "gt" / "gt.txt", rows)
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=10\nseqLength={FRAMES}\n"
        f"imWidth={SIZE[0]}\nimHeight={SIZE[1]}\nimExt=.png\n"
    )
    if pictures:
        write_images(folder / "img1", moving(FRAMES))
        for number in range(FRAMES, 0, -1):  # from 1, as MOTChallenge counts
            (folder / "img1" / f"{number - 1:04}.png").rename(folder / "img1" / f"{number:06}.png")
    return folder


@pytest.fixture(scope="session")
def gt(tmp_path_factory):
    root = tmp_path_factory.mktemp("gt")
    write_sequence(root / "MOT17-A", people())
    write_sequence(root / "MOT17-B", people(3))
    return root


def tracked(count):
    """Results with a switch of person 1 in the middle, and person 2 missed at the end."""
    rows = people(count)[:, :7]
    rows[(rows[:, 1] == 1) & (rows[:, 0] > 6), 1] = 9
    return rows[~((rows[:, 1] == 2) & (rows[:, 0] > 7))]


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "mine"
    write_rows(folder / "MOT17-A.txt", tracked(2))
    write_rows(folder / "MOT17-B.txt", tracked(3))
    return folder


@pytest.fixture
def rival(tmp_path):
    folder = tmp_path / "rival"
    write_rows(folder / "data" / "MOT17-A.txt", people()[:, :7])
    write_rows(folder / "data" / "MOT17-B.txt", people(3)[:, :7])
    return folder


def table_of(text):
    """{row: {column: cell}} of a printed table, its blocks put together."""
    rows: dict[str, dict[str, str]] = {}
    for block in text.strip().split("\n\n"):
        head, *lines = [re.split(r" {2,}", line.strip()) for line in block.splitlines()]
        for line in lines:
            rows.setdefault(line[0], {}).update(zip(head[1:], line[1:], strict=True))
    return rows


# Files


def test_files_are_scored_in_one_table(command, gt, results):
    status, out, err = command("eval", "--gt", gt, "--results", results)
    assert (status, err) == (0, "")
    table = table_of(out)
    assert list(table) == ["MOT17-A", "MOT17-B", "COMBINED"]
    assert list(table["COMBINED"]) == [*MAIN]
    assert table["MOT17-A"]["IDs"] == "1"
    assert table["COMBINED"]["FN"] == "10"
    expected = score_tracking(gt, results)
    assert table["COMBINED"]["HOTA"] == f"{expected['COMBINED']['HOTA']:.2f}"


def test_json_has_the_scorers_numbers_unrounded(command, gt, results):
    status, out, _ = command("eval", "--gt", gt, "--results", results, "--json")
    assert status == 0
    assert json.loads(out) == score_tracking(gt, results)


def test_single_files_are_scored_in_one_line(command, gt, results):
    files = ("--gt", gt / "MOT17-A" / "gt" / "gt.txt", "--results", results / "MOT17-A.txt")
    status, out, _ = command("eval", *files)
    assert status == 0
    assert list(table_of(out)) == ["MOT17-A", "COMBINED"]


def test_another_ground_truth_file_can_be_named(command, gt, results, tmp_path):
    half = people()[people()[:, 0] <= 6]
    write_sequence(tmp_path / "half" / "MOT17-A", half, pictures=False)
    (tmp_path / "half/MOT17-A/gt/gt.txt").rename(tmp_path / "half/MOT17-A/gt/gt_half-train.txt")
    words = ("eval", "--gt", tmp_path / "half", "--results", results, "--sequence", "*-A")
    status, out, _ = command(*words, "--gt-file", "gt_half-train.txt", "--json")
    assert status == 0
    assert json.loads(out)["MOT17-A"]["GT_Dets"] == 12
    assert command(*words)[0] == 1


def test_sequences_can_be_chosen(command, gt, results):
    status, out, _ = command("eval", "--gt", gt, "--results", results, "--sequence", "*-B")
    assert status == 0
    assert list(table_of(out)) == ["MOT17-B", "COMBINED"]


def test_a_report_has_the_failures_with_their_frames(command, gt, results, here):
    status, out, err = command("eval", "--gt", gt, "--results", results, "-o", "out")
    assert (status, err) == (0, "")
    assert out.endswith("report: out/report.html\n")
    assert names(here / "out") == ["report.html", "results.json"]
    assert json.loads((here / "out/results.json").read_text()) == score_tracking(gt, results)
    page = (here / "out/report.html").read_text()
    assert "MOT17-A: person 1, id 1 becomes 9 in frame 7" in page
    assert "MOT17-B: person 2 missed in 5 frames, 8-12" in page
    assert page.count("data:image/jpeg") == 2 * 2 + 2
    assert page.count("data:image/svg+xml") == 2


def test_a_report_without_pictures_names_the_failures(command, results, tmp_path, here):
    for name, count in (("MOT17-A", 2), ("MOT17-B", 3)):
        write_sequence(tmp_path / "bare" / name, people(count), pictures=False)
    assert command("eval", "--gt", tmp_path / "bare", "--results", results, "-o", "out")[0] == 0
    page = (here / "out/report.html").read_text()
    assert "MOT17-A: person 1, id 1 becomes 9 in frame 7" in page
    assert "data:image/jpeg" not in page


def test_results_without_a_row_are_scored_and_reported(command, gt, results, here):
    for path in results.iterdir():
        path.write_text("")
    status, out, _ = command("eval", "--gt", gt, "--results", results, "-o", "out")
    assert status == 0
    assert table_of(out.partition("\n\nreport")[0])["COMBINED"]["HOTA"] == "0.00"
    assert "missed in 12 frames, 1-12" in (here / "out/report.html").read_text()


# Trackers


def test_trackers_are_compared_side_by_side(command, gt, results, rival):
    status, out, err = command("eval", "--gt", gt, "--compare", results, rival)
    assert (status, err) == (0, "")
    combined, hota = out.split("\n\n")
    assert combined.splitlines()[0] == "All sequences"
    rows = table_of(combined.partition("\n")[2])
    assert rows["rival"]["MOTA"] == "100.00"
    assert rows["mine"]["IDs"] == "2"
    assert table_of(hota.partition("\n")[2])["rival"] == {"MOT17-A": "100.00", "MOT17-B": "100.00"}


def test_a_comparison_has_a_report_and_numbers(command, gt, results, rival, here):
    status, out, _ = command("eval", "--gt", gt, "--compare", results, rival / "data", "-o", "out", "--json")
    assert status == 0
    numbers = json.loads(out)
    assert numbers == json.loads((here / "out/results.json").read_text())
    assert numbers == {"mine": score_tracking(gt, results), "rival": score_tracking(gt, rival)}
    assert (here / "out/report.html").read_text().count("data:image/svg+xml") == 2


def test_trackers_with_one_name_are_told_apart(command, gt, results, tmp_path):
    again = tmp_path / "again" / "mine"
    again.parent.mkdir()
    again.symlink_to(results)
    write_rows(tmp_path / "b" / "mine" / "MOT17-A.txt", people()[:, :7])
    write_rows(tmp_path / "b" / "mine" / "MOT17-B.txt", people(3)[:, :7])
    status, out, _ = command("eval", "--gt", gt, "--compare", results, tmp_path / "b" / "mine", "--json")
    assert status == 0
    assert list(json.loads(out)) == [str(results), str(tmp_path / "b" / "mine")]


# A model


def test_a_model_is_run_scored_and_reported(command, gt, checkpoint, here):
    words = ("eval", gt, "--checkpoint", checkpoint, "-o", "out", "--memory", 2, "--memory-bits", 8)
    status, out, err = command(*words)
    assert (status, err) == (0, "")
    assert json.loads((here / "out" / "run.json").read_text())["model"]["encoder"]["memory_bits"] == 8
    printed, _, report = out.partition("\n\nreport: ")
    table = table_of(printed)
    assert list(table) == ["MOT17-A", "MOT17-B", "COMBINED"]
    assert list(table["COMBINED"]) == [*OF_RUN]
    assert table["COMBINED"]["frames"] == str(2 * FRAMES)
    assert max(len(line) for line in printed.splitlines()) <= 120
    assert report == "out/report.html\n"
    assert {"report.html", "results.json", "run.json", "tracks", "online"} <= set(names(here / "out"))
    scored = score_tracking(gt, here / "out" / "tracks")["COMBINED"]
    assert table["COMBINED"]["HOTA"] == f"{scored['HOTA']:.2f}"
    online = score_tracking(gt, here / "out" / "online")["COMBINED"]
    assert table["COMBINED"]["online HOTA"] == f"{online['HOTA']:.2f}"
    page = (here / "out/report.html").read_text()
    assert all(f">{column}</th>" in page for column in (*ALL, *OF_RUN))

    status, again, _ = command(*words, "--json")
    assert status == 0
    assert json.loads(again) == json.loads((here / "out/results.json").read_text())


def test_steps_and_chunks_have_the_same_scores(command, gt, checkpoint):
    printed = []
    for words in (("--step",), ("--chunk", 5)):
        status, out, _ = command("eval", gt, "--checkpoint", checkpoint, "-o", f"out{words[-1]}", *words)
        assert status == 0
        rows = table_of(out.partition("\n\nreport")[0])
        printed.append({name: {**row, "ms/frame": ""} for name, row in rows.items()})
    assert printed[0] == printed[1]


def test_two_precisions_are_scored_on_the_same_frames(command, gt, checkpoint, here):
    found_by = []
    for precision, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
        words = ("--checkpoint", checkpoint, "--device", "cpu", "--precision", precision, "-o", precision)
        status, out, err = command("eval", gt, *words)
        assert (status, err) == (0, "")
        assert table_of(out.partition("\n\nreport")[0])["COMBINED"]["frames"] == str(2 * FRAMES)
        assert json.loads((here / precision / "run.json").read_text())["precision"] == dtype
        with np.load(here / precision / "detections" / "MOT17-A.npz") as found:
            found_by.append(np.concatenate([found[name].ravel() for name in found.files]))
    assert not np.array_equal(*found_by), "it was computed in the precision that was asked for"


def test_a_run_without_a_place_goes_to_a_folder_named_after_it(command, gt, checkpoint, here):
    words = ("eval", gt / "MOT17-A", "--checkpoint", checkpoint, "--part", "half-val")
    status, out, _ = command(*words)
    assert status == 0
    assert out.endswith("report: eval/lively_MOT17-A_half-val/report.html\n")
    assert names(here) == ["eval"]


def test_a_folder_of_another_run_is_not_mixed_up(command, gt, checkpoint, here):
    words = ("eval", gt / "MOT17-A", "--checkpoint", checkpoint, "-o", "out")
    assert command(*words, "--memory", 1)[0] == 0
    status, out, err = command(*words, "--memory", 3)
    assert (status, out) == (2, "")
    one_line(err, "memory 1, now 3.*--overwrite")
    assert command(*words, "--memory", 3, "--overwrite")[0] == 0


# Bad input


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to evaluate.*mot17-half.*--gt DIR --results DIR"),
        (["mot17-half", "mot20-half"], "one data set at a time; mot20-half"),
        (["mot17-hlf"], "'mot17-hlf'; did you mean 'mot17-half'"),
        (["--results", "RESULTS"], "--results needs --gt"),
        (["--compare", "RESULTS", "RESULTS"], "--compare needs --gt"),
        (["--gt-file", "x.txt", "mot17-half"], "--gt-file needs --gt"),
        (["--gt", "GT"], "--gt needs --results, or --compare"),
        (["--gt", "GT", "RESULTS"], "exclude each other; several trackers need --compare"),
        (["--gt", "GT", "--compare", "RESULTS"], "--compare needs two trackers or more"),
        (["--gt", "GT", "--compare", "RESULTS", "RESULTS"], "a tracker is named twice"),
        (["--gt", "GT", "--compare", "RESULTS", "--results", "RESULTS"], "--results and --compare exclude"),
        (["--gt", "GT", "--results", "RESULTS", "--step"], "--step goes with a data set and a model"),
        (["--gt", "GT", "--results", "RESULTS", "--sequence", "C*"], r"--sequence C\*: no such sequence"),
        (["--gt", "GT", "--results", "RESULTS", "--benchmark", "MOT18"], "benchmark 'MOT18' is unknown"),
        (["GT", "--step", "--chunk", "4"], "--step and --chunk exclude each other"),
        (["GT", "--chunk", "0"], "'--chunk'.*1"),
        (["GT", "--workers", "0"], "'--workers'.*1"),
        (["GT", "--memory", "0"], "'--memory'.*1"),
        (["GT", "--part", "half"], "unknown part 'half'.*half-val"),
        (["GT", "--checkpoint", "tiny-persn"], "did you mean 'tiny-person'"),
        (["GT", "--precision", "fp8"], "fp8"),
        (["GT", "--data", "x"], "goes with a data set's name"),
    ],
)
def test_a_wrong_use_is_one_line_and_status_2(command, gt, results, here, words, says):
    places = {"GT": gt, "RESULTS": results}
    status, out, err = command("eval", *(places.get(word, word) for word in words))
    assert (status, out) == (2, "")
    one_line(err, says)
    assert names(here) == []


def add_row(path, row):
    with path.open("a") as file:
        file.write(row + "\n")


RESULT, TRUTH = "mine/MOT17-B.txt", "data/train/MOT17-B/gt/gt.txt"

REMOVED = {"no gt": TRUTH, "no results": RESULT, "missing frame": "data/train/MOT17-A/img1/000007.png"}
ADDED = {
    "unknown sequence": ("mine/MOT17-C.txt", "1,1,10,10,10,10,1"),
    "nan": (RESULT, "3,5,10,nan,10,10,1"),
    "word": (RESULT, "3,5,10,ten,10,10,1"),
    "short": (RESULT, "3,5,10"),
    "late frame": (RESULT, "13,5,10,10,10,10,1"),
    "late frame in gt": (TRUTH, "13,1,10,10,10,10,1,1,1"),
    "twice": (RESULT, "3,9,10,10,10,10,1\n3,9,50,10,10,10,1"),
    "twice in gt": (TRUTH, "3,1,10,10,10,10,1,1,1"),
}
ELSEWHERE = {
    "too high": ("data", "mine"),
    "too low": ("data/train/MOT17-A/gt", "mine"),
    "results too high": ("data/train", "."),
    "no folder": ("data/train", "none"),
}


def spoil(kind, folder):
    """Makes one thing wrong; returns the folders of ground truth and results to give."""
    if kind in REMOVED:
        (folder / REMOVED[kind]).unlink()
    elif kind in ADDED:
        add_row(folder / ADDED[kind][0], ADDED[kind][1])
    gt, results = ELSEWHERE.get(kind, ("data/train", "mine"))
    return folder / gt, folder / results


@pytest.fixture
def own(tmp_path):
    """A ground truth of its own for each test."""
    root = tmp_path / "data" / "train"
    write_sequence(root / "MOT17-A", people())
    write_sequence(root / "MOT17-B", people(3), pictures=False)
    return root


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no gt", r"MOT17-B/gt/gt\.txt: not found"),
        ("no results", "no results for MOT17-B"),
        ("unknown sequence", "results for MOT17-C, but the ground truth has MOT17-A, MOT17-B"),
        ("nan", r"MOT17-B\.txt, line 32: .*NaN"),
        ("word", r"MOT17-B\.txt, line 32: .*ten"),
        ("short", r"MOT17-B\.txt, line 32: 3 columns"),
        ("late frame", r"MOT17-B\.txt, line 32: frame 13, but the sequence has 12 frames"),
        ("twice", r"MOT17-B\.txt, line 33: id 9 is twice in frame 3"),
        ("twice in gt", r"MOT17-B/gt/gt\.txt, line 37: id 1 is twice in frame 3"),
        ("too high", "no sequences here.*one level lower: .*/train"),
        ("too low", "no sequences here.*one level higher: .*/train"),
        ("results too high", "no results here.*one level lower: .*/mine"),
        ("no folder", "none: not found"),
        ("missing frame", r"img1: frame 7 is missing|000007"),
    ],
)
@pytest.mark.usefixtures("own", "results")
def test_files_that_do_not_fit_are_one_line_and_nothing_is_printed(command, tmp_path, here, kind, says):
    truth, found = spoil(kind, tmp_path)
    status, out, err = command("eval", "--gt", truth, "--results", found, "-o", "out")
    assert (status, out) == (1, "")
    one_line(err, says)
    assert not (here / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no gt", r"MOT17-B/gt/gt\.txt: not found"),
        ("late frame in gt", r"MOT17-B/gt/gt\.txt.*frame 13.*12"),
        ("twice in gt", r"MOT17-B/gt/gt\.txt.*id 1 is twice in frame 3"),
        ("missing frame", r"MOT17-A/img1/000007\.png.*missing"),
        ("too high", r"one level too high; give .*/train"),
    ],
)
def test_a_data_set_that_does_not_fit_is_one_line_before_the_model_runs(
    command, own, checkpoint, tmp_path, kind, says
):
    folder, _ = spoil(kind, tmp_path)
    shutil.copytree(own / "MOT17-A" / "img1", own / "MOT17-B" / "img1")
    status, out, err = command("eval", folder, "--checkpoint", checkpoint, "-o", "out")
    assert (status, out) == (1, "")
    one_line(err, says)
    assert names(tmp_path / "here") == []


def test_a_folder_that_cannot_be_made_is_one_line(command, gt, results, here):
    (here / "file").write_text("")
    status, out, err = command("eval", "--gt", gt, "--results", results, "-o", "file/out")
    assert (status, out) == (1, "")
    one_line(err, "file/out.*-o")


def test_scoring_does_not_wait_for_torch(gt, results):
    code = (
        f"from svit.cli import main; main(['eval', '--gt', {str(gt)!r}, '--results', {str(results)!r}])\n"
        "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        timeout=60,
        check=True,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"svit", "numpy"} <= loaded
    assert not loaded & {"torch", "supervision", "av", "PIL", "cv2", "matplotlib"}
