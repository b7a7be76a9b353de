"""Every setting of a model and its tracker: documented, validated, with units.

A preset is one YAML file in `svit/configs/models/` that fills these classes. Unknown names are errors
that suggest the nearest one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import resources
from typing import Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from svit.errors import UsageError


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


class EncoderConfig(Settings):
    """The temporally-aware spatial encoder (paper section 3.2)."""

    width: int = Field(768, gt=0, description="channels of a token")
    depth: int = Field(12, gt=0, description="number of transformer blocks")
    heads: int = Field(12, gt=0, description="attention heads; width must be a multiple")
    mlp_ratio: int = Field(4, gt=0, description="channels inside a block's MLP, in widths")
    patch: int = Field(16, gt=0, description="pixels per token side: the stride of the middle scale")
    stem: Literal["patch", "conv"] = Field(
        "patch", description="one patch convolution, or a pyramid of stride-2 convolutions (Xiao et al. 2021)"
    )
    position_grid: int = Field(
        14, gt=0, description="side of the learned position grid; resized to the frame"
    )
    window: int | tuple[int, ...] = Field(
        14, description="tokens per window side, for all blocks or one per block; 0 is the whole grid"
    )
    temporal: bool = Field(
        True, description="streaming T2D attention over the memory; off is a plain image encoder"
    )
    residual_blocks: tuple[int, ...] = Field(
        (2, 5, 8, 11), description="blocks (from 0) followed by a convolutional residual block"
    )
    outputs: tuple[int, ...] = Field(
        (5, 8, 11), description="blocks (from 0) whose normalised maps are returned"
    )
    memory: int = Field(32, gt=0, description="frames remembered by default, the current one included")
    eviction: Literal["merge", "fifo"] = Field(
        "merge",
        description="merge averages the frame that leaves into the oldest one (official); fifo drops it",
    )
    memory_bits: Literal[8] | None = Field(
        None,
        description="8 stores what is remembered in 8 bits, for inference; none as the model computes it",
    )
    memory_gradient: bool = Field(
        False, description="let gradients flow through keys and values of the temporal branch (official: no)"
    )
    drop_path: float = Field(
        0.0, ge=0, lt=1, description="stochastic depth rate of the last block; linear from 0"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if isinstance(self.window, tuple) and len(self.window) != self.depth:
            raise ValueError(f"window lists {len(self.window)} blocks, depth is {self.depth}")
        if min(self.windows) < 0:
            raise ValueError("window must be 0 or more tokens")
        for name in ("residual_blocks", "outputs"):
            blocks = getattr(self, name)
            if list(blocks) != sorted(set(blocks)) or any(not 0 <= i < self.depth for i in blocks):
                raise ValueError(f"{name} {blocks} must rise and lie in 0..{self.depth - 1}")
        return self

    @property
    def windows(self) -> tuple[int, ...]:
        """The window side of each block."""
        return self.window if isinstance(self.window, tuple) else (self.window,) * self.depth


class DetectorConfig(Settings):
    """PAFPN neck and YOLOX head."""

    width: int = Field(256, gt=0, description="channels of the neck's outputs and of the head")
    csp_blocks: int = Field(4, gt=0, description="bottlenecks per CSP block of the neck")
    class_names: tuple[str, ...] = Field(("person",), min_length=1, description="one name per class")
    score_threshold: float = Field(0.01, ge=0, le=1, description="boxes below this score are dropped")
    iou_threshold: float = Field(
        0.7, gt=0, le=1, description="NMS drops boxes that overlap a better one by more"
    )


class ActionConfig(Settings):
    """Frame token, temporal decoder and classifier (docs/model.md, "Actions")."""

    class_names: tuple[str, ...] = Field(min_length=1, description="one name per class; they must differ")
    token: Literal["mean", "cls", "attention", "change"] = Field(
        "mean",
        description="what stands for a frame: the mean of the last map, CLIP's class token, a learned "
        "query's pick, or the mean and how much the memory changed",
    )
    decoder: Literal["bidirectional", "causal", "mean", "patch_query"] = Field(
        "bidirectional",
        description="transformer over the window; causal with its own K/V cache; one layer and a mean, blind "
        "to order; or a query over the memory's keys and values of the last blocks",
    )
    window: int = Field(16, gt=0, description="frame tokens that the decoder sees at most")
    width: int | None = Field(None, gt=0, description="channels of the decoder; none is the encoder's")
    heads: int | None = Field(
        None, gt=0, description="its attention heads; width must be a multiple; none is the encoder's"
    )
    depth: int | None = Field(None, gt=0, description="its layers; none is 4, and 1 for the decoder mean")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the decoder's layers")
    head_dropout: float = Field(0.5, ge=0, lt=1, description="dropout before the classifier")
    drop_path: float = Field(
        0.1, ge=0, lt=1, description="stochastic depth rate of the decoder's last layer; linear from 0"
    )
    rate: float | None = Field(
        None, gt=0, description="frames a second that enter the window, as trained on; none is every frame"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        twice = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        if twice:
            raise ValueError(f"two classes are named '{twice[0]}'")
        if self.decoder == "patch_query" and self.token != "mean":
            raise ValueError(f"patch_query reads no frame tokens; token '{self.token}' would not be used")
        if self.decoder == "patch_query" and self.rate is not None:
            raise ValueError("patch_query sees every frame of the memory; rate would not be used")
        return self

    @property
    def layers(self) -> int:
        """Layers of the decoder."""
        return self.depth or (1 if self.decoder == "mean" else 4)


class InputConfig(Settings):
    """How a picture becomes the network's input (semantics: fit, normalise, pad)."""

    short_side: int = Field(800, gt=0, description="limit of the shorter side after resizing, pixels")
    long_side: int = Field(1440, gt=0, description="limit of the longer side after resizing, pixels")
    mean: tuple[float, float, float] = Field((123.675, 116.28, 103.53), description="per RGB channel, 0-255")
    std: tuple[float, float, float] = Field((58.395, 57.12, 57.375), description="per RGB channel, 0-255")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.short_side > self.long_side:
            raise ValueError(f"short_side {self.short_side} is larger than long_side {self.long_side}")
        return self


