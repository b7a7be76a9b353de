"""CLIP's image tower as the start of an encoder: official, OpenCLIP and Hugging Face files.

The tower gives the patch embedding, the positions, the blocks and the norms around them, and to a model whose
frame token is `cls` the class token and its position; everything else of S-ViT starts fresh (paper section 4;
semantics section 1). OpenCLIP models trained with GELU load as well, but the encoder computes CLIP's own
QuickGELU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from svit.config import ModelConfig, preset, preset_names
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel, build
from svit.weights.files import Contents, read_file
from svit.weights.names import official_name, replace_start
from svit.weights.report import LoadReport, check_fit, few

_HUGGING_FACE = {
    "embeddings.patch_embedding.": "conv1.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.class_embedding": "class_embedding",
    "pre_layrnorm.": "ln_pre.",
    "post_layernorm.": "ln_post.",
}
_HUGGING_FACE_BLOCK = {
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "self_attn.out_proj.": "attn.out_proj.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
_PROJECTION = re.compile(r"self_attn\.([qkv])_proj\.(weight|bias)")
_OUTSIDE = ("proj", "embeddings.position_ids")
"""Parts of a tower that an encoder without the joint embedding space has no use for."""

_CLASS_TOKEN, _CLASS_POSITION = "class_embedding", "class_position"
"""CLIP's class token, and our name of its row of the position embedding, the first."""


class _Part(NamedTuple):
    """A tensor of the tower and its name in the file."""

    origin: str
    tensor: Tensor


class _Size(NamedTuple):
    """What makes a tower fit an encoder."""

    width: int
    depth: int
    patch: int
    grid: int

    def __str__(self) -> str:
        positions = f"{self.grid}x{self.grid} positions"
        return f"width {self.width}, {self.depth} blocks, patch {self.patch}, {positions}"


def load_clip(path: str | Path, config: ModelConfig | str | None = None) -> tuple[VideoModel, LoadReport]:
    """A model whose encoder starts from CLIP's image tower.

    Args:
        path: the official archive `.pt`, or a state dict of the official, OpenCLIP or Hugging Face layout.
        config: a configuration or a preset's name; None takes the preset of the tower's size (ViT-B/16:
            `base`, ViT-L/14: `large`).

    Returns:
        The model, on the CPU in evaluation mode, and where each tensor came from.

    Raises:
        WeightsError: unreadable, unsafe, no CLIP image tower, or one of another size.
        UsageError: unknown preset, or an encoder that cannot start from CLIP.
    """
    return model_from_clip(read_file(path), config)


def model_from_clip(
    contents: Contents, config: ModelConfig | str | None = None
) -> tuple[VideoModel, LoadReport]:
    """As `load_clip`, from what a file holds."""
    tower = _tower(contents)
    model = build(_preset_for(tower, contents.source) if config is None else config)
    return model, _initialise(model, tower, contents)


def initialise_from_clip(model: VideoModel, path: str | Path) -> LoadReport:
    """Overwrites the encoder's CLIP part in place, on the model's device and in its precision.

    Raises:
        WeightsError: unreadable, unsafe, no CLIP image tower, or one of another size.
        UsageError: an encoder that cannot start from CLIP.
    """
    contents = read_file(path)
    return _initialise(model, _tower(contents), contents)


def is_clip(contents: Contents) -> bool:
    """Whether the names are those of a CLIP file."""
    names = [name.removeprefix("module.") for name in contents.tensors]
    return any(name.startswith(("visual.", "vision_model.")) for name in names) or "class_embedding" in names


def _tower(contents: Contents) -> dict[str, _Part]:
    """The image tower by its official names (`conv1.weight`, `transformer.resblocks.0...`)."""
    parts = {key.removeprefix("module."): _Part(key, tensor) for key, tensor in contents.tensors.items()}
    for prefix in ("visual.", "vision_model."):
        if any(key.startswith(prefix) for key in parts):
            parts = {key.removeprefix(prefix): part for key, part in parts.items() if key.startswith(prefix)}
            break
    tower = _from_hugging_face(parts) if "pre_layrnorm.weight" in parts else parts
    if "conv1.weight" not in tower or "transformer.resblocks.0.ln_1.weight" not in tower:
        names = few(list(contents.tensors))
        raise WeightsError(f"{contents.source} has no CLIP vision transformer (found {names})")
    return tower


