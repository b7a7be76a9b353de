"""`svit train` as a user meets it: a run and its files, going on, stopping, previews, profiles, misfits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image as PillowImage
from tests.evaluate.sequences import make_sequence
from tests.integration.results import names, one_line

import svit
from svit.data.augment.preview import CAPTION, GAP

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "svit.cli", "train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}

EXPERIMENT = """# A small run for tests. It is quick.
model:
  preset: tiny
  settings:
    encoder: {width: 12, heads: 3, window: 3, position_grid: 5, memory: 3}
    detector: {width: 8, csp_blocks: 1}
    input: {short_side: 64, long_side: 96}
data:
  root: ROOT
  sources: [{sequences: sequences}]
  augment: {height: 64, width: 96}
  workers: 0
schedule: {epochs: 2, warm_up_epochs: 0.5, constant_epochs: 0.5}
multi_scale: null
batch: 2
precision: fp32
log_steps: 2
log_to: []
"""
STEPS = 12
"""Two sequences of six frames, two epochs, two clips per step."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with two sequences."""
    root = tmp_path_factory.mktemp("data")
    for number in range(2):
        make_sequence(root / "sequences" / f"S{number}", seed=number)
    return root


@pytest.fixture
def experiment(tmp_path, root):
    """The file of a small experiment."""
    path = tmp_path / "quick.yaml"
    path.write_text(EXPERIMENT.replace("ROOT", str(root)))
    return path


@pytest.fixture
def train(command, experiment):
    """Runs `svit train` on the small experiment; returns status, stdout, stderr."""

    def run(*words):
        return command("train", experiment, *words)

    return run


def settings_in(text: str) -> dict[str, object]:
    """The settings that a run prints before anything else."""
    return yaml.safe_load(text.partition("\n\n")[0])


def steps_of(output: Path) -> list[int]:
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [record["step"] for record in records if "losses" in record]


def test_a_run_prints_its_settings_and_numbers_and_leaves_weights_that_track(train, here, root):
    status, out, err = train("output=run", f"evaluate.dataset={root / 'sequences'}", "data.clip.length=3")
    assert status == 0, err
    run = here / "run"
    assert names(run) == [
        "best.safetensors", "checkpoints", "eval", "experiment.yaml", "log.jsonl", "quick.safetensors",
    ]  # fmt: skip
    assert settings_in(err) == yaml.safe_load((run / "experiment.yaml").read_text())
    assert settings_in(err)["data"]["clip"]["length"] == 3
    assert f"6 clips per epoch, {STEPS} steps of 2 clips".replace("6 clips", "12 clips") in err
    assert re.search(
        r"^step 2/12  epoch 0.33  .*total \d.*rate .*clips/s  data \d+%  0:\d\d:\d\d left$", err, re.M
    )
    assert re.search(r"^step 12: HOTA \d", err, re.M)
    scores, best, weights = out.splitlines()
    assert re.fullmatch(r"scores:  HOTA \d.*  MOTA .*", scores)
    assert re.fullmatch(r"best:    run/best.safetensors \(HOTA .* at step \d+\)", best)
    assert weights == "weights: run/quick.safetensors"
    assert steps_of(run) == [2, 4, 6, 8, 10, 12]
    stream = svit.Stream(svit.load(run / "quick.safetensors", device="cpu"))
    stream.step(np.zeros((64, 96, 3), np.uint8))


def test_what_a_run_saved_of_its_settings_is_enough_to_run_it_again(train, command, here):
    assert train("output=first", "seed=3", "optimiser.rate=1e-3", "schedule.epochs=1")[0] == 0
    status, _, err = command("train", "first/experiment.yaml", "output=second")
    assert status == 0, err
    saved, again = (
        svit.load(f"{run}/quick.safetensors", device="cpu").state_dict() for run in ("first", "second")
    )
    assert all((saved[name] == again[name]).all() for name in saved)


def test_without_output_the_folder_has_the_experiments_name(train, here):
    assert train()[0] == 0
    assert (here / "outputs" / "quick" / "quick.safetensors").is_file()


def test_a_finished_run_says_so_again_without_computing(train, here):
    train("output=run")
    status, out, err = train("output=run")
    assert (status, out) == (0, "weights: run/quick.safetensors\n")
    assert "going on from step 12 of 12" in err
    assert steps_of(here / "run") == [2, 4, 6, 8, 10, 12]


def test_the_presets_are_listed_with_a_line_each(command):
    for words in (["train"], ["train", "--list"]):
        status, out, err = command(*words)
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert {line.split()[0] for line in lines} >= {"mot17-base", "mot20", "dancetrack", "smoke"}
        assert all(len(line.split()) > 5 for line in lines)