class TrackerConfig(Settings):
    """ByteTrack; the defaults are the official S-ViT settings. See `svit.tracking.ByteTracker`."""

    high: float = Field(
        0.7, ge=0, le=1, description="detections above are matched first and may start tracks"
    )
    low: float = Field(0.1, ge=0, le=1, description="detections between low and high rescue confirmed tracks")
    init: float = Field(0.7, ge=0, le=1, description="score that starts a track while there is none at all")
    match_high: float = Field(0.1, ge=0, le=1, description="least similarity of the first association")
    match_low: float = Field(0.5, ge=0, le=1, description="least IoU of the association with low scores")
    match_tentative: float = Field(0.3, ge=0, le=1, description="least similarity for tentative tracks")
    tentative_frames: int = Field(3, ge=1, description="boxes until a track is confirmed")
    report_tentative: bool = Field(True, description="tracks are reported before they are confirmed")
    retain: int = Field(30, ge=1, description="frames a lost track is kept")
    fuse_scores: bool = Field(True, description="similarity is IoU x score in the first two associations")


class ModelConfig(Settings):
    """A whole model: encoder, optional pyramid, detector and action head, its input and its tracker."""

    name: str = Field("custom", description="preset or file the model was made from")
    encoder: EncoderConfig = EncoderConfig()
    pyramid: bool = Field(True, description="feature pyramid on three encoder outputs")
    pyramid_width: int | None = Field(
        None,
        gt=0,
        multiple_of=2,
        description="channels of its middle map, half and twice as many for the others; none is the "
        "encoder's width",
    )
    detector: DetectorConfig | None = DetectorConfig()
    action: ActionConfig | None = None
    input: InputConfig = InputConfig()
    tracker: TrackerConfig = TrackerConfig()

    @model_validator(mode="after")
    def _pyramid_fits(self) -> Self:
        if self.pyramid and len(self.encoder.outputs) != 3:
            raise ValueError(f"the pyramid needs 3 encoder outputs, got {len(self.encoder.outputs)}")
        if self.detector and not self.pyramid:
            raise ValueError("a detector needs the pyramid")
        return self

    @model_validator(mode="after")
    def _action_fits(self) -> Self:
        action, encoder = self.action, self.encoder
        if action is None:
            return self
        width, heads = self.action_size
        if width % heads:
            raise ValueError(f"action width {width} is not a multiple of action heads {heads}")
        if action.decoder != "patch_query":
            if not encoder.outputs:
                raise ValueError("an action head needs an output of the encoder; encoder.outputs is empty")
            if action.token == "change" and not encoder.temporal:
                raise ValueError("token change reads the memory; encoder.temporal is off, so there is none")
        elif not encoder.temporal:
            raise ValueError("patch_query reads the memory; encoder.temporal is off, so there is none")
        elif action.layers > encoder.depth:
            raise ValueError(
                f"patch_query reads the last {action.layers} blocks, but encoder.depth is {encoder.depth}"
            )
        return self

    @property
    def action_size(self) -> tuple[int, int]:
        """Width and heads of the action head's decoder; the encoder's where there is no other."""
        own = self.action
        width, heads = (own.width, own.heads) if own else (None, None)
        return width or self.encoder.width, heads or self.encoder.heads

    @property
    def stride(self) -> int:
        """Input sides must be a multiple of this: the coarsest scale's stride, in pixels."""
        return 2 * self.encoder.patch


