"""A run goes on where it was stopped, does not mix with another one, and is the same in several processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest
from tests.conftest import ROOT
from tests.evaluate.sequences import make_sequence
from tests.evaluate.test_run import numbers, texts
from tests.integration.samples import lively_model

from svit.data.datasets import load_dataset
from svit.errors import OutputError, SourceError, SvitError, UsageError
from svit.evaluate.run import RunOptions, evaluate_model, is_main_process, local_device
from svit.evaluate.shards import Ranks
from svit.weights import save

FRAMES = (7, 12, 9)
CHUNK = RunOptions(chunk=4)


@pytest.fixture(scope="module")
def model():
    return lively_model()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "train"
    for number, frames in enumerate(FRAMES):
        make_sequence(folder / f"S{number}", frames, seed=number)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model, root):
    """The files and numbers of a run without interruption."""
    output = tmp_path_factory.mktemp("whole")
    evaluation = evaluate_model(model, load_dataset(root), output, CHUNK)
    return texts(output), numbers(evaluation)


class Counting:
    """A progress that counts the frames, and does something at one of them."""

    def __init__(self, at=None, action=None):
        self.frames, self.total, self._at, self._action = 0, None, at, action

    def __call__(self, items, label, total=None):
        if label != "frames":
            yield from items
            return
        self.total = total
        for item in items:
            self.frames += 1
            if self.frames == self._at:
                self._action()
            yield item


def interrupt():
    raise KeyboardInterrupt


def kill_a_worker():
    """As the system does when memory runs out."""
    multiprocessing.active_children()[0].kill()


def left(output):
    return sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())


def assert_whole(output, evaluation, whole):
    assert (texts(output), numbers(evaluation)) == whole
    assert not [name for name in left(output) if name.endswith(".part")]


def test_a_run_that_was_stopped_goes_on_at_the_sequence_it_was_in(tmp_path, model, root, whole):
    dataset, stopping = load_dataset(root), Counting(FRAMES[0] + 5, interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(model, dataset, tmp_path, CHUNK, stopping)
    assert stopping.total == sum(FRAMES)
    assert left(tmp_path) == ["detections/S0.npz", "online/S0.txt", "run.json", "tracks/S0.txt"]
    before = (tmp_path / "detections" / "S0.npz").stat().st_mtime_ns
    going_on = Counting()
    evaluation = evaluate_model(model, dataset, tmp_path, CHUNK, going_on)
    assert going_on.frames == going_on.total == sum(FRAMES[1:])
    assert (tmp_path / "detections" / "S0.npz").stat().st_mtime_ns == before
    assert_whole(tmp_path, evaluation, whole)
    again = Counting()
    assert_whole(tmp_path, evaluate_model(model, dataset, tmp_path, CHUNK, again), whole)
    assert again.frames == 0


@pytest.mark.parametrize("damage", ["tracks/S1.txt", "online/S1.txt", "detections/S1.npz", "cut"])
def test_a_sequence_with_a_file_missing_or_cut_is_computed_again(tmp_path, model, root, whole, damage):
    dataset = load_dataset(root)
    evaluate_model(model, dataset, tmp_path, CHUNK)
    if damage == "cut":
        path = tmp_path / "detections" / "S1.npz"
        path.write_bytes(path.read_bytes()[:100])
    else:
        (tmp_path / damage).unlink()
    counting = Counting()
    assert_whole(tmp_path, evaluate_model(model, dataset, tmp_path, CHUNK, counting), whole)
    assert counting.frames == FRAMES[1]


def other_run(model, root, **changes):
    """A model, data set and options that differ in one thing."""
    options = RunOptions(**{"chunk": 4, "memory": None, **changes.pop("options", {})})
    dataset = load_dataset(root, part=changes.pop("part", "all"))
    return (lively_model(**changes) if changes else model), dataset, options


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"options": {"chunk": 1}}, "chunk 4, now 1"),
        ({"options": {"memory": 2}}, "memory 4, now 2"),
        ({"seed": 1}, "weights [0-9a-f]+, now [0-9a-f]+"),
        ({"tracker__retain": 7}, "model.tracker.retain 30, now 7"),
        ({"part": "half-train"}, "part all, now half-train; sequences.S0.last 7, now 4"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_folder_of_another_run_is_refused_with_the_difference(tmp_path, model, root, change, says):
    evaluate_model(model, load_dataset(root / "S0"), tmp_path, CHUNK)
    before = {name: (tmp_path / name).read_bytes() for name in left(tmp_path)}
    other, dataset, options = other_run(model, root / "S0", **change)
    with pytest.raises(UsageError, match=f"{says}.*; choose another folder or --overwrite") as caught:
        evaluate_model(other, dataset, tmp_path, options)
    assert "\n" not in str(caught.value)
    assert {name: (tmp_path / name).read_bytes() for name in left(tmp_path)} == before


def test_another_precision_is_another_run(tmp_path, model, root):
    evaluate_model(model, load_dataset(root / "S0"), tmp_path, CHUNK)
    with pytest.raises(UsageError, match="precision float32, now float64"):
        evaluate_model(lively_model().double(), load_dataset(root / "S0"), tmp_path, CHUNK)


def test_overwriting_leaves_nothing_of_the_run_before_and_nothing_else_is_touched(
    tmp_path, model, root, whole
):
    evaluate_model(model, load_dataset(root), tmp_path, RunOptions(chunk=1, memory=1))
    (tmp_path / "tracks" / "notes.txt").write_text("mine")
    one = RunOptions(chunk=4, overwrite=True)
    evaluate_model(model, load_dataset(root / "S2"), tmp_path, one)
    names = ["detections/S2.npz", "online/S2.txt", "results.json", "run.json", "tracks/S2.txt"]
    assert left(tmp_path) == sorted([*names, "tracks/notes.txt"])
    (tmp_path / "tracks" / "notes.txt").unlink()
    counting = Counting()
    assert_whole(tmp_path, evaluate_model(model, load_dataset(root), tmp_path, one, counting), whole)
    assert counting.frames == sum(FRAMES), "S2 was made before, but overwriting is starting anew"


def test_a_folder_that_something_else_made_is_refused(tmp_path, model, root):
    dataset = load_dataset(root / "S0")
    (tmp_path / "tracks").mkdir()
    with pytest.raises(UsageError, match=r"tracks is there but no run\.json"):
        evaluate_model(model, dataset, tmp_path, CHUNK)
    (tmp_path / "run.json").write_text("[1, 2]")
    with pytest.raises(UsageError, match=r"run\.json: is not what an evaluation writes"):
        evaluate_model(model, dataset, tmp_path, CHUNK)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        evaluate_model(model, dataset, tmp_path / "file", CHUNK)


def test_workers_give_the_same_files_and_numbers(tmp_path, model, root, whole):
    counting = Counting()
    options = RunOptions(chunk=4, workers=2)
    evaluation = evaluate_model(model, load_dataset(root), tmp_path, options, counting)
    assert counting.frames == sum(FRAMES)
    assert_whole(tmp_path, evaluation, whole)
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_is_one_line_and_the_run_goes_on_later(tmp_path, model, root, whole):
    dataset = load_dataset(root)
    with pytest.raises(
        SvitError, match=r"S[012]: the process .* ended \(exit code -9\).*start again"
    ) as caught:
        evaluate_model(model, dataset, tmp_path, RunOptions(chunk=4, workers=2), Counting(9, kill_a_worker))
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()
    assert_whole(tmp_path, evaluate_model(model, dataset, tmp_path, CHUNK), whole)


def test_an_error_in_a_worker_arrives_as_it_is(tmp_path, model):
    for name in "AB":
        make_sequence(tmp_path / "data" / name, 5)
    dataset = load_dataset(tmp_path / "data")
    (tmp_path / "data" / "B" / "img1" / "000003.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"000003\.png: cannot be read \(damaged") as caught:
        evaluate_model(model, dataset, tmp_path / "out", RunOptions(chunk=4, workers=2))
    assert "\n" not in str(caught.value)
    assert "in process" in caught.value.__notes__[0], "where it came from, for --debug"
    assert not multiprocessing.active_children()


SHARDED = """
import sys
from pathlib import Path
import torch
from svit import SvitError, load
from svit.data.datasets import load_dataset
from svit.evaluate.run import RunOptions, evaluate_model, is_main_process
torch.set_num_threads(1)
weights, root, output = sys.argv[1:]
try:
    evaluation = evaluate_model(load(weights, "cpu"), load_dataset(root), Path(output), RunOptions(chunk=4))
