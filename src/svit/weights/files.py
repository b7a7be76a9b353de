"""Opens checkpoint files of any kind without executing anything that is in them."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from svit.errors import WeightsError
from svit.weights.torchscript import is_torchscript, read_torchscript

_GLOBAL = re.compile(r"GLOBAL (\S+)")


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    Attributes:
        source: the file, or what else to call it in a message.
        tensors: by the names of whoever wrote it. They may be mapped from the file: copy them to keep them.
        metadata: what stands beside them: safetensors' strings, or `meta` of a training checkpoint.
    """

    source: str
    tensors: dict[str, Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_file(path: str | Path) -> Contents:
    """Opens a safetensors file, a pickled state dict (`.pth`, `.pt`, `.bin`) or a TorchScript archive.

    The kind is told by the content, not by the name.

    Raises:
        WeightsError: missing, empty, truncated, of another kind, or a pickle that would execute code.
    """
    path = Path(path)
    head = _head(path)
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return _read_safetensors(path)
    if is_torchscript(path):
        return Contents(str(path), read_torchscript(path))
    return unwrap(_read_pickle(path), str(path))


def unwrap(content: object, source: str) -> Contents:
    """A state dict, bare or as `state_dict` beside `meta` and `optimizer`, as `Contents`.

    Raises:
        WeightsError: anything but named tensors.
    """
    metadata: object = {}
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        metadata = content.get("meta")
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{source} holds a {type(content).__name__}, not named tensors")
    strange = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strange or not content:
        found = f"'{strange[0]}' is none" if strange else "it is empty"
        raise WeightsError(f"{source} is no checkpoint of named tensors: {found}")
    tensors = {str(key): value for key, value in content.items()}
    return Contents(source, tensors, metadata if isinstance(metadata, Mapping) else {})


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Tells weights from others: a hash of every tensor's name, type, shape and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise WeightsError(f"no checkpoint at {path}") from None
    except IsADirectoryError:
        raise WeightsError(f"{path} is a folder; give the checkpoint file in it") from None
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    if not head:
        raise WeightsError(f"{path} is empty")
    return head


def _read_safetensors(path: Path) -> Contents:
    try:
        # Mapped, so that a checkpoint larger than the free memory costs one copy: the model's own.
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
            return Contents(str(path), tensors, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise WeightsError(f"{path} is damaged, truncated or no safetensors file ({reason})") from None


def _read_pickle(path: Path) -> object:
    """What was pickled, if it is made of tensors and plain containers alone."""
    try:
        with warnings.catch_warnings():
            # About the pickle protocol of files that are refused anyway.
            warnings.simplefilter("ignore")
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(path, str(error))) from None
    except Exception as error:  # arbitrary bytes fail in arbitrary ways: KeyError, EOFError, RuntimeError
        reason = (str(error).splitlines() or [""])[0].split(". ")[0]
        raise WeightsError(
            f"{path} is damaged, truncated or no checkpoint ({type(error).__name__}: {reason})"
        ) from None


def _refusal(path: Path, reason: str) -> str:
    called = _GLOBAL.search(reason)
    if called:
        return (
            f"refused to open {path}: it would execute code ({called[1]}); "
            "only checkpoints made of plain tensors are opened"
        )
    return f"refused to open {path}: it is damaged, or a pickle of something else than plain tensors"
