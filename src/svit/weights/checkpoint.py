"""Checkpoints of our own: safetensors whose metadata carry the configuration, under the key `svit`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from svit.config import ModelConfig, model_config
from svit.errors import OutputError, UsageError, WeightsError
from svit.model.video_model import VideoModel
from svit.weights.files import Contents
from svit.weights.fill import fill
from svit.weights.report import LoadReport, few

CONFIG_KEY = "svit"


def save(model: VideoModel, path: str | Path, half: bool = False) -> None:
    """Writes a model and its configuration; the file appears whole or not at all.

    Args:
        model: on any device, in any precision.
        path: a `.safetensors` file; replaced if it exists.
        half: store weights in fp16, for half the size. Vectors (norms, biases, running statistics) stay as
            they are: they are small, and variances can leave fp16's range.

    Raises:
        OutputError: the file cannot be written, or has another suffix.
    """
    write_tensors(path, model.state_dict(), {CONFIG_KEY: model.config.model_dump_json()}, half)


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], half: bool
) -> None:
    """Writes what `save` writes, of any tensors.

    Raises:
        OutputError: as in `save`.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise OutputError(f"cannot write {path}: checkpoints are written as .safetensors")
    stored = {name: _stored(tensor, half) for name, tensor in tensors.items()}
    _write(path, stored, {**metadata, "format": "pt"})


def own_config(contents: Contents) -> ModelConfig:
    """The configuration in a checkpoint of ours.

    Raises:
        WeightsError: there is none, or one that this version does not know.
    """
    if CONFIG_KEY not in contents.metadata:
        found = few(list(contents.tensors))
        raise WeightsError(
            f"{contents.source} is neither a checkpoint of svit (no '{CONFIG_KEY}' entry in its metadata) "
            f"nor an official S-ViT or CLIP one (found {found})"
        )
    try:
        values = json.loads(contents.metadata[CONFIG_KEY])
        if not isinstance(values, dict):
            raise UsageError("it is no set of named settings")
        return model_config(values)
    except (ValueError, UsageError) as error:
        raise WeightsError(
            f"{contents.source} carries a configuration that this version of svit cannot use: {error}"
        ) from None


def model_from_own(contents: Contents) -> tuple[VideoModel, LoadReport]:
    """The model of a checkpoint of ours, in fp32 and evaluation mode.

    Raises:
        WeightsError: no configuration, an unknown one, or tensors that do not fit it.
    """
    return fill(own_config(contents), contents.tensors, contents.source)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    narrow = half and tensor.ndim > 1 and tensor.is_floating_point()
    return tensor.detach().to("cpu", torch.float16 if narrow else None).contiguous()


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes beside the target and renames, so that an interruption leaves the old file or none."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        # safetensors creates files that only the owner may read; take what the user's umask gives instead.
        mode = partial.stat().st_mode
        save_file(tensors, partial, metadata)
        partial.chmod(mode)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {path}: {_reason(error)}") from None
    finally:
        with contextlib.suppress(OSError):  # it was never made, or is the target by now
            partial.unlink()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rpartition("I/O error: ")[2].partition(" (os error")[0]