except SvitError as error:
    sys.exit(str(error))
print(is_main_process(), evaluation.combined.online["HOTA"], flush=True)
"""


def sharded(tmp_path, *arguments):
    """The script under torchrun with two processes."""
    (tmp_path / "script.py").write_text(SHARDED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, str(tmp_path / "script.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=300,
    )  # fmt: skip


def test_torchrun_gives_the_same_files_and_numbers(tmp_path, model, root, whole):
    save(model, tmp_path / "model.safetensors")
    done = sharded(tmp_path, tmp_path / "model.safetensors", root, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    hota = whole[1]["COMBINED"]["online"]["HOTA"]
    assert sorted(done.stdout.splitlines()) == [f"False {hota}", f"True {hota}"]
    counting = Counting()
    assert_whole(
        tmp_path / "out", evaluate_model(model, load_dataset(root), tmp_path / "out", CHUNK, counting), whole
    )
    assert counting.frames == 0, "all was there"


@pytest.mark.slow
def test_torchrun_ends_in_all_processes_where_the_first_refuses(tmp_path, model, root):
    save(model, tmp_path / "model.safetensors")
    evaluate_model(model, load_dataset(root), tmp_path / "out", RunOptions(chunk=3))
    refused = sharded(tmp_path, tmp_path / "model.safetensors", root, tmp_path / "out")
    assert refused.returncode != 0
    assert "chunk 3, now 4" in refused.stderr


def test_ranks_share_the_sequences_evenly_and_each_has_one_owner(root):
    dataset = load_dataset(root)
    assert [each.name for each in Ranks().share(dataset)] == ["S0", "S1", "S2"]
    shares = [[each.name for each in Ranks(rank, 2).share(dataset)] for rank in range(2)]
    assert shares == [["S1"], ["S2", "S0"]]
    assert [Ranks(rank, 5).share(dataset) != [] for rank in range(5)] == [True, True, True, False, False]


def test_a_rank_without_torchrun_says_so(tmp_path, model, root, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert is_main_process()
    with pytest.raises(UsageError, match=r"WORLD_SIZE is 4 but .*start with torchrun, or unset WORLD_SIZE"):
        evaluate_model(model, load_dataset(root), tmp_path / "out", CHUNK)
    assert not (tmp_path / "out").exists()


def test_the_device_of_a_rank_is_its_own_only_where_there_is_a_choice(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_device(None) is None
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [local_device(name) for name in (None, "auto", "cuda", "cuda:0", "cpu")] == [
        "cuda:1", "cuda:1", "cuda:1", "cuda:0", "cpu",
    ]  # fmt: skip
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert local_device(None) is None
