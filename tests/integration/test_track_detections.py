"""`svit track --detections`: boxes in, MOT files out, nothing else needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.integration.results import names, one_line

from svit.tracking import ByteTracker

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 12
SEQINFO = "[Sequence]\nimDir=img1\nframeRate=30\nseqLength=20\nimWidth=640\nimHeight=480\n"


def two_people(scores: tuple[float, float] = (0.9, 0.6), gap: tuple[int, ...] = (6, 7)) -> str:
    """Rows of one person who walks, unseen in the frames `gap`, and one who stands."""
    rows = []
    for frame in range(1, LENGTH + 1):
        if frame not in gap:
            rows.append(f"{frame},-1,{10 + 3 * frame},20.5,40,100,{scores[0]}")
        rows.append(f"{frame},-1,300,20.5,40,100,{scores[1]},-1,-1,-1")
    return "\n".join(rows) + "\n"


@pytest.fixture
def det(here):
    """A file of detections where the command runs."""
    path = here / "det.txt"
    path.write_text(two_people())
    return path


@pytest.fixture
def dataset(tmp_path):
    """Two sequences of a data set."""
    for name in ("S-01", "S-02"):
        folder = tmp_path / "data" / name
        (folder / "det").mkdir(parents=True)
        (folder / "det/det.txt").write_text(two_people())
        (folder / "seqinfo.ini").write_text(SEQINFO)
    return tmp_path / "data"


def rows_of(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", ndmin=2)


def test_a_det_file_becomes_a_mot_file(command, det, here):
    status, out, err = command("track", "--detections", "det.txt", "--mot", "a.txt")
    assert (status, err) == (0, "")
    assert out == "MOT file:      a.txt\nsummary:       12 frames, 1 tracks\n"
    assert (here / "a.txt").read_text().splitlines()[0] == "1,0,13.00,20.50,40.00,100.00,0.9000,-1,-1,-1"
    assert rows_of(here / "a.txt")[:, 0].tolist() == [frame for frame in range(1, 13) if frame not in (6, 7)]
    assert names(here) == ["a.txt", "det.txt"]


def test_scores_above_the_thresholds_make_tracks(command, det, here):
    assert (
        command("track", "--detections", "det.txt", "--mot", "a.txt", "--high", "0.5", "--init", "0.5")[0]
        == 0
    )
    rows = rows_of(here / "a.txt")
    assert set(rows[:, 1]) == {0, 1}
    assert len(rows) == 22
    assert (
        command("track", "--detections", "det.txt", "--mot", "a.txt", "--high", "0.95", "--init", "0.95")[0]
        == 0
    )
    assert (here / "a.txt").read_text() == ""


def test_interpolation_fills_the_gaps(command, det, here):
    assert command("track", "--detections", "det.txt", "--mot", "a.txt", "--interpolate")[0] == 0
    rows = rows_of(here / "a.txt")
    assert rows[:, 0].tolist() == list(range(1, 13))
    assert rows[5, 2:7].tolist() == [28, 20.5, 40, 100, 1]


def test_raw_scores_are_refused_until_it_is_said_what_they_mean(command, here):
    (here / "det.txt").write_text(two_people((2.5, -0.5)))
    status, out, err = command("track", "--detections", "det.txt")
    assert (status, out) == (1, "")
    one_line(err, r"det\.txt: scores from -0\.5 to 2\.5, .*; --scores sigmoid maps them there, --scores one ")
    assert names(here) == ["det.txt"]
    for scores, tracks in (("sigmoid", {0}), ("one", {0, 1})):
        assert command("track", "--detections", "det.txt", "--scores", scores)[0] == 0
        assert set(rows_of(here / "det_tracks.txt")[:, 1]) == tracks


def test_missing_scores_are_told(command, here):
    (here / "det.txt").write_text("1,-1,10,20,30,40\n")
    status, _, err = command("track", "--detections", "det.txt")
    assert status == 0
    one_line(err, r"det\.txt: has no scores; every box counts as certain", "warning")
    assert rows_of(here / "det_tracks.txt").tolist() == [[1, 0, 10, 20, 30, 40, 1, -1, -1, -1]]


def test_the_output_is_named_after_the_sequence(command, dataset, det, here):
    assert command("track", "--detections", "det.txt")[0] == 0
    assert command("track", "--detections", dataset / "S-01/det/det.txt")[0] == 0
    assert command("track", "--detections", dataset / "S-02")[0] == 0
    assert names(here) == ["S-01_tracks.txt", "S-02_tracks.txt", "det.txt", "det_tracks.txt"]


def test_a_folder_of_sequences_becomes_a_folder_of_mot_files(command, dataset, here):
    status, out, err = command("track", "--detections", dataset, "--mot", "some/where")
    assert (status, err) == (0, "")
    assert out == "MOT files:     some/where\nsummary:       2 sequences, 40 frames, 2 tracks\n"
    assert names(here / "some/where") == ["S-01.txt", "S-02.txt"]
    assert command("track", "--detections", dataset / "S-01", "--mot", "one.txt")[0] == 0
    assert (here / "some/where/S-02.txt").read_text() == (here / "one.txt").read_text()
    assert command("track", "--detections", here / "some/where")[0] == 0, "plain files, as results are"
    assert names(here / "where_tracks") == ["S-01.txt", "S-02.txt"]


def test_rows_can_go_to_stdout(command, det, here):
    status, out, err = command("track", "--detections", "det.txt", "--mot", "-")
    assert status == 0
    assert out.splitlines()[0] == "1,0,13.00,20.50,40.00,100.00,0.9000,-1,-1,-1"
    assert len(out.splitlines()) == 10
    assert err == "summary:       12 frames, 1 tracks\n"
    assert names(here) == ["det.txt"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["clip.mp4"], "SOURCE and --detections are two inputs"),
        (["-o", "a.mp4"], "-o needs pictures, and --detections has none"),
        (["--sheet", "a.png"], "--sheet needs pictures"),
        (["--jsonl", "a.jsonl"], "--jsonl needs pictures"),
        (["--model", "tiny-person"], "--model needs pictures"),
        (["--device", "cpu"], "--device needs pictures"),
        (["--precision", "fp32"], "--precision needs pictures"),
        (["--memory", "3"], "--memory needs pictures"),
        (["--memory-bits", "8"], "--memory-bits needs pictures"),
        (["--no-video"], "--no-video needs pictures"),
        (["--every-frame"], "--every-frame needs pictures"),
        (["--scores", "softmax"], "unknown scores 'softmax'; choose from keep, sigmoid, one"),
        (["--high", "1.5"], "high is 1.5, expected a number from 0 to 1"),
        (["--low", "0.8"], r"low is 0.8, expected at most high \(0.7\)"),
    ],
)
def test_a_wrong_option_is_a_usage_error_and_nothing_is_written(command, det, here, words, says):
    status, out, err = command("track", "--detections", "det.txt", *words)
    assert (status, out) == (2, "")
    one_line(err, says)
    assert names(here) == ["det.txt"]


def test_options_of_detections_need_detections(command, here):
    for words, says in (
        ([], "nothing to track; name a SOURCE, or give boxes with --detections"),
        (["clip.mp4", "--interpolate"], "--interpolate goes with --detections only"),
        (["clip.mp4", "--scores", "one"], "--scores goes with --detections only"),
    ):
        status, _, err = command("track", *words)
        assert status == 2
        one_line(err, says)


def test_what_cannot_be_read_or_written_is_one_line_and_leaves_no_half_of_it(command, dataset, det, here):
    (dataset / "S-02/det/det.txt").write_text("1,-1,10,20,30,forty,0.9\n")
    (here / "file").write_text("")
    wrong = [
        ("none.txt", "a.txt", "none.txt: not found"),
        (dataset, "out", r"S-02/det/det\.txt, line 1: could not convert"),
        (dataset.parent, "out", "no SEQ/det/det.txt and no SEQ.txt in it; did you mean .*/data"),
        ("det.txt", "det.txt", "det.txt: is the input; choose another name"),
        ("det.txt", "none/a.txt", "the folder none does not exist"),
        ("det.txt", "a.json", r"its name must end in \.txt or \.csv"),
        (dataset / "S-01", "file/a.txt", "file"),
    ]
    for given, mot, says in wrong:
        status, out, err = command("track", "--detections", given, "--mot", mot)
        assert (status, out) == (1, ""), says
        one_line(err, says)
        assert names(here) == ["det.txt", "file"]
    assert det.read_text() == two_people()


def test_a_folder_of_sequences_needs_a_folder(command, dataset, here):
    (here / "file").write_text("")
    status, _, err = command("track", "--detections", dataset, "--mot", "file")
    assert status == 1
    one_line(err, "cannot make the folder file: File exists; choose another with --mot")
    status, _, err = command("track", "--detections", dataset, "--mot", "-")
    assert status == 2
    one_line(err, "has 2 sequences, for which --mot names a folder")


def test_results_never_replace_the_files_they_come_from(command, dataset, here):
    assert command("track", "--detections", dataset, "--mot", "flat")[0] == 0
    status, _, err = command("track", "--detections", "flat", "--mot", "flat")
    assert status == 1
    one_line(err, "S-01.txt: is the input")


def test_a_run_that_is_broken_off_leaves_the_older_file(command, det, here, monkeypatch):
    (here / "a.txt").write_text("older\n")

    def broken_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("svit.video.MotWriter._append", broken_off)
    status, _, err = command("track", "--detections", "det.txt", "--mot", "a.txt")
    assert (status, err) == (1, "stopped\n")
    assert (here / "a.txt").read_text() == "older\n"
    assert names(here) == ["a.txt", "det.txt"]


def test_thresholds_replace_those_of_the_model(track, clip, monkeypatch):
    made = []
    monkeypatch.setattr(
        "svit.tracking.ByteTracker", lambda **settings: made.append(settings) or ByteTracker(**settings)
    )
    usual, same, strict = (
        track(clip, "--jsonl", "-", *words)[1]
        for words in ([], ["--high", "0.5", "--low", "0.3"], ["--high", "1", "--init", "1"])
    )
    assert usual == same != strict
    high, low, init, match = ([each[name] for each in made] for name in ("high", "low", "init", "match_low"))
    assert (high, low, init) == ([0.5, 0.5, 1], [0.3, 0.3, 0.3], [0.5, 0.5, 1])
    assert set(match) == {0.1}, "the rest stays the model's"
    status, _, err = track(clip, "--high", "2", "--jsonl", "-")
    assert status == 2
    one_line(err, "high is 2.0, expected a number from 0 to 1")


def test_it_needs_neither_torch_nor_a_model(det, here):
    code = "from svit.cli import main; status = main(['track', '--detections', 'det.txt'])\n"
    code += "import sys; print(status, 'torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 False"


@pytest.mark.parametrize("sequence", ["PETS09-S2L1-A", "MOT17-02-FRCNN", "MOT17-04-FRCNN", "MOT17-05-FRCNN"])
def test_public_detections_are_tracked(command, shared, here, sequence):
    folder = shared / "data/tracking/train" / sequence
    status, _, err = command("track", "--detections", folder / "det/det.txt")
    assert (status, err) == (0, "")
    tracked, given = rows_of(here / f"{sequence}_tracks.txt"), rows_of(folder / "det/det.txt")
    assert len(tracked) > 0.7 * np.count_nonzero(given[:, 6] > 0.7)
    for frame, _, *box in tracked[:, :6]:
        seen = given[given[:, 0] == frame, 2:6]
        assert np.abs(seen - box).max(axis=1).min() < 0.006, (
            "one of the boxes that were given, to two decimals"
        )
    assert len({(row[0], row[1]) for row in tracked}) == len(tracked), "an id is in a frame once"
