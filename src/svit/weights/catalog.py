"""Models by name or file: the bundled weights, the presets, and every checkpoint that can be opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from svit.config import ModelConfig, model_config, nearest, preset, preset_names
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel
from svit.weights.checkpoint import CONFIG_KEY, model_from_own, own_config, save
from svit.weights.clip import is_clip, model_from_clip
from svit.weights.device import Precision, pick_device, pick_dtype
from svit.weights.files import Contents, read_file
from svit.weights.fill import blank_model
from svit.weights.official import is_official, model_from_official
from svit.weights.parts import bundled_path, whole
from svit.weights.report import LoadReport

DEFAULT_MODEL = "tiny-person"
"""The weights that come with svit."""

_ACTIONS = "tiny-person-actions"

_BUNDLED = {DEFAULT_MODEL: DEFAULT_MODEL, "tiny": DEFAULT_MODEL, _ACTIONS: _ACTIONS}
"""A name that `load` takes -> the file in `assets/`."""


@dataclass(frozen=True)
class ModelSummary:
    """A row of `svit models`.

    Attributes:
        name: what `load` (where there are weights) and, for a preset, `build` take.
        parameters: number of learned values.
        short_side, long_side: limits of the input's sides, pixels.
        memory: frames remembered, the current one included.
        classes: what its detector finds; empty without a detector.
        actions: what its action head tells apart; empty without one.
        weights: the bundled weights that `load` takes for this name; None if there are none.
    """

    name: str
    parameters: int
    short_side: int
    long_side: int
    memory: int
    classes: tuple[str, ...]
    actions: tuple[str, ...]
    weights: str | None


def load(
    name_or_path: str | Path = DEFAULT_MODEL,
    device: str | torch.device | None = None,
    precision: Precision | None = None,
    memory_bits: Literal[8] | None = None,
) -> VideoModel:
    """A trained model in evaluation mode.

    Args:
        name_or_path: bundled weights (`tiny-person`, or its preset `tiny`; `tiny-person-actions`), or a
            checkpoint of svit or of the official S-ViT; an official one whose heads, window or stages are not
            the published ones is opened by `svit.weights.load_official`.
        device: "cpu", "cuda", ...; None or "auto" is CUDA if there is a device, else the CPU.
        precision: of the weights: None or "fp32", "bf16", "fp16", or "auto", see `pick_dtype`. Frames and
            memory take the same.
        memory_bits: 8 stores what streams remember in 8 bits, whatever the precision; None is the model's
            setting (`encoder.memory_bits`).

    Raises:
        UsageError: unknown name, preset without weights, device, precision or number of bits.
        WeightsError: missing or damaged file, unsafe pickle, keys that do not fit.
    """
    target = pick_device(device)
    dtype = pick_dtype(precision, target)
    contents = read_file(_find(name_or_path))
    if is_clip(contents):
        raise WeightsError(
            f"{contents.source} is a CLIP model, which has no detector; to start a training from it use "
            "svit.weights.load_clip or `svit convert-checkpoint`"
        )
    model, _ = _trained_model(contents, {})
    if memory_bits is not None:
        model.config = model_config(model.config.model_dump(), encoder__memory_bits=memory_bits)
        model.encoder.config = model.config.encoder
    return model.to(device=target, dtype=dtype)


def convert(source: str | Path, target: str | Path, half: bool = False, **official: Any) -> LoadReport:
    """Rewrites an official S-ViT, CLIP or svit checkpoint as a svit checkpoint.

    A CLIP file becomes the preset of its size, with everything that CLIP does not have freshly started.

    Args:
        source: the file.
        target: a `.safetensors` file.
        half: as in `save`.
        official: `heads`, `window`, `memory` and `stages` of `load_official`.

    Returns:
        Where each tensor came from.

    Raises:
        WeightsError: the source cannot be opened or does not fit.
        OutputError: the target cannot be written.
        UsageError: `official` settings that do not fit.
    """
    contents = read_file(source)
    model, report = model_from_clip(contents) if is_clip(contents) else _trained_model(contents, official)
    save(model, target, half)
    return report


def describe_models() -> list[ModelSummary]:
    """The bundled weights, then the presets, smallest first."""
    presets = [_summary(name, preset(name)) for name in preset_names()]
    paths = {name: bundled_path(name) for name in dict.fromkeys(_BUNDLED.values())}
    bundled = [_summary(name, own_config(read_file(path))) for name, path in paths.items() if path.is_file()]
    return bundled + sorted(presets, key=lambda row: row.parameters)


def _summary(name: str, config: ModelConfig) -> ModelSummary:
    weights = _BUNDLED.get(name)
    return ModelSummary(
        name,
        sum(p.numel() for p in blank_model(config).parameters()),
        config.input.short_side,
        config.input.long_side,
        config.encoder.memory,
        config.detector.class_names if config.detector else (),
        config.action.class_names if config.action else (),
        weights if weights and bundled_path(weights).is_file() else None,
    )


def _trained_model(contents: Contents, official: dict[str, Any]) -> tuple[VideoModel, LoadReport]:
    """The model of a svit or official checkpoint."""
    if CONFIG_KEY in contents.metadata or not is_official(contents):
        return model_from_own(whole(contents))
    return model_from_official(contents, **official)


def _find(name_or_path: str | Path) -> Path:
    """The file that a name or path means."""
    name = str(name_or_path)
    if name in _BUNDLED:
        bundled = bundled_path(_BUNDLED[name])
        if not bundled.is_file():
            raise WeightsError(f"the bundled weights '{bundled.stem}' are not installed; reinstall svit")
        return bundled
    if name in preset_names():
        raise UsageError(
            f"no weights come with the preset '{name}': give a checkpoint's path, or start untrained with "
            f"svit.build('{name}'); bundled: {', '.join(_BUNDLED)}"
        )
    path = Path(name_or_path)
    if not path.exists() and path.name == name and not path.suffix:
        known = {*_BUNDLED, *preset_names()}
        raise UsageError(f"no model or file '{name}'; {nearest(name, sorted(known))}")
    return path
