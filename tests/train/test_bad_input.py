"""What a user, a disk or a data set can do to a training: one clear line each, and nothing lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.small import HEIGHT, WIDTH, losses_of, run_steps, small_experiment, write_sequence

from svit.data.clips import TRIES
from svit.errors import DataError, SvitError, TrainingError, UsageError, WeightsError
from svit.model.video_model import build
from svit.train.batches import Feed, Share, load_batches
from svit.train.checkpoint import find_checkpoints
from svit.train.experiment import Experiment
from svit.train.loop import Event, Note, Training
from svit.train.ready import check_ready
from svit.train.sources import load_clips
from svit.weights import save


def warnings_of(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note) and event.warning]


def one_line(error: pytest.ExceptionInfo[SvitError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def break_images(folder: Path, *frames: int) -> None:
    for frame in frames:
        (folder / "walk" / "img1" / f"{frame:06d}.png").write_bytes(b"not a picture")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_left_out_named_and_counted(tmp_path: Path, workers: int) -> None:
    experiment = small_experiment(tmp_path, data__workers=workers, data__broken_share=1.0)
    break_images(tmp_path, 6)
    training = Training(experiment, tmp_path / "run")
    events = run_steps(training)
    warned = warnings_of(events)
    assert warned
    assert all("left out: " in line and "000006.png" in line for line in warned)
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["broken"] == len(warned)
    assert training.state.step == 6


def test_an_image_that_vanishes_in_the_middle_is_left_out_too(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path, data__broken_share=1.0)
    training = Training(experiment, tmp_path / "run")
    events = []
    for event in training.run():
        events.append(event)
        if training.state.step == 3:
            (tmp_path / "walk" / "img1" / "000006.png").unlink(missing_ok=True)
    assert training.state.step == 6
    assert any("000006.png" in line for line in warnings_of(events))


def test_too_many_broken_images_end_the_run_and_it_goes_on_once_they_are_mended(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path, data__broken_share=0.01)
    picture = tmp_path / "walk" / "img1" / "000006.png"
    whole = picture.read_bytes()
    run_steps(Training(experiment, tmp_path / "run"), 1)
    break_images(tmp_path, 6)
    with pytest.raises(
        DataError, match=r"\d+ of \d+ clips cannot be read, more than data.broken_share=0.01"
    ) as e:
        run_steps(Training(experiment, tmp_path / "run"))
    assert "000006.png" in one_line(e)
    picture.write_bytes(whole)
    run_steps(Training(experiment, tmp_path / "run"))
    assert len(losses_of(tmp_path / "run")) == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_without_a_single_readable_image_is_one_line_also_from_a_worker(
    tmp_path: Path, workers: int
) -> None:
    experiment = small_experiment(tmp_path, data__workers=workers)
    training = Training(experiment, tmp_path / "run")
    break_images(tmp_path, *range(1, 13))
    with pytest.raises(DataError, match=rf"{TRIES} clips in a row cannot be read; the last: .*png") as error:
        run_steps(training)
    one_line(error)


def test_a_worker_that_is_killed_is_one_line(tmp_path: Path) -> None:
    clips = load_clips(small_experiment(tmp_path))
    load = clips._load

    def killing(*arguments: Any) -> Any:
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(*arguments)

    clips._load = killing  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"a process that reads clips was killed .* memory") as error:
        next(load_batches([Feed(clips, Share(2, 1))], 0, workers=1))
    one_line(error)


def test_workers_leave_ctrl_c_and_a_schedulers_signal_to_the_process_that_trains(tmp_path: Path) -> None:
    others = set(multiprocessing.active_children())
    batches = load_batches([Feed(load_clips(small_experiment(tmp_path)), Share(2, 1))], 0, workers=1)
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - others
    assert worker.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    for _ in range(8):  # more than were made before
        next(batches)
    assert worker.is_alive()


def test_more_workers_than_cores_are_warned_of(tmp_path: Path) -> None:
    (warning,) = check_ready(small_experiment(tmp_path, data__workers=4096), tmp_path / "run")
    assert "data.workers=4096: more than the" in warning
    assert check_ready(small_experiment(tmp_path / "few", data__workers=0), tmp_path / "run") == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="trains on the GPU")
def test_bf16_on_a_processor_that_does_not_multiply_it_is_warned_of(
    tmp_path: Path, pretend_processor: Callable[..., None]
) -> None:
    experiments = {name: small_experiment(tmp_path / name, precision=name) for name in ("bf16", "fp32")}
    for flag, warned in (("avx2", ["bf16"]), ("avx512_bf16", [])):
        pretend_processor("", flag)
        for name, experiment in experiments.items():
            warnings = check_ready(experiment, tmp_path / "run")
            assert len(warnings) == (name in warned)
            assert all("precision=fp32 is faster" in line for line in warnings)


def empty_sequence(folder: Path) -> Experiment:
    experiment = small_experiment(folder)
    (folder / "walk" / "gt" / "gt.txt").write_text("")
    return experiment


def no_sequences(folder: Path) -> Experiment:
    experiment = small_experiment(folder, data__sources=[{"sequences": "nothing"}])
    (folder / "nothing").mkdir()
    return experiment


def coco(folder: Path, **changes: Any) -> Experiment:
    """A COCO file of one still, its person of the second category."""
    write_sequence(folder / "stills", frames=1)
    values = {
        "images": [{"id": 1, "file_name": "000001.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "person"}, {"id": 7, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [6, 8, 16, 40], "area": 640}],
    }
    (folder / "stills.json").write_text(json.dumps(values | changes))
    source = {"annotations": "stills.json", "images": "stills/img1"}
    return small_experiment(folder, data__sources=[source])


def no_images(folder: Path) -> Experiment:
    return coco(folder, images=[], annotations=[])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (empty_sequence, r"gt.txt: is empty"),
        (no_sequences, r"nothing: no sequences here"),
        (no_images, r"stills.json: no frames to train on"),
        (
            coco,
            r"stills.json: boxes of class 'car', number 2 of its categories, but the model has 1; name them",
        ),
    ],
)
def test_data_that_nothing_can_be_learnt_from_are_refused_at_the_start(
    tmp_path: Path, made: Any, said: str
) -> None:
    experiment = made(tmp_path)
    with pytest.raises(DataError, match=said) as error:
        Training(experiment, tmp_path / "run")
    assert str(tmp_path) in one_line(error)


def test_categories_that_no_box_has_and_crowds_of_any_class_do_no_harm(tmp_path: Path) -> None:
    box = {"image_id": 1, "bbox": [6, 8, 16, 40], "area": 640}
    person, crowd = {**box, "id": 1, "category_id": 1}, {**box, "id": 2, "category_id": 7, "iscrowd": 1}
    clips = load_clips(coco(tmp_path, annotations=[person, crowd]))
    assert clips.per_epoch == 1


def test_the_weights_of_another_model_are_refused_by_the_first_tensor_that_differs(tmp_path: Path) -> None:
    save(build("tiny"), tmp_path / "tiny.safetensors")
    experiment = small_experiment(tmp_path, model__start=str(tmp_path / "tiny.safetensors"))
    with pytest.raises(
        WeightsError, match=r"does not fit the model 'small': .* start from weights of the"
    ) as e:
        Training(experiment, tmp_path / "run")
    one_line(e)


def test_weights_to_start_from_that_are_not_there_are_no_random_start(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path, model__start=str(tmp_path / "gone.safetensors"))
    with pytest.raises(WeightsError, match=r"gone.safetensors"):
        Training(experiment, tmp_path / "run")


def test_a_model_without_a_detector_is_refused(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path)
    settings = {"model": experiment.model.model_copy(update={"settings": {"detector": None}})}
    with pytest.raises(UsageError, match=r"has no detector; there is nothing to train it on"):
        Training(experiment.model_copy(update=settings), tmp_path / "run")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="asks for what a CPU does not have")
def test_fp16_on_a_cpu_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"precision=fp16 does not work on cpu; use precision=fp32") as error:
        Training(small_experiment(tmp_path, precision="fp16"), tmp_path / "run")
    one_line(error)


def test_processes_that_know_nothing_of_each_other_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"2 processes were started, but on cpu they cannot train together"):
        Training(small_experiment(tmp_path), tmp_path / "run")


@contextmanager
def full_disk(size: int = 20_000) -> Iterator[None]:
    """No file can grow beyond `size` bytes, as on a disk that has just so much left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_a_checkpoint_but_neither_the_run_nor_the_one_before(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path)
    run_steps(Training(experiment, tmp_path / "run"), 2)
    (before,) = find_checkpoints(tmp_path / "run" / "checkpoints")
    content = {file.name: file.read_bytes() for file in before.iterdir()}
    training = Training(experiment, tmp_path / "run")
    with full_disk():
        warned = warnings_of(run_steps(training, 4))
    assert any("step-00000004: the checkpoint could not be written" in line for line in warned)
    assert any("the training goes on, earlier checkpoints are whole" in line for line in warned)
    assert "stopped at step 4, which could not be saved" in warned
    assert all("\n" not in line for line in warned)
    assert find_checkpoints(tmp_path / "run" / "checkpoints") == [before]
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    assert {file.name: file.read_bytes() for file in before.iterdir()} == content
    training = Training(experiment, tmp_path / "run")
    assert training.state.step == 2
    run_steps(training)
    assert len(losses_of(tmp_path / "run")) == 6


