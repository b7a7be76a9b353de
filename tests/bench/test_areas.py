"""Every measurement gives numbers at a small size; the processes around them are tested elsewhere."""

import math
import sys
from dataclasses import replace

import pytest
import torch

from svit.bench import model, run, training
from svit.bench.alone import Alone
from svit.bench.cameras import batch_and_singles
from svit.bench.chunk import chunks_and_steps
from svit.bench.commands import run_command, sample_clip
from svit.bench.end_to_end import frame_rate, shorten, time_stages
from svit.bench.endless import drift, slope, watch_stream
from svit.bench.references import MISSING, has_references
from svit.bench.rows import CannotMeasureError, Row, Settings
from svit.bench.step import StepCase, full_memory, our_step, reference_step
from svit.bench.tracker import compare
from svit.bench.training import TrainCase, our_training, reference_training
from svit.bench.turns import Times
from svit.errors import UsageError

STEP = StepCase("tiny", width=64, height=64, memory=2)
QUICK = Settings(quick=True)


def positive(seconds: list[float], count: int) -> bool:
    return len(seconds) == count and all(each > 0 for each in seconds)


def test_a_step_and_its_reference_hold_the_same_memory():
    ours, plain = our_step(STEP, 2), reference_step(STEP, 1)
    assert positive(ours.seconds, 2)
    assert positive(plain.seconds, 1)
    assert ours.memory_bytes == plain.memory_bytes > 0
    assert list(ours.parts) == ["encoder", "pyramid", "detector", "boxes"]
    assert sum(seconds[0] for seconds in ours.parts.values()) == pytest.approx(ours.seconds[0])