def test_a_preview_shows_augmented_clips_and_tells_the_speed_of_a_worker(train, here, monkeypatch):
    monkeypatch.setattr("svit.cli.train.MEASURED_SECONDS", 0.2)
    status, out, err = train("--preview", "clips.png", "data.clip.length=3")
    assert (status, err) == (0, "")
    written, speed = out.splitlines()
    assert written == "preview: clips.png"
    assert re.fullmatch(
        r"speed:   \d+\.\d\d clips/s per worker, .*\(3 frames of 96x64; data.workers=0\)", speed
    )
    picture = np.asarray(PillowImage.open(here / "clips.png"))
    assert picture.shape[1] / picture.shape[0] == pytest.approx(3 * 96 / (8 * 64), rel=0.1), "8 rows of 3"
    assert picture.std() > 10
    assert names(here) == ["clips.png"], "nothing is trained"


ACTIONS = "data.actions={synthetic: {pairs: [moves], length: 5, size: 64}, pictures: sequences/S0/img1}"
HEAD = "model.settings.action={depth: 1, window: 5}"


@pytest.mark.parametrize(
    ("sources", "kinds"), [((), ["clips", "action clips"]), (("data.sources=[]",), ["action clips"])]
)
def test_a_preview_shows_every_task(train, here, monkeypatch, sources, kinds):
    monkeypatch.setattr("svit.cli.train.MEASURED_SECONDS", 0.0)
    status, out, err = train("--preview", "clips.png", ACTIONS, HEAD, "multi_scale=null", *sources)
    assert (status, err) == (0, "")
    written, *speeds = out.splitlines()
    assert written == "preview: clips.png"
    assert [re.search(r" \d+\.\d\d (.*)/s per worker", speed)[1] for speed in speeds] == kinds
    assert "(5 frames of 64x64; data.workers=0)" in speeds[-1]
    width, height = PillowImage.open(here / "clips.png").size
    boxes = 8 * (320 + GAP) if "clips" in kinds else 0
    assert height == boxes + 8 * (120 + CAPTION + GAP) + GAP, "8 rows of each"
    assert width >= 5 * (120 + GAP) + GAP


def test_a_preview_is_the_same_every_time(train, here, monkeypatch):
    monkeypatch.setattr("svit.cli.train.MEASURED_SECONDS", 0.0)
    for name in ("a.png", "b.png"):
        assert train("--preview", name)[0] == 0
    assert (here / "a.png").read_bytes() == (here / "b.png").read_bytes()


def test_a_profile_names_the_costliest_operations_and_writes_a_trace(train, here):
    status, out, err = train("output=run", "--profile")
    assert status == 0, err
    rows = out.splitlines()
    assert rows[0].split()[:2] == ["operation", "calls/step"]
    assert any("conv" in row for row in rows)
    assert rows[-1] == "trace:   run/trace.json.gz"
    assert (here / "run" / "trace.json.gz").stat().st_size > 1000
    status, _, err = train("output=run")
    assert status == 0
    assert "going on from step 9 of 12" in err


def test_a_run_too_short_to_profile_says_so(train):
    status, out, err = train("output=run", "--profile", "schedule.epochs=1")
    assert (status, out) == (0, "weights: run/quick.safetensors\n")
    assert err.endswith("svit: warning: too few steps to profile\n")


def test_tensorboard_gets_the_numbers_where_it_is_asked_for(train, here):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed; it is optional")
    assert train("output=run", "log_to=[tensorboard]")[0] == 0
    assert len(list((here / "run" / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["batch=0"], 2, "setting 'batch' of quick: .*greater than 0"),
        (["bacth=1"], 2, "unknown setting 'bacth' of quick; did you mean 'batch'"),
        (["batch"], 2, "'batch' is no setting; write key=value"),
        (["output="], 2, "output= needs a folder"),
        (["model.start=ViT-B-16.pt"], 1, "ViT-B-16.pt: not found; .*model.start=FILE .*model.start=null"),
        (["data.root=nowhere"], 1, "nowhere/sequences: not found; data.root=DIR"),
        (["output=/dev/null/run"], 1, "/dev/null/run: cannot be written"),
        (["precision=fp16"], 2, "precision=fp16 needs a GPU"),
        (["log_to=[wandb]"], 2, "log_to asks for wandb, .*pip install wandb"),
        (["evaluate.dataset=mot17-half"], 1, "MOT17/train: not found; .*evaluate.root="),
        (["--preview", "clips.jpg"], 1, "clips.jpg: .*must end in .png"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_line_and_leaves_nothing(train, here, monkeypatch, words, status, says):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("svit.train.loggers.find_spec", lambda name: None)
    code, out, err = train(*words)
    assert (code, out) == (status, "")
    one_line(err, says)
    assert names(here) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["smok"], "unknown experiment 'smok'; did you mean 'smoke'"),
        (["batch=3"], "'batch=3' is a setting; name the experiment first: svit train smoke batch=3"),
        (["none.yaml"], "none.yaml: No such file"),
        (["smoke", "--profil"], "No such option"),
    ],
)
def test_what_is_no_experiment_is_one_line(command, here, words, says):
    status, out, err = command("train", *words)
    assert (status, out) == (2, "")
    one_line(err, says)


