"""Files that are damaged, of another kind or malicious: one clear line, and nothing is executed."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.weights.samples import official_state, scrambled, small_config
from torch import nn

from svit import weights
from svit.errors import WeightsError

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def one_line(path: Path | str, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as error:
        weights.load(path, device="cpu")
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


class Intruder:
    """Creates a file when unpickled the careless way."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


def zip_pickle(content: object, path: Path) -> None:
    torch.save(content, path)


def legacy_pickle(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def raw_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))


def torchscript(content: object, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("m/constants.pkl", pickle.dumps((), protocol=2))


@pytest.mark.parametrize("write", [zip_pickle, legacy_pickle, raw_pickle, torchscript])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_malicious_pickle_is_refused_and_not_executed(
    tmp_path: Path, write: Callable[[object, Path], None], wrapped: bool
) -> None:
    target, path = tmp_path / "intruded", tmp_path / "evil.pth"
    content = (
        {"conv1.weight": torch.zeros(2), "x": Intruder(target)}
        if write is not torchscript
        else Intruder(target)
    )
    write({"state_dict": content} if wrapped else content, path)
    one_line(path, f"refused to open {path}: it")
    assert not target.exists()


def test_the_refusal_names_what_would_be_called(tmp_path: Path) -> None:
    for write in (zip_pickle, legacy_pickle, torchscript):
        write(Intruder(tmp_path / "intruded"), tmp_path / "evil.pth")
        one_line(tmp_path / "evil.pth", r"would execute code \((posix|nt).mkdir\)")


class ScriptedIntruder(nn.Module):
    """TorchScript runs this `__setstate__` while loading, and `from_file` creates the file it maps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.training = state[1]
        self.weight = torch.from_file("intruded.bin", True, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_code_inside_a_torchscript_archive_is_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.jit.save(torch.jit.script(ScriptedIntruder()), "evil.pt")
    with pytest.raises(WeightsError):
        weights.load_clip("evil.pt")
    assert not Path("intruded.bin").exists()
    torch.jit.load("evil.pt")
    assert Path("intruded.bin").exists(), "the archive was harmless, so this test proved nothing"


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "m.pth")
    one_line(tmp_path / "m.pth", "would execute code .*Linear")


def write_all_kinds(folder: Path) -> list[Path]:
    state = official_state(scrambled(small_config()))
    torch.save(state, folder / "zip.pth")
    legacy_pickle(state, folder / "legacy.pth")
    weights.save(scrambled(small_config()), folder / "own.safetensors")
    module = nn.Module()
    module.visual = nn.Linear(100, 100)
    torch.jit.save(torch.jit.script(module), folder / "script.pt")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("part", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_line(tmp_path: Path, part: float) -> None:
    for path in write_all_kinds(tmp_path):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(part * len(whole))])
        one_line(path, "damaged|refused to open")


def test_an_empty_file_is_one_line(tmp_path: Path) -> None:
    for name in ("m.pth", "m.safetensors", "m.pt"):
        (tmp_path / name).touch()
        one_line(tmp_path / name, "is empty")


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors", "m.pt", "m.bin"])
@pytest.mark.parametrize("content", [b"hello", b"weights: see the README {}\n" * 9, bytes(range(256)) * 9])
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    one_line(tmp_path / name, "damaged|refused to open")


def test_a_zip_of_something_else_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    one_line(tmp_path / "m.pth", "damaged")


def test_a_missing_file_or_a_folder_is_one_line(tmp_path: Path) -> None:
    one_line(tmp_path / "none.pth", "no checkpoint at")
    one_line(tmp_path, "is a folder")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([torch.zeros(1)], "holds a list"),
        (torch.zeros(1), "holds a Tensor"),
        ({}, "it is empty"),
        ({"model": {"w": torch.zeros(1)}, "epoch": 3}, "'model' is none"),
        ({"fc.weight": torch.zeros(1)}, r"found fc.weight"),
    ],
)
def test_a_pickle_of_something_else_is_one_line(tmp_path: Path, content: object, match: str) -> None:
    torch.save(content, tmp_path / "m.pth")
    one_line(tmp_path / "m.pth", match)


def storage_of_the_wrong_size(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(name, data[: len(data) // 2] if "/data/" in name else data)


def compressed_entry(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(name, data, zipfile.ZIP_DEFLATED)


def without_storages(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    if "/data/" not in name:
        archive.writestr(name, data)


@pytest.mark.parametrize("rewrite", [storage_of_the_wrong_size, compressed_entry, without_storages])
def test_a_tampered_torchscript_archive_is_one_line(
    tmp_path: Path, rewrite: Callable[[zipfile.ZipFile, str, bytes], None]
) -> None:
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    torch.jit.save(torch.jit.script(nn.Linear(3, 3)), good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for info in source.infolist():
            rewrite(target, info.filename, source.read(info))
    one_line(bad, "is a damaged TorchScript archive")


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    state = official_state(scrambled(small_config()))
    save_file(state, tmp_path / "really_safetensors.pth")
    model = weights.load_official(tmp_path / "really_safetensors.pth", 2, 4, 3, (0, 1, 2, 3))
    assert torch.equal(model.state_dict()["encoder.norm_in.bias"], state["detector.backbone.ln_pre.bias"])
