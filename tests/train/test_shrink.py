"""runs/shrink.py: a model of the same size comes out the same, a smaller one sees nearly the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.small import randomise
from tests.train.small import MODEL, ROOT, small_experiment
from torch import Tensor

from svit.config import preset
from svit.model.video_model import VideoModel, build
from svit.train.start import start_model
from svit.weights import load, save

DEEP = {**MODEL, "encoder__depth": 4, "encoder__outputs": [1, 2, 3], "encoder__residual_blocks": [3]}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "finished.safetensors"
    model = build(preset("tiny", **DEEP)).eval()
    randomise(model)
    save(model, path)
    return path


def shrunk(
    folder: Path, finished: Path, settings: dict[str, Any], blocks: list[int]
) -> tuple[VideoModel, VideoModel]:
    """What `runs/shrink.py` makes of a finished model, and the model before it was fitted."""
    choice = {"preset": "tiny", "settings": settings}
    experiment = small_experiment(folder, model=choice, teacher={"weights": str(finished)})
    sys.path.insert(0, str(ROOT / "runs"))
    try:
        import shrink
    finally:
        sys.path.pop(0)
    before = start_model(experiment)[0].eval()
    words = [str(folder / "small.yaml"), str(folder / "start.safetensors"), "--blocks", *map(str, blocks)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shrink, "BATCHES", 6)
        patched.setattr(sys, "argv", ["shrink.py", *words])
        shrink.main()
    return load(str(folder / "start.safetensors")), before


def what_it_sees(model: VideoModel) -> tuple[Tensor, Tensor]:
    """The last stage and the logits of objectness, of frames of noise like the sequence's."""
    frames = torch.randn(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        stages, _ = model.encoder(frames)
        maps, _ = model.head_maps(frames)
    return stages[-1], maps[0]["obj"]


def distance(model: VideoModel, other: VideoModel) -> tuple[float, float]:
    pairs = zip(what_it_sees(model), what_it_sees(other), strict=True)
    first, second = (float((a - b).square().mean() / b.var()) for a, b in pairs)
    return first, second


def test_the_same_size_comes_out_the_same(tmp_path: Path, finished: Path) -> None:
    same, before = shrunk(tmp_path / "run", finished, DEEP, [0, 1, 2, 3])
    teacher = load(str(finished))
    assert max(distance(same, teacher)) < 0.01
    assert min(distance(before, teacher)) > 0.5


def test_a_smaller_one_is_near(tmp_path: Path, finished: Path) -> None:
    smaller = {**MODEL, "encoder__residual_blocks": [2], "encoder__mlp_ratio": 2, "pyramid_width": 6}
    near, before = shrunk(tmp_path / "run", finished, smaller, [0, 2, 3])
    teacher = load(str(finished))
    assert distance(near, teacher)[0] < 0.2 * distance(before, teacher)[0]
    assert near.config.encoder.mlp_ratio == 2


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ([0, 2, 1], "they must rise, from 0 to 3"),
        ([1, 2, 4], "they must rise, from 0 to 3"),
        ([0, 1, 3], "after 1 some are left out, but a residual convolution"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(
    tmp_path: Path, finished: Path, blocks: list[int], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        shrunk(tmp_path / "run", finished, {**MODEL, "encoder__residual_blocks": [1]}, blocks)
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "run" / "start.safetensors").exists()
