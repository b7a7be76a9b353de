"""Reads the tensors of a TorchScript archive without running it.

CLIP's official files are TorchScript archives. `torch.load` refuses those with `weights_only=True`, and
`torch.jit.load` executes the code inside: a `__setstate__` written in TorchScript runs while loading and
can create files. Such an archive is a zip with `data.pkl`, a pickle of the module tree, and one entry of
raw bytes per storage. Here the pickle is read with a fixed list of names, each answered by an inert
stand-in of our own, so nothing in the file can reach code; the `code/` entries are never looked at.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from svit.errors import WeightsError

_STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
_LISTS = ("build_boollist", "build_doublelist", "build_intlist", "build_tensorlist")


def is_torchscript(path: Path) -> bool:
    """Whether the file is a complete zip with the entries that only TorchScript writes."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of a scripted or traced module, by their state dict's names.

    Raises:
        WeightsError: the archive is damaged, or its pickle asks for anything but tensors and modules.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl"))
            return dict(_tensors(_ModuleUnpickler(archive, name).load(), "", set()))
    except pickle.UnpicklingError as error:
        raise WeightsError(f"refused to open {path}: {error}") from None
    except Exception as error:  # arbitrary bytes fail in arbitrary ways
        reason = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{path} is a damaged TorchScript archive ({reason})") from None


class _Module:
    """Stands for any scripted class: keeps its attributes, does nothing."""

    def __init__(self, *_: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def _tensors(module: object, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """The tensors below a module, depth first; a module that occurs again is not entered again."""
    if not isinstance(module, _Module) or not isinstance(module.state, dict) or id(module) in seen:
        return
    seen.add(id(module))
    for name, value in module.state.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        else:
            yield from _tensors(value, f"{prefix}{name}.", seen)


class _ModuleUnpickler(pickle.Unpickler):
    """Knows modules, tensors, their storages and lists; every other name is an error."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        super().__init__(_open_stored(archive, name))
        self._archive, self._folder = archive, name.removesuffix("data.pkl") + "data/"
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> object:
        """The stand-in for a global name of the pickle."""
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch.jit._pickle" and name in _LISTS:
            return list
        known: dict[tuple[str, str], object] = {
            ("collections", "OrderedDict"): dict,
            ("torch._utils", "_rebuild_tensor_v2"): _view,
            ("torch.jit._pickle", "restore_type_tag"): _first,
            ("torch", "device"): str,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it would execute code ({module}.{name})")
        return known[module, name]

    def persistent_load(self, pid: tuple[str, torch.dtype, str, str, int]) -> Tensor:
        """The flat tensor of a storage: ("storage", type, entry, device, number of elements)."""
        _, dtype, key, _, elements = pid
        if key not in self._storages:
            raw = _open_stored(self._archive, self._folder + key).read()
            if len(raw) != elements * dtype.itemsize:
                raise ValueError(f"storage {key} has {len(raw)} bytes, not {elements * dtype.itemsize}")
            flat = torch.empty(len(raw), dtype=torch.uint8)
            flat.numpy()[:] = memoryview(raw)
            self._storages[key] = flat.view(dtype)
        return self._storages[key]


def _open_stored(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """An entry as PyTorch writes it, uncompressed: nothing can unfold to more than the file's size."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.open(name)


def _view(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _first(value: object, *_: object) -> object:
    return value
