"""Our own checkpoints: what is saved comes back, whole or not at all."""

import json
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.weights.samples import same_weights, scrambled, small_config

from svit import weights
from svit.errors import OutputError, WeightsError


def test_a_saved_model_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = scrambled(small_config(eviction="fifo"))
    weights.save(model, tmp_path / "m.safetensors")
    loaded = weights.load(tmp_path / "m.safetensors", device="cpu")
    assert same_weights(loaded, model)
    assert loaded.config == model.config
    assert not loaded.training
    assert all(p.requires_grad for p in loaded.parameters())
    frames = torch.randn(1, 2, 3, 96, 128)
    with torch.no_grad():
        ours, theirs = loaded.head_maps(frames)[0], model.head_maps(frames)[0]
    assert all(torch.equal(a[kind], b[kind]) for a, b in zip(ours, theirs, strict=True) for kind in a)


def test_a_model_in_low_precision_or_training_is_saved_as_well(tmp_path: Path) -> None:
    model = scrambled(small_config()).train().to(torch.bfloat16)
    weights.save(model, tmp_path / "m.safetensors")
    loaded = weights.load(tmp_path / "m.safetensors", device="cpu")
    assert same_weights(loaded, model.float())


def test_half_storage_halves_the_file_and_keeps_vectors_exact(tmp_path: Path) -> None:
    model = scrambled(small_config())
    weights.save(model, tmp_path / "full.safetensors")
    weights.save(model, tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.65 * sizes[1]
    loaded = weights.load(tmp_path / "half.safetensors", device="cpu").state_dict()
    for name, tensor in model.state_dict().items():
        exact = tensor if tensor.ndim < 2 else tensor.half().float()
        assert torch.equal(loaded[name], exact), name


def test_the_file_does_not_change_a_loaded_model(tmp_path: Path) -> None:
    model, path = scrambled(small_config()), tmp_path / "m.safetensors"
    weights.save(model, path)
    loaded = weights.load(path, device="cpu")
    path.write_bytes(bytes(path.stat().st_size))  # in place: a mapping would see it
    assert same_weights(loaded, model)


def test_saving_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for seed in (1, 2):
        weights.save(scrambled(small_config(), seed), path)
    assert same_weights(weights.load(path, device="cpu"), scrambled(small_config(), 2))
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    weights.save(scrambled(small_config(), 1), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # the kernel then fails the write
    try:
        with pytest.raises(OutputError, match=r"cannot write .*m.safetensors: .*File too large") as error:
            weights.save(scrambled(small_config(), 2), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_target_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    model = scrambled(small_config())
    (tmp_path / "file").touch()
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*/none/m.safetensors: No such file or directory"):
        weights.save(model, tmp_path / "none" / "m.safetensors")
    with pytest.raises(OutputError, match=r"cannot write .*/file/m.safetensors: Not a directory"):
        weights.save(model, tmp_path / "file" / "m.safetensors")
    with pytest.raises(OutputError, match="Is a directory"):
        weights.save(model, tmp_path / "folder.safetensors")
    with pytest.raises(OutputError, match=r"are written as \.safetensors"):
        weights.save(model, tmp_path / "m.pth")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        weights.save(scrambled(small_config()), tmp_path / "m.safetensors")


def rewritten(path: Path, **config: object) -> Path:
    """The checkpoint with some entries of its configuration changed."""
    with safe_open(path, "pt") as file:
        values = json.loads(file.metadata()["svit"])
    target = path.with_name("rewritten.safetensors")
    save_file(load_file(path), target, {"svit": json.dumps(values | config)})
    return target


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    weights.save(scrambled(small_config()), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_a_configuration_of_another_version_names_the_setting(saved: Path) -> None:
    path = rewritten(saved, pyramidd=True)
    message = (
        r"rewritten.safetensors carries a configuration .*unknown setting 'pyramidd'.*did you mean 'pyramid'"
    )
    with pytest.raises(WeightsError, match=message):
        weights.load(path, device="cpu")
    with pytest.raises(WeightsError, match=r"setting 'encoder.width'"):
        weights.load(rewritten(saved, encoder={"width": -1}), device="cpu")


@pytest.mark.parametrize("text", ["{", "[]", "null", '"tiny"'])
def test_a_broken_configuration_is_one_line(saved: Path, text: str) -> None:
    save_file(load_file(saved), saved, {"svit": text})
    with pytest.raises(WeightsError, match=r"m.safetensors carries a configuration") as error:
        weights.load(saved, device="cpu")
    assert "\n" not in str(error.value)


def test_weights_of_another_configuration_are_reported(saved: Path) -> None:
    state = load_file(saved)
    state["encoder.new"] = state.pop("encoder.norm_in.bias")
    state["encoder.norm_in.weight"] = torch.zeros(3)
    with safe_open(saved, "pt") as file:
        metadata = file.metadata()
    save_file(state, saved, metadata)
    with pytest.raises(WeightsError) as error:
        weights.load(saved, device="cpu")
    assert str(error.value).splitlines()[0] == (
        f"{saved} does not fit the model: 1 missing (encoder.norm_in.bias); 1 unexpected (encoder.new); "
        "1 of another shape (encoder.norm_in.weight 3 instead of 32)"
    )


def test_another_projects_safetensors_is_one_line(tmp_path: Path) -> None:
    save_file({"layer.weight": torch.zeros(2)}, tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(
        WeightsError, match=r"other.safetensors is neither a checkpoint of svit .*\(found layer.weight\)"
    ):
        weights.load(tmp_path / "other.safetensors", device="cpu")
