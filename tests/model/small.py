"""Small models with the presets' structure, random in every parameter, and random frames for them."""

from typing import Any

import torch
from torch import Tensor, nn

from svit.config import ModelConfig, preset
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel, build

TOLERANCE = 1e-4
"""What "agree to rounding error" means: outputs are normalised, so they are of size 1."""


def reduced(name: str, **overrides: Any) -> ModelConfig:
    """A preset's structure: few channels, small windows, only its special blocks, no stochastic depth."""
    encoder = preset(name).encoder
    special = sorted({*encoder.residual_blocks, *encoder.outputs})
    settings: dict[str, Any] = {
        "encoder__width": 4 * encoder.heads,
        "encoder__depth": len(special),
        "encoder__residual_blocks": tuple(special.index(i) for i in encoder.residual_blocks),
        "encoder__outputs": tuple(special.index(i) for i in encoder.outputs),
        "encoder__window": tuple(min(3, encoder.windows[i]) for i in special),
        "encoder__position_grid": 5,
        "encoder__memory": 3,
        "encoder__drop_path": 0.0,
        "pyramid_width": None,
        "detector__width": 8,
        "detector__csp_blocks": 1,
    }
    return preset(name, **{**settings, **overrides})


def small_model(name: str = "tiny", seed: int = 0, **overrides: Any) -> VideoModel:
    """A reduced model in evaluation mode, its norms, biases and `alpha` random too (see `randomise`)."""
    torch.manual_seed(seed)
    model = build(reduced(name, **overrides))
    randomise(model)
    return model


def small_encoder(name: str = "tiny", seed: int = 0, **overrides: Any) -> Encoder:
    """The encoder alone, with overrides of its own settings: `memory=2`."""
    settings = {f"encoder__{key}": value for key, value in overrides.items()}
    return small_model(name, seed, pyramid="outputs" not in overrides, detector=None, **settings).encoder


def randomise(model: nn.Module) -> None:
    """Fresh models hide mistakes: `alpha` is 1e-4, the residual convolutions' last norms are zero."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.ndim == 1:
            positive = tensor.detach().abs().sum() > 0
            nn.init.uniform_(tensor, 0.5, 1.5) if positive else nn.init.normal_(tensor, std=0.5)


def random_frames(
    encoder: Encoder, streams: int = 1, frames: int = 1, grid: tuple[int, int] = (4, 5), seed: int = 0
) -> Tensor:
    """Normalised noise (streams, frames, 3, H, W) of `grid` tokens; 4 x 5 needs padding in windows of 3."""
    generator = torch.Generator().manual_seed(seed)
    height, width = (side * encoder.config.patch for side in grid)
    return torch.randn(streams, frames, 3, height, width, generator=generator)


def run(
    encoder: Encoder, frames: Tensor, memory: StreamMemory | None = None, chunk: int = 1
) -> tuple[list[Tensor], StreamMemory]:
    """All T frames in chunks of `chunk`: stages (B, T, C, Y, X) and the last memory."""
    parts = []
    for piece in frames.split(chunk, dim=1):
        stages, memory = encoder(piece, memory)
        parts.append(stages)
    assert memory is not None
    return [torch.cat(stage, dim=1) for stage in zip(*parts, strict=True)], memory


def difference(left: list[Tensor], right: list[Tensor]) -> float:
    """Largest absolute difference of two lists of maps of equal shapes; NaN if there is one anywhere."""
    assert [a.shape for a in left] == [b.shape for b in right]
    return max(float((a - b).detach().abs().max()) for a, b in zip(left, right, strict=True))
