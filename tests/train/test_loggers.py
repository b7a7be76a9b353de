"""TensorBoard and Weights & Biases: off where they are not installed, told of where they were asked for."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from svit.errors import UsageError
from svit.train import loggers
from svit.train.experiment import load_experiment
from svit.train.loggers import log_event, open_writers, wanted_loggers
from svit.train.loop import Note, Scores
from svit.train.meter import Report

REPORT = Report(
    step=20, steps=100, epoch=0.2, losses={"box": 2.0, "total": 3.0}, positives=9.0, rate=1e-3, norm=4.0,
    samples_per_s=5.0, frames_per_s=10.0, data_share=0.1, memory_gib=0.0, seconds_left=60.0, broken=0,
)  # fmt: skip
SCORES = Scores(40, {"HOTA": 50.0, "MOTA": 60.0})


def asking(*names: str):
    return load_experiment("smoke", [f"log_to=[{','.join(names)}]"])


def without(*missing: str):
    return lambda name: None if name in missing else object()


def test_tensorboard_is_on_where_it_is_installed_and_silently_off_elsewhere(monkeypatch):
    nothing_asked = load_experiment("smoke")
    monkeypatch.setattr(loggers, "find_spec", without())
    assert wanted_loggers(nothing_asked) == ("tensorboard",), "never one that uploads"
    monkeypatch.setattr(loggers, "find_spec", without("tensorboard"))
    assert wanted_loggers(nothing_asked) == ()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_what_is_asked_for_and_not_installed_is_one_line_with_the_command(monkeypatch, name):
    monkeypatch.setattr(loggers, "find_spec", without(name))
    with pytest.raises(UsageError, match=f"log_to asks for {name}, .*pip install {name}") as caught:
        wanted_loggers(asking(name))
    assert "\n" not in str(caught.value)


def test_nothing_is_opened_where_none_is_wanted(tmp_path):
    with open_writers(asking(), tmp_path, 0) as writers:
        assert writers == []
    assert list(tmp_path.iterdir()) == []


class FakeRun(list):
    """Stands for a run of Weights & Biases; it is not installed here."""

    def log(self, numbers, step):
        self.append((step, numbers))

    def finish(self):
        self.append("finished")


@pytest.fixture
def wandb(monkeypatch):
    """Collects what would be uploaded."""
    module, runs = ModuleType("wandb"), []

    def init(**options):
        runs.append(SimpleNamespace(options=options, log=FakeRun()))
        return runs[-1].log

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(loggers, "find_spec", without())
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return runs


def test_weights_and_biases_gets_settings_losses_and_scores_and_is_finished(wandb, tmp_path):
    with open_writers(asking("wandb"), tmp_path, 0) as writers:
        for event in (REPORT, Note("something"), SCORES):
            assert log_event(writers, event) == []
    run = wandb[0]
    assert run.options["project"] == "svit"
    assert run.options["config"]["optimiser"]["rate"] == load_experiment("smoke").optimiser.rate
    (first, losses), (second, scores), last = run.log
    assert (first, second, last) == (20, 40, "finished")
    assert (losses["loss/total"], losses["train/rate"], losses["speed/clips_per_s"]) == (3.0, 1e-3, 5.0)
    assert scores == {"scores/HOTA": 50.0, "scores/MOTA": 60.0}


def test_a_run_that_goes_on_in_its_folder_goes_on_with_its_page(wandb, tmp_path):
    for folder in ("a", "a", "b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        with open_writers(asking("wandb"), tmp_path / folder, 0):
            pass
    first, again, other = (run.options["id"] for run in wandb)
    assert first == again != other
    assert wandb[0].options["resume"] == "allow"


def test_one_that_does_not_start_is_one_line(wandb, tmp_path, monkeypatch):
    def refuse(**_):
        raise ValueError("no API key\nmore about keys")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with (
        pytest.raises(UsageError, match=r"wandb does not start \(no API key\); log_to=\[\] does without"),
        open_writers(asking("wandb"), tmp_path, 0),
    ):
        pass


def test_one_that_cannot_write_is_given_up_and_the_training_goes_on(wandb, tmp_path, monkeypatch):
    def full(numbers, step):
        raise OSError(28, "No space left on device")

    with open_writers(asking("wandb"), tmp_path, 0) as writers:
        monkeypatch.setattr(wandb[0].log, "log", full)
        (warning,) = log_event(writers, REPORT)
        assert warning.warning
        assert "cannot write (No space left on device)" in warning.text
        assert log_event(writers, SCORES) == [], "told once"


def test_tensorboard_can_read_what_was_written_and_a_resumed_run_hides_what_it_repeats(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed; it is optional")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for step in (0, 20):
        with open_writers(asking("tensorboard"), tmp_path, step) as writers:
            assert log_event(writers, REPORT) == []
            assert log_event(writers, SCORES) == []
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss/total")] == [(20, 3.0)]
    assert [(event.step, event.value) for event in read.Scalars("scores/HOTA")] == [(40, 50.0)]