def test_a_filled_memory_is_that_of_a_stream_that_saw_the_frame_as_often():
    model = STEP.model()
    frame = STEP.frames(1)[0]
    filled, stepped = full_memory(model.encoder, frame, 3), None
    for _ in range(3):
        _, stepped = model.encoder(frame[None, None], stepped)
    assert filled.frames_seen == stepped.frames_seen
    assert full_memory(model.encoder, frame, 3, bits=8).nbytes < 0.3 * filled.nbytes
    for ours, theirs in zip(filled.layers[0], stepped.layers[0], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_chunks_and_steps_find_the_same():
    seconds, difference = chunks_and_steps(2, 1, 1, QUICK, "cpu", "fp32")
    assert positive(seconds["chunk"], 1)
    assert positive(seconds["step"], 1)
    assert difference < 0.01


def test_cameras_are_timed_as_a_batch_and_one_by_one():
    seconds = batch_and_singles(2, 1, QUICK, "cpu")
    assert [len(each) for each in seconds.values()] == [1, 1]


def test_an_endless_stream_is_watched_after_its_first_tenth():
    course = watch_stream(20, 1)
    assert positive(course.seconds, 18)
    assert len(course.resident) == 18


def test_growth_and_drift_are_found():
    assert slope([10, 20, 30]) == pytest.approx(10)
    assert slope([7, 7, 7]) == pytest.approx(0, abs=1e-9)
    assert drift([1.0] * 10) == 0
    assert drift([1.0] * 5 + [2.0] * 5) == 1


def test_both_trackers_get_the_same_frames():
    compared = compare(20, 3)
    assert positive(compared.ours, 3)
    assert len(compared.theirs) == 3 or "pip install" in compared.missing


TRAINING = TrainCase("tiny", size=64, frames=2)


def test_a_training_step_in_both_forms_and_its_reference():
    for times in (
        our_training(TRAINING, 1),
        our_training(replace(TRAINING, form="step"), 1),
        reference_training(TRAINING, 1),
    ):
        assert positive(times.seconds, 1)
        assert positive(times.parts["gradient"], 1)


def made(seconds: float, peak: int) -> Times:
    return Times([seconds], {"gradient": [seconds / 2]}, peak_bytes=peak)


def test_the_row_of_training_has_both_forms_and_the_reference_in_turn(monkeypatch):
    forms = {"clip": (1.0, 500), "step": (2.0, 300)}
    monkeypatch.setattr("svit.bench.turns.alone", lambda work, *args: Alone(work(*args), 1))
    monkeypatch.setattr(training, "our_training", lambda case, _: made(*forms[case.form]))
    monkeypatch.setattr(training, "reference_training", lambda *_: made(6.0, 200))
    said = []
    row = training.train_row(TRAINING, 2, said.append)
    assert said == ["clip", "step", "reference"] * 2
    assert (row.seconds, row.speedup, row.peak_bytes, row.note) == (1.0, 6.0, 500, "")
    assert row.details == {
        "part_seconds": {"gradient": 0.5}, "gradient_speedup": 6.0, "step_seconds": 2.0, "step_speedup": 3.0,
        "step_peak_bytes": 300, "reference_peak_bytes": 200,
    }  # fmt: skip


def test_a_training_that_cannot_be_measured_is_in_the_rows_note(monkeypatch):
    def ours(case, _):
        if case.form == "step":
            raise CannotMeasureError("killed")
        return made(1.0, 500)

    monkeypatch.setattr("svit.bench.turns.alone", lambda work, *args: Alone(work(*args), 1))
    monkeypatch.setattr(training, "our_training", ours)
    monkeypatch.setattr(training, "has_references", lambda: False)
    row = training.train_row(TRAINING, 2, lambda _: None)
    assert (row.seconds, row.speedup, row.note) == (1.0, None, "step: killed")
    assert row.details == {"part_seconds": {"gradient": 0.5}}


def test_every_stage_of_a_video_has_its_time(tmp_path):
    with sample_clip() as clip:
        short = shorten(clip, tmp_path / "short.mp4", 2)
    stages = time_stages(short, tmp_path / "out.mp4", 2, 1)
    assert list(stages) == ["decode", "preprocess", "model", "track", "annotate", "encode"]
    assert all(seconds > 0 for seconds in stages.values())


def test_a_command_is_timed_and_a_failed_one_says_why():
    ran = run_command(["--version"], 1)
    assert ran.stdout.startswith("svit ")
    assert ran.processor_seconds > 0
    assert ran.peak_bytes > 2**20
    with pytest.raises(CannotMeasureError, match=r"no\.mp4"):
        run_command(["track", "no.mp4"], 1)
    with pytest.raises(CannotMeasureError, match="frames/s"):
        frame_rate(ran)


def test_without_the_references_rows_have_no_speedup_and_a_line_says_so(tmp_path, monkeypatch):
    assert has_references()
    assert not has_references(tmp_path)
    monkeypatch.setattr(run, "has_references", lambda: False)
    monkeypatch.setattr(model, "has_references", lambda: False)
    monkeypatch.setattr("svit.bench.turns.alone", lambda work, *args: Alone(work(*args), 1))
    monkeypatch.setattr(model.chunk, "rows", lambda *_: [Row("chunk", "left out here")])
    warned = []
    rows = list(run.measure(["model"], ["cpu"], QUICK, lambda _: None, warned.append))
    assert warned[0] == MISSING
    assert [row.name for row in rows] == ["base_step_fp32", "base_step_bf16", "base_step_memory", "chunk"]
    assert all(row.speedup is None for row in rows)
    assert rows[0].floor_ratio is not None
    assert math.isfinite(rows[0].floor_ratio)


def test_what_is_not_installed_is_skipped_with_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "svit.bench.training", None)  # as if an import in it failed
    monkeypatch.delattr("svit.bench.training", raising=False)
    warned = []
    assert list(run.measure(["train"], ["cpu"], QUICK, lambda _: None, warned.append)) == []
    assert warned[-1].startswith("train: needs ")
    assert warned[-1].endswith("pip install 'streaming-video-model[train]'")


def test_areas_come_in_their_order_and_an_unknown_one_is_refused():
    assert run.choose_areas([]) == list(run.AREAS)
    assert run.choose_areas(["tracker", "model"]) == ["model", "tracker"]
    with pytest.raises(UsageError, match="did you mean 'tracker'"):
        run.choose_areas(["trackr"])
    with pytest.raises(UsageError, match="cpu or cuda"):
        run.choose_devices("tpu")