def test_a_log_that_cannot_grow_is_told_of_and_stays_readable(tmp_path: Path) -> None:
    training = Training(small_experiment(tmp_path), tmp_path / "run")
    with full_disk(500):
        warned = warnings_of(run_steps(training, 3))
    assert sum("log.jsonl" in line and "the training goes on" in line for line in warned) >= 1
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))


def test_an_output_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SvitError, match=r"file/run") as error:
        Training(small_experiment(tmp_path), tmp_path / "file" / "run")
    one_line(error)


@pytest.mark.parametrize("damage", ["nan", "explode"])
def test_a_bad_loss_ends_the_run_with_its_clips_saved_and_everything_else_untouched(
    tmp_path: Path, damage: str
) -> None:
    experiment = small_experiment(tmp_path)
    run_steps(Training(experiment, tmp_path / "run"), 2)
    training = Training(experiment, tmp_path / "run")
    if damage == "nan":
        training.trainer.model.encoder.positions.data.fill_(torch.nan)
    else:
        training.trainer.experiment = experiment.model_copy(update={"explode": 1.0})
    with pytest.raises(
        TrainingError, match=r"step 2: the loss is .*; its clips are in .*bad-step-2-0.pt; "
    ) as e:
        run_steps(training)
    one_line(e)
    saved = torch.load(tmp_path / "run" / "bad-step-2-0.pt", weights_only=False)
    assert len(saved["clips"]) == experiment.accumulate
    assert saved["clips"][0]["frames"].dtype == torch.uint8
    assert [path.name for path in find_checkpoints(tmp_path / "run" / "checkpoints")] == ["step-00000002"]
    run_steps(Training(experiment, tmp_path / "run"))
    assert len(losses_of(tmp_path / "run")) == 6


HOLDS_ITS_BATCHES = """
import sys
import numpy as np
from svit.data.actions import ActionSample
from svit.train.batches import Feed, Share, load_batches

class Clips:
    per_epoch = 1

    def __getitem__(self, number):
        return ActionSample(np.zeros((2, 8, 8, 3), np.uint8), 0, np.zeros(2), "blank", [])

sys.held = load_batches([Feed(Clips(), Share(1, 1))], 0, workers=1)
next(sys.held)
"""


def test_a_process_ends_though_something_still_holds_its_batches() -> None:
    assert subprocess.run([sys.executable, "-c", HOLDS_ITS_BATCHES], timeout=20, check=False).returncode == 0
