"""The official S-ViT checkpoints: their names, and the configuration that their tensors tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from svit.config import ModelConfig, model_config
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel
from svit.weights.files import Contents, read_file, unwrap
from svit.weights.fill import fill
from svit.weights.names import official_name
from svit.weights.report import LoadReport, few

_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.")
_CSP_BLOCK = re.compile(r"neck\.top_down_blocks\.0\.blocks\.(\d+)\.")


def load_official(
    source: Mapping[str, Any] | str | Path,
    heads: int = 12,
    window: int | Sequence[int] = 14,
    memory: int = 32,
    stages: Sequence[int] = (2, 5, 8, 11),
) -> VideoModel:
    """Loads an official S-ViT checkpoint: whole, or the backbone alone (then a model without detector).

    Width, depth, patch, residual blocks, temporal attention, outputs, pyramid, channels and classes are
    read from the tensors. `ema_*` copies and optimiser state are passed over: the plain keys hold the
    averaged weights.

    Args:
        source: a file, or a state dict; it may be wrapped as `{"state_dict": ...}`.
        heads: attention heads.
        window: tokens per window side, one number or one per block; 0 is global attention.
        memory: frames remembered, the current one included.
        stages: the block (from 0) that each stage ends with; `ln_post_out{i}` follows stage i, `ln_post`
            the last one.

    Returns:
        The model in fp32, on the CPU, in evaluation mode.

    Raises:
        WeightsError: unreadable, unsafe, or keys that are missing, unexpected or mis-shaped.
        UsageError: heads, window, memory or stages that do not fit the tensors.
    """
    contents = unwrap(source, "the state dict") if isinstance(source, Mapping) else read_file(source)
    return model_from_official(contents, heads=heads, window=window, memory=memory, stages=stages)[0]


def is_official(contents: Contents) -> bool:
    """Whether the names are those of an official S-ViT checkpoint, whole or its backbone."""
    return any("transformer.resblocks." in name for name in contents.tensors)


def model_from_official(
    contents: Contents,
    *,
    heads: int = 12,
    window: int | Sequence[int] = 14,
    memory: int = 32,
    stages: Sequence[int] = (2, 5, 8, 11),
) -> tuple[VideoModel, LoadReport]:
    """As `load_official`, from what a file holds, with a report of where each tensor came from."""
    tensors = {key: tensor for key, tensor in contents.tensors.items() if not key.startswith("ema_")}
    layout = _Layout(contents.source, tensors, contents.metadata.get("CLASSES"))
    norms = layout.norms(tuple(stages))
    encoder = {
        **layout.encoder(),
        "heads": heads,
        "window": window if isinstance(window, int) else tuple(window),
        "memory": memory,
        "outputs": tuple(norms),
    }
    config = _config(layout, encoder)
    return fill(config, tensors, contents.source, lambda own: layout.full_name(official_name(own, norms)))


class _Layout:
    """Reads a configuration off the tensors of an official checkpoint."""

    def __init__(self, source: str, tensors: Mapping[str, Tensor], classes: object) -> None:
        self.source, self.classes = source, classes
        self.root = "detector." if any(key.startswith("detector.") for key in tensors) else ""
        backbone = f"{self.root}backbone."
        self.backbone = backbone if any(key.startswith(backbone) for key in tensors) else self.root
        self.tensors = {
            key.removeprefix(self.backbone).removeprefix(self.root): tensor for key, tensor in tensors.items()
        }
        self.blocks = sorted({int(found[1]) for key in self.tensors if (found := _BLOCK.match(key))})
        if not self.blocks:
            names = few(list(tensors))
            raise WeightsError(f"{source} is no S-ViT checkpoint: no transformer blocks (found {names})")

    def full_name(self, name: str) -> str:
        """A name with the prefixes of this checkpoint."""
        return (self.root if name.startswith(("neck.", "bbox_head.")) else self.backbone) + name

    @property
    def depth(self) -> int:
        return self.blocks[-1] + 1

    def shape(self, key: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor that tells a setting."""
        if key not in self.tensors:
            raise WeightsError(f"{self.source} is incomplete: '{self.full_name(key)}' is missing")
        shape = tuple(self.tensors[key].shape)
        if len(shape) != dimensions:
            found = f"{len(shape)} dimensions instead of {dimensions}"
            raise WeightsError(f"{self.source}: '{self.full_name(key)}' has {found}")
        return shape

    def norms(self, stages: tuple[int, ...]) -> dict[int, str]:
        """Output block -> the name of its norm, in rising order."""
        if list(stages) != sorted(set(stages)) or not stages or not 0 <= stages[0] <= stages[-1] < self.depth:
            blocks = f"0..{self.depth - 1}, the blocks of {self.source}"
            raise UsageError(f"stages {stages} must rise and lie in {blocks}")
        names = [*(f"ln_post_out{i}" for i in range(len(stages) - 1)), "ln_post"]
        named = zip(stages, names, strict=True)
        return {block: name for block, name in named if f"{name}.weight" in self.tensors}

    def encoder(self) -> dict[str, Any]:
        """Settings of `EncoderConfig`."""
        width, _, patch, _ = self.shape("conv1.weight", 4)
        positions = self.shape("positional_embedding", 2)[0]
        grid = round(positions**0.5)
        if grid**2 != positions:
            raise WeightsError(
                f"{self.source}: 'positional_embedding' has {positions} entries, which is no square"
            )
        return {
            "width": width,
            "depth": self.depth,
            "patch": patch,
            "position_grid": grid,
            "temporal": self.temporal(),
            "residual_blocks": tuple(self.having("residual_block.")),
        }

    def having(self, part: str) -> list[int]:
        """The blocks that have a key starting with `part`."""
        starts = {i: f"transformer.resblocks.{i}.{part}" for i in self.blocks}
        return [i for i, start in starts.items() if any(key.startswith(start) for key in self.tensors)]

    def temporal(self) -> bool:
        """Whether the blocks have the temporal branch."""
        temporal = self.having("attn.in_proj_weight_t")
        if temporal and temporal != self.blocks:
            rest = [i for i in self.blocks if i not in temporal]
            raise WeightsError(
                f"{self.source}: blocks {_listed(temporal)} have temporal attention, blocks {_listed(rest)} "
                "have not; a model has it in all or in none"
            )
        return bool(temporal)

    def detector(self) -> dict[str, Any] | None:
        """Settings of `DetectorConfig`; None if there is neither neck nor head."""
        if not any(key.startswith(("neck.", "bbox_head.")) for key in self.tensors):
            return None
        width = self.shape("neck.out_convs.0.conv.weight", 4)[0]
        classes = self.shape("bbox_head.multi_level_conv_cls.0.weight", 4)[0]
        csp_blocks = {found[1] for key in self.tensors if (found := _CSP_BLOCK.match(key))}
        number = max(len(csp_blocks), 1)  # if there is none, the missing keys will say so
        return {"width": width, "csp_blocks": number, "class_names": self.class_names(classes)}

    def class_names(self, number: int) -> tuple[str, ...]:
        """As the training wrote them down, if it did."""
        if isinstance(self.classes, list | tuple) and len(self.classes) == number:
            return tuple(map(str, self.classes))
        return ("person",) if number == 1 else tuple(f"class {i}" for i in range(number))


def _config(layout: _Layout, encoder: dict[str, Any]) -> ModelConfig:
    detector = layout.detector()
    pyramid = detector is not None or any(key.startswith("fpn_adaptor.") for key in layout.tensors)
    if pyramid and len(encoder["outputs"]) != 3:
        raise WeightsError(
            f"{layout.source}: the pyramid needs 3 output norms (ln_post_out*, ln_post), "
            f"found those of blocks {_listed(encoder['outputs'])}"
        )
    name = Path(layout.source).stem
    return model_config({"name": name, "encoder": encoder, "pyramid": pyramid, "detector": detector})


def _listed(blocks: Sequence[int]) -> str:
    return ", ".join(map(str, blocks)) or "none"
