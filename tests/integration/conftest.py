"""A small model, a clip and the command line, for tests that go through all of it."""

from __future__ import annotations

import pytest
from tests.integration.samples import lively_model, moving
from tests.video.clips import write_clip

from svit.cli import main
from svit.weights import save

TIMES = [0.0, 0.1, 0.15, 0.5, 0.9, 1.0]
"""Seconds of the clip's frames: its rate is variable."""


@pytest.fixture(scope="session")
def model():
    """Shared: a model holds no state."""
    return lively_model()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("weights") / "lively.safetensors"
    save(model, path)
    return path


@pytest.fixture(scope="session")
def times():
    return TIMES


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("in") / "clip.mp4", moving(6), times=TIMES)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder in which a command runs, and where unnamed outputs go."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def command(here, capfd):
    """Runs `svit` with these words; returns status, stdout, stderr."""

    def run(*words):
        capfd.readouterr()
        status = main([str(word) for word in words])
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def track(command, checkpoint):
    """Runs `svit track` with the small model; returns status, stdout, stderr."""

    def run(*words):
        return command("track", *words, "--model", checkpoint)

    return run
