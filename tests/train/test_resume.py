"""A run that is stopped, killed or moved to other processes goes on as if nothing had happened."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import torch
from tests.train.small import (
    finish_processes,
    losses_of,
    run_steps,
    small_experiment,
    start_processes,
    write_experiment,
)

from svit.errors import UsageError, WeightsError
from svit.train.checkpoint import find_checkpoints, read_state
from svit.train.experiment import load_experiment
from svit.train.loop import Note, Training
from svit.weights import load

STEPS = 6


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    return load(output / "small.safetensors", "cpu").state_dict()


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def notes(events: list[object]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Note))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an experiment, and `whole`: its run without interruption, by one process."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    run_steps(Training(small_experiment(folder), folder / "whole"))
    assert len(losses_of(folder / "whole")) == STEPS
    return folder


def test_a_stopped_run_goes_on_with_the_same_losses_and_ends_with_the_same_weights(whole: Path) -> None:
    experiment, output = load_experiment(str(whole / "small.yaml")), whole / "stopped"
    for stop in (1, 4, None):
        training = Training(experiment, output)
        said = notes(run_steps(training, stop))
        assert ("the same command goes on" in said) == (stop is not None)
    assert "going on from step 4 of 6" in said
    assert losses_of(output) == losses_of(whole / "whole")
    assert_equal(weights_of(output), weights_of(whole / "whole"))


def test_a_finished_run_that_is_started_again_changes_nothing(whole: Path) -> None:
    output = whole / "whole"
    weights, losses = weights_of(output), losses_of(output)
    run_steps(Training(load_experiment(str(whole / "small.yaml")), output))
    assert_equal(weights_of(output), weights)
    assert losses_of(output) == losses


def test_two_processes_train_as_one_with_twice_the_accumulation_and_hand_over_to_it(whole: Path) -> None:
    path, output = whole / "small.yaml", whole / "from-two"
    finish_processes(start_processes(2, path, output, 3, "accumulate=1"))
    assert losses_of(output) == pytest.approx(losses_of(whole / "whole")[:3], abs=1e-5)
    run_steps(Training(load_experiment(str(path)), output))
    assert losses_of(output) == pytest.approx(losses_of(whole / "whole"), rel=1e-5)


@pytest.mark.parametrize("sharded", [False, True])
def test_one_process_hands_over_to_two_and_these_to_one(whole: Path, sharded: bool) -> None:
    """The two as DDP or FSDP2 has them: both read and write what one process writes and reads."""
    path, output = whole / "small.yaml", whole / f"to-two-{sharded}"
    # `accelerate launch` sets the last two, whatever is asked for.
    wanted = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}
    environment = wanted if sharded else {}
    run_steps(Training(load_experiment(str(path)), output), 2)
    finish_processes(start_processes(2, path, output, 5, "accumulate=1", environment=environment))
    run_steps(Training(load_experiment(str(path)), output))
    assert losses_of(output) == pytest.approx(losses_of(whole / "whole"), rel=1e-5)
    expected, found = weights_of(whole / "whole"), weights_of(output)
    for name in [name for name in expected if not name.endswith("num_batches_tracked")]:
        # Of running statistics each process sees half: their mean is not what one after the other would be.
        tolerance = 0.2 if "running" in name else 1e-3
        torch.testing.assert_close(found[name], expected[name], atol=tolerance, rtol=tolerance)


def test_another_number_of_clips_per_step_is_one_clear_line(whole: Path) -> None:
    experiment = load_experiment(str(whole / "small.yaml"), ["accumulate=1"])
    with pytest.raises(
        UsageError, match=r"with 4 clips per step, now there are 2: choose batch and accum"
    ) as e:
        Training(experiment, whole / "whole")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimiser.rate=0.002", r"holds a run with optimiser.rate=0.001, asked for is optimiser.rate=0.002"),
        ("seed=1", r"seed=0, asked for is seed=1; choose another output="),
        (
            "data.sources=[{sequences: walk},{sequences: walk}]",
            r"data.sources=1 of them, asked for is .*=2 of",
        ),
        ("data.sources.0.share=0.5", r"data.sources.0.share=1.0, asked for is data.sources.0.share=0.5"),
        ("model.settings.encoder.memory=3", r"encoder__memory=2, asked for is .*encoder__memory=3"),
    ],
)
def test_a_folder_of_another_experiment_is_refused_by_the_first_difference(
    whole: Path, change: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        Training(load_experiment(str(whole / "small.yaml"), [change]), whole / "whole")
    assert "\n" not in str(error.value)


def test_what_changes_no_number_may_change_between_two_parts(whole: Path) -> None:
    output = whole / "changed"
    run_steps(Training(load_experiment(str(whole / "small.yaml")), output), 3)
    changes = ["form=step", "checkpointing=true", "data.workers=1", "keep=1", "log_steps=1"]
    run_steps(Training(load_experiment(str(whole / "small.yaml"), changes), output))
    assert losses_of(output) == pytest.approx(losses_of(whole / "whole"), rel=1e-5)


def test_the_weights_it_once_started_from_are_not_needed_again(whole: Path, tmp_path: Path) -> None:
    start, output = tmp_path / "start.safetensors", tmp_path / "run"
    start.write_bytes((whole / "whole" / "small.safetensors").read_bytes())
    experiment = load_experiment(str(whole / "small.yaml"), [f"model.start={start}"])
    assert f"weights: {start}" in notes(run_steps(Training(experiment, output), 1))
    start.unlink()
    assert "going on from step 1" in notes(run_steps(Training(experiment, output), 2))


def test_a_damaged_newest_checkpoint_is_named_and_nothing_is_done_silently(tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path)
    for stop in (1, 2):
        run_steps(Training(experiment, tmp_path / "run"), stop)
    newest = find_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    shard = next(newest.glob("*.distcp"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(WeightsError, match=r"step-00000002: .*cannot be read.*; remove it") as error:
        Training(experiment, tmp_path / "run")
    assert "\n" not in str(error.value)
    (newest / "state.json").write_text("{")
    with pytest.raises(WeightsError, match=r"step-00000002: is no checkpoint of a training.*; remove it"):
        Training(experiment, tmp_path / "run")
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    assert Training(experiment, tmp_path / "run").state.step == 1


def test_killed_while_a_checkpoint_is_written_it_goes_on_from_the_one_before(
    whole: Path, tmp_path: Path
) -> None:
    """Two checkpoints are whole; the process is killed in the middle of the third."""
    path, output = write_experiment(tmp_path, save_minutes=1e-9), tmp_path / "run"
    (process,) = start_processes(1, path, output, 0, "save_minutes=1.0e-9", environment={"STALL_AT": "3"})
    part = output / "checkpoints" / ".step-00000003.part"
    give_up = time.monotonic() + 120
    while not list(part.glob("*.distcp")) and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert part.is_dir()
    training = Training(load_experiment(str(path)), output)
    assert training.state.step == 2
    run_steps(training)
    assert losses_of(output) == losses_of(whole / "whole")
    assert not part.exists()


def test_a_run_that_is_ended_while_it_scores_loses_no_step_and_scores_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = write_experiment(tmp_path, evaluate={"dataset": "sample"}), tmp_path / "run"
    scored: list[Path] = []

    def score(model: object, settings: object, folder: Path) -> dict[str, float]:
        scored.append(folder)
        if len(scored) == 1:
            raise KeyboardInterrupt
        return {"HOTA": 50.0 - len(scored)}

    monkeypatch.setattr("svit.train.loop.score", score)
    with pytest.raises(KeyboardInterrupt):
        run_steps(Training(load_experiment(str(path)), output))
    training = Training(load_experiment(str(path)), output)
    assert (training.state.step, training.state.best) == (3, None)
    run_steps(training, 5)
    assert [folder.name for folder in scored] == ["step-00000003"] * 2
    training = Training(load_experiment(str(path)), output)
    assert training.state.best == (48.0, 3)
    run_steps(training)
    assert [folder.name for folder in scored[2:]] == ["step-00000006"]
    run_steps(Training(load_experiment(str(path)), output))
    assert len(scored) == 3
    newest = read_state(find_checkpoints(output / "checkpoints")[-1])
    assert (newest.step, newest.scored, newest.best) == (6, 6, (48.0, 3))
