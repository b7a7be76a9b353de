"""`svit eval INDEX.json`: numbers, files and page, and every misfit one line."""

from __future__ import annotations

import json
import re

import pytest
from tests.evaluate.action_data import make_index, model_of
from tests.integration.results import names, one_line

from svit.cli import main
from svit.weights import save

FILES = ["predictions.jsonl", "report.html", "results.json", "run.json", "videos"]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "actions.safetensors"
    save(model_of(), path)
    return path


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capfd.readouterr()
        status = main([str(word) for word in words])
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def evaluate(command, index, checkpoint):
    return lambda *words: command("eval", index, "--checkpoint", checkpoint, *words)


def test_it_prints_accuracy_and_writes_page_and_numbers(tmp_path, evaluate):
    status, out, err = evaluate("--streaming")
    assert status == 0, err
    folder = tmp_path / "eval" / "actions_small_val"
    assert names(folder) == FILES
    content = json.loads((folder / "results.json").read_text())
    top = content["views"]["top-1"]
    first, second, *_ = out.splitlines()
    assert first.split() == ["views", "top-1", "mean", "class", "scored", "broken"]
    assert second.split()[:2] == ["1x1", f"{top:.2f}"]
    assert re.findall(r"^(\d+ %)", out, re.MULTILINE) == [f"{10 * n} %" for n in range(1, 11)]
    assert "time of a frame" in out
    assert out.splitlines()[-1] == "report: eval/actions_small_val/report.html"
    assert [row["seen"] for row in content["streaming"]["shares"]] == pytest.approx(list(range(10, 101, 10)))
    assert sum(map(sum, content["confusion"])) == 5
    one_line(err, r"1 of 6 videos are not in the scores because they cannot be read, 0 in part", "warning")
    page = (folder / "report.html").read_text()
    for heading in (
        "Scores",
        "Streaming",
        "Confusion",
        "Classes",
        "Surest mistakes",
        "Videos that could not",
    ):
        assert f"<h2>{heading}" in page
    assert page.count("data:image/svg+xml") == 3


def test_json_holds_all_numbers(evaluate, tmp_path):
    status, out, _ = evaluate("--json", "--views", "2x3", "-o", "out")
    assert status == 0
    content = json.loads(out)
    assert content == json.loads((tmp_path / "out/results.json").read_text())
    assert content["settings"]["views"] == {"size": 32, "clips": 2, "crops": 3, "short_side": None}
    assert content["settings"]["sampling"]["length"] == 4
    assert content["streaming"] is None


def test_streaming_alone_and_dense_clips(evaluate):
    assert evaluate("--views", "none", "--streaming", "-o", "s", "--split", "val")[1].startswith("views")
    assert evaluate("--stride", 2, "--frames", 3, "--step", "-o", "d")[0] == 0


def test_the_same_command_goes_on_and_another_is_refused(evaluate):
    assert evaluate("-o", "out")[0] == 0
    again = evaluate("-o", "out")
    assert again[0] == 0
    status, out, err = evaluate("-o", "out", "--views", "1x3")
    assert (status, out) == (2, "")
    one_line(err, "views.crops 1, now 3; choose another folder or --overwrite")
    assert evaluate("-o", "out", "--views", "1x3", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--views", "4"], "--views 4: give CLIPSxCROPS, such as 4x3, or none"),
        (["--views", "1x2"], "crops.*of --views 1x2"),
        (["--views", "none"], "nothing is asked"),
        (["--part", "half-val"], "--part goes with sequences; an action data set has a --split"),
        (["--gt-file", "x.txt"], "--gt-file needs --gt"),
        (["--chunk", "0"], "chunk"),
    ],
)
def test_options_that_do_not_fit_are_one_line(evaluate, tmp_path, words, says):
    status, out, err = evaluate(*words)
    assert (status, out) == (2, "")
    one_line(err, says)
    assert names(tmp_path) == []


def test_a_split_that_is_not_there_is_named(evaluate):
    status, _, err = evaluate("--split", "train")
    assert status == 1
    one_line(err, "no videos of the split 'train'; there is val")


def test_options_of_actions_do_not_go_with_other_data_sets(command, tmp_path):
    for words in (["--views", "4x3"], ["--streaming"], ["--split", "val"], ["--frames", 3], ["--stride", 2]):
        status, _, err = command("eval", "sample", *words)
        assert status == 2
        one_line(err, f"{words[0]} goes with an action data set's index")
    status, _, err = command("eval", "--gt", tmp_path, "--results", tmp_path, "--views", "1x1")
    assert status == 2
    one_line(err, "--views goes with a data set and a model, not with --gt")


def test_a_model_without_an_action_head_is_one_line(command, index):
    status, _, err = command("eval", index)
    assert status == 2
    one_line(err, "has no action head, so it recognises no actions")


def test_a_file_that_is_no_index_is_one_line(command, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    status, _, err = command("eval", "x.json")
    assert status in (1, 2)
    one_line(err, "x.json")


def test_an_index_that_is_not_there_is_one_line(command):
    status, _, err = command("eval", "nothing.json", "--streaming")
    assert status == 1
    one_line(err, "nothing.json: no such file")


def test_two_classes_have_a_roc_curve(command, tmp_path, index, checkpoint):
    content = json.loads(index.read_text())
    content["classes"] = ["walk", "run"]
    for video in [*content["videos"], *content["broken"]]:
        video["label"] = min(video["label"], 1)
    two = index.with_name("two.json")
    two.write_text(json.dumps(content))
    save(model_of(("walk", "run")), tmp_path / "two.safetensors")
    status, out, _ = command("eval", two, "--checkpoint", "two.safetensors", "-o", "out")
    assert status == 0
    assert "AUC" in out.splitlines()[0]
    assert 'alt="ROC"' in (tmp_path / "out/report.html").read_text()
    status, _, err = command("eval", index, "--checkpoint", "two.safetensors")
    assert status == 2
    one_line(err, "2 classes and small 3, of which it does not know 'fall'; train a new head")
