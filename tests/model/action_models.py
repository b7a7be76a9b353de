"""Small models with an action head that looks at what it is shown, and the ways to run them."""

from typing import Any

import torch
from tests.model.small import random_frames, small_model
from torch import Tensor, nn

from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel

DECODERS = ("bidirectional", "causal", "mean", "patch_query")
OVER_TOKENS = DECODERS[:3]
"""Those that read frame tokens."""

WINDOW = 3
FRAMES = 7  # past the window and the encoder's memory, both of 3

NAMES = ("walk", "run", "fall", "jump", "rest")


def scenes(model: VideoModel, streams: int = 1, frames: int = FRAMES, seed: int = 0) -> Tensor:
    """Frames (streams, frames, 3, H, W) of 4 x 5 tokens that differ at a glance, in their colours.

    Noise alone has nearly the same mean in every frame, and so would the frame tokens.
    """
    noise = random_frames(model.encoder, streams, frames, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1000)
    colours = torch.randn(streams, frames, 3, 2, 1, generator=generator)  # an upper and a lower half
    return 0.5 * noise + 2 * colours.repeat_interleave(noise.shape[3] // 2, dim=3)


def action_model(decoder: str = "bidirectional", token: str = "mean", **overrides: Any) -> VideoModel:
    """A reduced `tiny` with an action head alone; fresh weights hide mistakes, so all are random and large.

    Overrides of the head's settings begin with `action__`.
    """
    action = {"class_names": NAMES, "decoder": decoder, "token": token, "window": WINDOW, "dropout": 0.0}
    action |= {"head_dropout": 0.0, "drop_path": 0.0, "depth": 1 if decoder == "mean" else 2}
    for key in [key for key in overrides if key.startswith("action__")]:
        action[key.removeprefix("action__")] = overrides.pop(key)
    encoder = {"encoder__depth": 2, "encoder__residual_blocks": (1,), "encoder__outputs": (0, 1)}
    encoder |= {"encoder__window": 3, "pyramid": False, "detector": None}
    if "detector" in overrides:  # which needs three outputs
        encoder = {}
    model = small_model(**{**encoder, "action": action, **overrides})
    for name, parameter in model.named_parameters():
        if name.startswith("action.") and name.endswith((".positions", "_ages")):
            nn.init.normal_(parameter, std=1.0)
        elif parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
        elif "alpha" in name:
            nn.init.ones_(parameter)
    return model


def logits_of(
    model: VideoModel,
    frames: Tensor,
    chunk: int,
    memory: StreamMemory | None = None,
    sampled: Tensor | None = None,
) -> tuple[Tensor, StreamMemory]:
    """Logits (B, T, K) of all frames, `chunk` at a time, and the last memory."""
    parts, start = [], 0
    for piece in frames.split(chunk, dim=1):
        enter = None if sampled is None else sampled[:, start : start + piece.shape[1]]
        logits, memory = model.classify(piece, memory, enter)
        parts.append(logits)
        start += piece.shape[1]
    assert memory is not None
    return torch.cat(parts, dim=1), memory


def apart(left: Tensor, right: Tensor) -> float:
    """Largest absolute difference of two tensors of one shape."""
    assert left.shape == right.shape
    return float((left - right).detach().abs().max())