@pytest.mark.parametrize(
    ("source", "command_line"),
    [
        ("crowdhuman/annotations/crowdhuman_train.json", "svit prepare crowdhuman writes it"),
        ("MOTSynth/all_cocoformat.json", "svit prepare motsynth writes it"),
        ("MOT17/annotations/half-train_cocoformat.json", "svit prepare mot writes it"),
    ],
)
def test_a_data_set_that_is_not_prepared_says_what_prepares_it(train, source, command_line):
    status, _, err = train(f"data.sources=[{{annotations: {source}}}]")
    assert status == 1
    one_line(err, f"{source}: not found; {command_line} .docs/data.md.; data.root=DIR")


def test_a_paper_preset_without_its_data_is_one_line_at_once(command, here):
    status, _, err = command("train", "mot17-base")
    assert status == 1
    one_line(err, "checkpoints/ViT-B-16.pt: not found")


def test_other_settings_in_the_same_folder_are_refused(train):
    assert train("output=run")[0] == 0
    status, _, err = train("output=run", "seed=5")
    assert status == 2
    one_line(err, "run holds a run with seed=0, asked for is seed=5; choose another output=")


def test_more_workers_than_cores_are_a_warning(train, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0}, raising=False)
    short = ("schedule.epochs=0.2", "schedule.warm_up_epochs=0", "schedule.constant_epochs=0.1")
    status, _, err = train("data.workers=2", *short)
    assert status == 0
    assert re.findall("svit: warning: .*", err) == [
        "svit: warning: data.workers=2: more than the 1 cores here; fewer are not slower"
    ]


@pytest.mark.parametrize("missing", ["accelerate", "cv2"])
def test_without_its_extra_training_is_one_line_that_says_what_to_install(here, missing):
    code = f"import sys; sys.modules[{missing!r}] = None\n"
    code += "from svit.cli import main; sys.exit(main(['train', 'smoke']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    one_line(done.stderr, r"pip install 'streaming-video-model\[train\]'")


@pytest.fixture
def start(experiment, here):
    """Starts a long run in another process; whatever still runs at the end is killed."""
    running = []

    def run(*words, launcher=COMMAND):
        words = (str(experiment), "output=run", "schedule.epochs=500", "log_steps=1", *words)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen([*launcher, *words], cwd=here, env=ENVIRONMENT, **pipes))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def wait_for_steps(output: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not (output / "log.jsonl").is_file() or len(steps_of(output)) < count:
        assert time.monotonic() < deadline, f"{output} did not get to step {count}"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_its_step_and_the_same_command_goes_on(start, here, number):
    process = start()
    wait_for_steps(here / "run", 3)
    for _ in range(3):  # impatience, or a tool that signals twice
        process.send_signal(number)
        time.sleep(0.01)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.count("stopping after this step, with a checkpoint\n") == 1
    stopped = int(re.search(r"stopped at step (\d+); the same command goes on from there\n$", err)[1])
    assert names(here / "run" / "checkpoints") == [f"step-{stopped:08d}"]
    again = start()
    wait_for_steps(here / "run", stopped + 1)
    again.send_signal(number)
    _, err = again.communicate(timeout=60)
    assert f"going on from step {stopped} of 3000" in err
    assert steps_of(here / "run")[: stopped + 1] == list(range(1, stopped + 2)), (
        "no step twice, none left out"
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_of_two_processes_one_prints_and_a_signal_stops_both_at_the_same_step(start, here):
    process = start(launcher=[*TORCHRUN, "svit.cli", "train"])
    wait_for_steps(here / "run", 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    stopped = re.findall(r"^stopped at step (\d+); .*$", err, re.M)
    assert len(stopped) == 1, err
    assert names(here / "run" / "checkpoints") == [f"step-{int(stopped[0]):08d}"]
    assert len(re.findall(r"^step 1/", err, re.M)) == 1
    assert len(re.findall(r"^name: quick$", err, re.M)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("words", [["bacth=1"], ["explode=1e-9"]], ids=["before", "in the middle"])
def test_an_error_in_two_processes_is_said_once(start, words):
    process = start(*words, launcher=[*TORCHRUN, "svit.cli", "train"])
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert len(re.findall(r"^svit: .*", err, re.M)) == 1, err