def _from_hugging_face(parts: Mapping[str, _Part]) -> dict[str, _Part]:
    tower: dict[str, _Part] = {}
    for key, part in parts.items():
        layer = _LAYER.fullmatch(key)
        if layer is None:
            tower[replace_start(key, _HUGGING_FACE)] = part
        elif not _PROJECTION.fullmatch(layer[2]):
            tower[f"transformer.resblocks.{layer[1]}.{replace_start(layer[2], _HUGGING_FACE_BLOCK)}"] = part
        elif layer[2].startswith("self_attn.q"):
            fused = _fuse(parts, key)
            if fused is not None:
                tower[f"transformer.resblocks.{layer[1]}.attn.in_proj_{key.rpartition('.')[2]}"] = fused
    return tower


def _fuse(parts: Mapping[str, _Part], query: str) -> _Part | None:
    """Query, key and value projections as one, in CLIP's order; None if one is not there."""
    names = [query.replace(".q_proj.", f".{kind}_proj.") for kind in "qkv"]
    if any(name not in parts for name in names):
        return None
    found = [parts[name] for name in names]
    return _Part(" + ".join(part.origin for part in found), torch.cat([part.tensor for part in found]))


def _tower_size(tower: Mapping[str, _Part], source: str) -> _Size:
    weight, positions = tower["conv1.weight"].tensor, tower.get("positional_embedding")
    if weight.ndim != 4 or positions is None or positions.tensor.ndim != 2:
        raise WeightsError(f"{source} has no CLIP vision transformer: its patch or position embedding is odd")
    blocks = {name.split(".")[2] for name in tower if name.startswith("transformer.resblocks.")}
    grid = round((len(positions.tensor) - 1) ** 0.5)
    return _Size(weight.shape[0], len(blocks), weight.shape[3], grid)


def _encoder_size(config: ModelConfig) -> _Size:
    encoder = config.encoder
    return _Size(encoder.width, encoder.depth, encoder.patch, encoder.position_grid)


def _preset_for(tower: Mapping[str, _Part], source: str) -> str:
    size = _tower_size(tower, source)
    for name in preset_names():
        config = preset(name)
        if config.encoder.stem == "patch" and _encoder_size(config) == size:
            return name
    raise WeightsError(f"{source} holds a tower of {size}, like no preset; give a configuration of this size")


def _initialise(model: VideoModel, tower: Mapping[str, _Part], contents: Contents) -> LoadReport:
    config, source = model.config, contents.source
    if config.encoder.stem != "patch":
        raise UsageError(
            f"model '{config.name}' cannot start from CLIP: its stem is convolutional; use 'base' or 'large'"
        )
    size, needed = _tower_size(tower, source), _encoder_size(config)
    if size != needed:
        raise WeightsError(f"{source} holds a tower of {size}, but model '{config.name}' has {needed}")
    own = model.state_dict()
    names = {name: theirs for name in own if (theirs := _clip_name(name, config)) is not None}
    expected = {theirs: own[name].shape for name, theirs in names.items()}
    tower = _split_positions(tower, with_class=_CLASS_TOKEN in expected)
    found = {name: part.tensor for name, part in tower.items()}
    check_fit(source, found, expected)
    with torch.no_grad():
        for name, theirs in names.items():
            own[name].copy_(found[theirs])
    origins = {name: tower[theirs].origin for name, theirs in names.items()}
    used = {origin for name in names.values() for origin in tower[name].origin.split(" + ")}
    fresh = tuple(name for name in own if name not in names)
    return LoadReport(source, origins, fresh, tuple(key for key in contents.tensors if key not in used))


def _split_positions(tower: Mapping[str, _Part], with_class: bool) -> dict[str, _Part]:
    """The encoder's part of a tower: the class token's position apart, or left away with the token."""
    outside = _OUTSIDE if with_class else (*_OUTSIDE, _CLASS_TOKEN)
    parts = {name: part for name, part in tower.items() if name not in outside}
    origin, positions = parts["positional_embedding"]
    parts["positional_embedding"] = _Part(origin, positions[1:])
    return parts | ({_CLASS_POSITION: _Part(origin, positions[0])} if with_class else {})


def _clip_name(own: str, config: ModelConfig) -> str | None:
    """CLIP's name of a tensor of ours; None if CLIP has no such thing.

    The official S-ViT kept CLIP's names, so its table holds; what it added is sorted out.
    """
    added = ("attention.query_t.", "attention.out_t.", "attention.alpha", ".residual.")
    last_norm = f"encoder.norms.{config.encoder.outputs[-1]}."
    if not own.startswith("encoder.") or any(part in own for part in added):
        return None
    if own.startswith("encoder.norms.") and not own.startswith(last_norm):
        return None
    return official_name(own, {config.encoder.outputs[-1]: "ln_post"})
