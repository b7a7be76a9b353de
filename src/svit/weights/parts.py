"""A trained head in a small file of its own: bundled weights have the rest of the model.

One encoder can carry many heads that were trained with all else frozen; each is its own tensors, the whole
model's configuration, and the name of the weights that it was trained on.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch

from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel
from svit.weights.checkpoint import CONFIG_KEY, own_config, write_tensors
from svit.weights.files import Contents, fingerprint, read_file
from svit.weights.fill import blank_model

_BASE, _FINGERPRINT = "base", "base_fingerprint"
"""Keys of the metadata: the name of the other weights, and what tells whether they are still the same."""


def save_head(model: VideoModel, path: str | Path, base: str, half: bool = False) -> None:
    """Writes the tensors of a model that bundled weights do not have; `load` puts both together again.

    Args:
        model: on any device, in fp32.
        path: a `.safetensors` file; replaced if it exists, and whole or not at all.
        base: the bundled weights, as `tiny-person`.
        half: as in `save`.

    Raises:
        UsageError: no such weights, or the model differs from them in a tensor that they have.
        OutputError: as in `save`.
    """
    if not (there := bundled_path(base)).is_file():
        raise UsageError(f"no weights '{base}' come with svit, and a head's file needs some that do")
    shared, own = read_file(there).tensors, model.state_dict()
    for name in sorted(shared.keys() & own.keys()):
        if not torch.equal(shared[name].to(own[name].dtype), own[name].cpu()):
            raise UsageError(
                f"{name} is not that of {base} any more; svit.weights.save writes the whole model"
            )
    head = {name: tensor for name, tensor in own.items() if name not in shared}
    metadata = {CONFIG_KEY: model.config.model_dump_json(), _BASE: base, _FINGERPRINT: fingerprint(shared)}
    write_tensors(path, head, metadata, half)


def whole(contents: Contents) -> Contents:
    """A checkpoint, with the tensors of the weights that it is a head on where it is one.

    Raises:
        WeightsError: those weights are not there, or not what they were.
    """
    base = contents.metadata.get(_BASE)
    if base is None or CONFIG_KEY not in contents.metadata:
        return contents
    if not (there := bundled_path(base)).is_file():
        raise WeightsError(
            f"{contents.source} is a head on weights '{base}', which do not come with this svit"
        )
    shared = read_file(there).tensors
    if fingerprint(shared) != contents.metadata.get(_FINGERPRINT):
        raise WeightsError(f"{contents.source} is a head on another version of the weights '{base}'")
    needed = blank_model(own_config(contents)).state_dict()
    kept = {name: tensor for name, tensor in shared.items() if name in needed}
    return Contents(contents.source, {**kept, **contents.tensors}, contents.metadata)


def bundled_path(name: str) -> Path:
    """Where bundled weights are, or would be."""
    return Path(str(resources.files("svit").joinpath(f"assets/{name}.safetensors")))
