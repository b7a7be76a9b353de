"""Models by name, file, device and precision; conversion; the list of models."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tests.weights.samples import (
    STAGES,
    clip_config,
    clip_model,
    official_state,
    same_weights,
    scrambled,
    small_config,
)

from svit import weights
from svit.config import preset
from svit.errors import OutputError, UsageError, WeightsError
from svit.model.video_model import build

ASSET = Path(str(resources.files("svit").joinpath(f"assets/{weights.DEFAULT_MODEL}.safetensors")))
OFFICIAL = {"heads": 2, "window": 4, "memory": 3, "stages": STAGES}


def test_a_preset_without_weights_names_build() -> None:
    for name in ("base", "large", "small"):
        with pytest.raises(UsageError, match=rf"no weights .* '{name}'.*svit\.build\('{name}'\)") as error:
            weights.load(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("tiny-persn", "did you mean 'tiny-person'"),
        ("bse", "did you mean 'base'"),
        ("zzzz", "known: base, large, small, tiny, tiny-person"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(UsageError, match=rf"no model or file '{name}'; {suggestion}"):
        weights.load(name)


def test_a_path_that_does_not_exist_is_a_missing_file() -> None:
    for path in ("none/base", "base.safetensors", Path("none.pth")):
        with pytest.raises(WeightsError, match=f"no checkpoint at {path}"):
            weights.load(path)


def test_the_bundled_weights_load_by_either_name_or_are_said_to_be_missing() -> None:
    for name in (weights.DEFAULT_MODEL, "tiny"):
        if ASSET.is_file():
            model = weights.load(name, device="cpu")
            assert model.config.encoder == preset("tiny").encoder
            assert not model.training
        else:
            with pytest.raises(WeightsError, match="bundled weights 'tiny-person' are not installed"):
                weights.load(name, device="cpu")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    weights.save(scrambled(small_config()), path)
    return path


def test_the_device_is_the_best_one_or_the_named_one(saved: Path) -> None:
    best = "cuda" if torch.cuda.is_available() else "cpu"
    for name in (None, "auto"):
        assert next(weights.load(saved, device=name).parameters()).device.type == best
    assert next(weights.load(saved, device=torch.device("cpu")).parameters()).device.type == "cpu"


@pytest.mark.parametrize("device", ["gpu", "", "cuda:99", "cpu:x", "privateuseone"])
def test_a_device_that_is_not_there_is_one_line(saved: Path, device: str) -> None:
    with pytest.raises(
        UsageError, match=rf"device '{device}' cannot be used here \(.+\); use 'auto'"
    ) as error:
        weights.load(saved, device=device)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [(None, torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_the_precision_is_that_of_all_weights(saved: Path, precision: str | None, dtype: torch.dtype) -> None:
    model = weights.load(saved, device="cpu", precision=precision)
    assert {x.dtype for x in model.state_dict().values() if x.is_floating_point()} == {dtype}
    with pytest.raises(UsageError, match=r"unknown precision 'bf61'; did you mean 'bf16'\?"):
        weights.load(saved, device="cpu", precision="bf61")


def test_auto_is_bf16_where_the_processor_multiplies_it(
    saved: Path, pretend_processor: Callable[..., None]
) -> None:
    for flag, dtype in (("avx512_bf16", torch.bfloat16), ("avx2", torch.float32)):
        pretend_processor("", flag)
        model = weights.load(saved, device="cpu", precision="auto")
        assert model.encoder.positions.dtype == dtype
        assert weights.pick_dtype("auto", "meta") == torch.float32, "only where it is known to help"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_detection_runs_in_low_precision_and_finds_much_the_same(tmp_path: Path, precision: str) -> None:
    torch.manual_seed(1)
    path, frames = tmp_path / "m.safetensors", torch.randn(1, 3, 3, 96, 128)
    weights.save(build(small_config()), path)
    maps, memory = {}, {}
    for name in ("fp32", precision):
        model = weights.load(path, device="cpu", precision=name)
        cast = frames.to(weights.pick_dtype(name))
        maps[name], memory[name] = model.head_maps(cast)
        detections, _ = model.detect(cast)
        assert detections[0][2].confidence.dtype == np.float32
    assert memory[precision].nbytes * 2 == memory["fp32"].nbytes
    for low, full in zip(maps[precision], maps["fp32"], strict=True):
        for kind in full:
            torch.testing.assert_close(low[kind].float(), full[kind], atol=0.1, rtol=0.1)


def test_converted_official_weights_load_as_load_official_does(tmp_path: Path) -> None:
    torch.save({"state_dict": official_state(scrambled(small_config()))}, tmp_path / "epoch_1.pth")
    report = weights.convert(tmp_path / "epoch_1.pth", tmp_path / "m.safetensors", **OFFICIAL)
    converted = weights.load(tmp_path / "m.safetensors", device="cpu")
    direct = weights.load_official(tmp_path / "epoch_1.pth", **OFFICIAL)
    assert same_weights(converted, direct)
    assert converted.config == direct.config
    assert report.loaded["encoder.positions"] == "detector.backbone.positional_embedding"
    assert not report.fresh


def test_our_own_checkpoints_convert_to_half_storage(saved: Path, tmp_path: Path) -> None:
    weights.convert(saved, tmp_path / "half.safetensors", half=True)
    with safe_open(tmp_path / "half.safetensors", "pt") as file:
        assert file.get_tensor("encoder.stem.conv.weight").dtype == torch.float16
    assert weights.load(tmp_path / "half.safetensors", device="cpu").config == small_config()


def test_a_clip_file_is_no_model_to_load_and_needs_its_presets_size(tmp_path: Path) -> None:
    torch.save(clip_model().state_dict(), tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match=r"clip.pt is a CLIP model, which has no detector; .*load_clip"):
        weights.load(tmp_path / "clip.pt", device="cpu")
    with pytest.raises(WeightsError, match="like no preset"):
        weights.convert(tmp_path / "clip.pt", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
    assert weights.load_clip(tmp_path / "clip.pt", clip_config())[0].config == clip_config()


def test_a_conversion_that_cannot_be_written_is_one_line(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"written as \.safetensors"):
        weights.convert(saved, tmp_path / "m.pth")


def test_the_list_of_models_counts_without_building() -> None:
    rows = {row.name: row for row in weights.describe_models()}
    assert {"tiny", "small", "base", "large"} <= set(rows)
    assert rows["base"].parameters == 199_549_842
    assert (rows["base"].long_side, rows["base"].short_side, rows["base"].memory) == (1440, 800, 32)
    assert rows["base"].classes == ("person",)
    assert rows["tiny"].parameters == sum(p.numel() for p in build("tiny").parameters())
    assert [rows[name].weights for name in ("small", "base", "large")] == [None] * 3
    assert (weights.DEFAULT_MODEL in rows) == ASSET.is_file()
    for row in rows.values():
        if row.weights is not None:
            model = weights.load(row.name, device="cpu")
            assert row.parameters == sum(p.numel() for p in model.parameters())