def nearest(name: str, known: list[str]) -> str:
    """A sentence that suggests the closest known name, or lists them all."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def preset_names() -> list[str]:
    """Names of the model presets, from the YAML files shipped with svit."""
    files = resources.files("svit").joinpath("configs/models").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def preset(name: str, /, **overrides: Any) -> ModelConfig:
    """Reads a model preset.

    Args:
        name: one of `preset_names()`.
        overrides: settings to change, nested by a double underscore: `encoder__memory=8`.

    Raises:
        UsageError: unknown preset or setting (the nearest is suggested), or a value out of range.
    """
    known = preset_names()
    if name not in known:
        raise UsageError(f"unknown model preset '{name}'; {nearest(name, known)}")
    text = resources.files("svit").joinpath(f"configs/models/{name}.yaml").read_text(encoding="utf-8")
    return model_config({"name": name, **yaml.safe_load(text)}, **overrides)


def model_config(values: dict[str, Any], **overrides: Any) -> ModelConfig:
    """Validates a nested dictionary of a model's settings, with overrides as in `preset`.

    Raises:
        UsageError: one line that names the setting and what is wrong with it.
    """
    return validated(ModelConfig, values, str(values.get("name", "model")), **overrides)


def validated(kind: type[S], values: dict[str, Any], name: str, /, **overrides: Any) -> S:
    """Settings of any kind from a nested dictionary.

    Args:
        kind: the class to fill.
        values: its settings.
        name: what an error calls them.
        overrides: settings to change, nested by a double underscore.

    Raises:
        UsageError: one line that names the setting and what is wrong with it; for an unknown one the nearest.
    """
    try:
        return kind.model_validate(_override(values, overrides))
    except ValidationError as error:
        raise UsageError(_readable(kind, error, name)) from None


def _override(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    for path, value in overrides.items():
        *groups, key = path.split("__")
        target = merged
        for group in groups:
            target = target.setdefault(group, {})
            if not isinstance(target, dict):
                raise UsageError(f"setting '{path}': '{group}' has no settings of its own")
        target[key] = value
    return merged


def _readable(kind: type[Settings], error: ValidationError, name: str) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *groups, unknown = first["loc"]
        return f"unknown setting '{where}' of {name}; {nearest(str(unknown), _names_in(kind, groups))}"
    message = first["msg"].removeprefix("Value error, ")
    return f"setting '{where}' of {name}: {message}" if where else f"settings of {name}: {message}"


def _names_in(kind: type[Settings], groups: list[int | str]) -> list[str]:
    """The settings of the group that is reached from `kind` by these names; list positions do not count."""
    for group in groups:
        if isinstance(group, str) and group in kind.model_fields:
            kind = next(_settings_in(kind.model_fields[group].annotation), kind)
    return list(kind.model_fields)


def _settings_in(annotation: object) -> Iterator[type[Settings]]:
    """Classes of settings in a type such as `Settings | None` or `tuple[Settings, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for part in get_args(annotation):
        yield from _settings_in(part)
