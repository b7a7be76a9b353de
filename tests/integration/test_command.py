"""Across processes: the command's signals, pipes and start, and a stream that goes on in another one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from tests.integration.samples import moving, said
from tests.video.clips import write_clip

import svit
from svit.video import open_source

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "svit.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
LONG = 4000
"""Frames of a clip that no run of these tests gets to the end of."""


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    images = moving(20)
    path = tmp_path_factory.mktemp("in") / "long.mp4"
    return write_clip(path, (images[number % 20] for number in range(LONG)))


@pytest.fixture
def start(checkpoint, tmp_path):
    """Starts `svit track` in a folder of its own; whatever still runs at the end is killed."""
    running = []

    def run(*words, **options):
        command = [*COMMAND, "track", *map(str, words), "--model", str(checkpoint)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        running.append(subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, text=True, **options))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not path.is_file() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, f"{path} did not get {count} lines"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_finishes_all_its_files_at_the_same_frame(start, long_clip, tmp_path, number):
    names = {"-o": "a.mp4", "--mot": "a.txt", "--jsonl": "a.jsonl", "--sheet": "a.png"}
    process = start(long_clip, *(word for pair in names.items() for word in pair))
    wait_for_lines(tmp_path / ".a.jsonl.part", 15)
    for _ in range(3):  # impatience, or a tool that signals twice, must not disturb the finishing
        process.send_signal(number)
        time.sleep(0.01)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "stopped; what was written so far is complete\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names.values())
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert 15 <= len(lines) < LONG
    with open_source(tmp_path / "a.mp4") as video:
        assert len(list(video)) == len(lines)
    with_tracks = [line["frame"] + 1 for line in lines if line["tracks"]]
    rows = np.loadtxt(tmp_path / "a.txt", delimiter=",")
    assert sorted(set(rows[:, 0])) == with_tracks
    PillowImage.open(tmp_path / "a.png").verify()
    assert f"summary:       {len(lines)} frames" in out


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_a_reader_that_has_had_enough_ends_the_run_quietly(start, long_clip, tmp_path):
    process = start(long_clip, "--jsonl", "-", "--mot", "a.txt")
    assert json.loads(process.stdout.readline())["frame"] == 0
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(err.splitlines()) == 2, "the file and the summary, no error"
    assert err.startswith("MOT file:      a.txt\nsummary:")
    assert (tmp_path / "a.txt").read_text().endswith("\n"), "the other output is finished"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_a_list_whose_reader_is_gone_ends_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [*COMMAND, "--version"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_installed_command_is_this_one(tmp_path):
    script = Path(sys.executable).with_name("svit")
    if not script.is_file():
        pytest.skip("svit is not installed beside this Python")
    done = subprocess.run(
        [script, "track", "none.mp4", "--model", "tiny-persn"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "svit: error: no model or file 'tiny-persn'; did you mean 'tiny-person'?\n"


@pytest.mark.parametrize("code", ["import svit", "from svit.cli import main; main(['--help'])"])
def test_import_and_help_do_not_wait_for_the_heavy_libraries(code):
    code += "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "svit" in loaded
    assert not loaded & {"torch", "supervision", "numpy", "scipy", "av", "PIL", "cv2", "matplotlib"}


RESUME = """
import json, sys, torch
from tests.integration.samples import moving, said
import svit
torch.set_num_threads(int(sys.argv[4]))
state = torch.load(sys.argv[1], weights_only=True)
stream = svit.Stream(svit.load(sys.argv[2], device="cpu"))
stream.load_state_dict(state)
results = [said(stream.step(image)) for image in moving(16)[9:]]
torch.save([[str(value) for value in result] for result in results], sys.argv[3])
"""


def test_a_stream_goes_on_in_another_process_with_identical_results(checkpoint, tmp_path):
    """Nine frames on a memory of four: it has evicted by then."""
    images = moving(16)
    stream = svit.Stream(svit.load(checkpoint, device="cpu"))
    for image in images[:9]:
        stream.step(image)
    torch.save(stream.state_dict(), tmp_path / "paused.pt")
    files = [str(path) for path in (tmp_path / "paused.pt", checkpoint, tmp_path / "results.pt")]
    command = [sys.executable, "-W", "ignore", "-c", RESUME, *files, str(torch.get_num_threads())]
    subprocess.run(command, env=ENVIRONMENT, timeout=120, check=True)
    expected = [[str(value) for value in said(stream.step(image))] for image in images[9:]]
    assert torch.load(tmp_path / "results.pt", weights_only=True) == expected
