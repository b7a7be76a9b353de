"""Action recognition on the encoder's features: frame token, temporal decoder, classifier.

Our own design; the paper's was never released. Shapes: B streams, T new frames, R of them that are asked for,
C channels of a frame token, W channels of the decoder, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from svit.config import ModelConfig
from svit.errors import UsageError
from svit.model.action_decoder import CausalDecoder, WindowDecoder, initialise
from svit.model.action_window import TokenWindow, WindowPlan, plan_window
from svit.model.encoder import Encoding
from svit.model.frame_token import FrameToken
from svit.model.layers import LayerNorm
from svit.model.memory import StreamMemory
from svit.model.patch_query import PatchPlan, PatchQuery


@dataclass(frozen=True)
class Moments:
    """Which new frames enter the window, and at which an answer is wanted.

    Attributes:
        sampled, lengths, at: see `VideoModel.classify`.
    """

    sampled: Tensor | None = None
    lengths: Tensor | Sequence[int] | None = None
    at: Sequence[int] | None = None


class ActionHead(nn.Module):
    """Logits of every frame from the frames up to it.

    Attributes:
        token: the frame token; None where the decoder reads the memory instead.
        decoder: frame tokens, or what blocks recalled -> a vector per frame.
        classifier: the last layer, as large as there are classes.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.action is not None
        action, encoder = config.action, config.encoder
        width, _ = config.action_size
        self.decoder: WindowDecoder | CausalDecoder | PatchQuery
        self.token: FrameToken | None = None
        if action.decoder == "patch_query":
            self.decoder = PatchQuery(config)
        else:
            self.token = FrameToken(action.token, encoder.width, encoder.heads)
            self.decoder = CausalDecoder(config) if action.decoder == "causal" else WindowDecoder(config)
        self.norm, self.dropout = LayerNorm(width), nn.Dropout(action.head_dropout)
        self.classifier = nn.Linear(width, len(action.class_names))
        initialise(self)

    @property
    def recalls(self) -> int:
        """How many last blocks of the encoder it reads the memory of."""
        return len(self.decoder.layers) if isinstance(self.decoder, PatchQuery) else 0

    def plan(
        self, memory: StreamMemory | None, shape: tuple[int, int], moments: Moments
    ) -> WindowPlan | PatchPlan:
        """Checks and settles who sees whom when (B, T) frames arrive, before anything is computed.

        Raises:
            UsageError: `moments` that do not fit, or a memory of another model.
        """
        streams, frames = shape
        at, lengths = _frames_at(moments.at, frames), _lengths(moments.lengths, streams)
        device = self.classifier.weight.device
        if isinstance(self.decoder, PatchQuery):
            return _patch_plan(memory, at, lengths, moments, device)
        sampled = moments.sampled
        if sampled is None:
            sampled = torch.ones(shape, dtype=torch.bool)
        elif tuple(sampled.shape) != shape:
            raise UsageError(f"sampled must be (streams, frames) {shape}, got {tuple(sampled.shape)}")
        counts = self._counts(memory, streams)
        return plan_window(self.decoder.size, counts, sampled, at, lengths, device)

    def forward(
        self, encoding: Encoding, window: TokenWindow | None, plan: WindowPlan | PatchPlan
    ) -> tuple[Tensor, TokenWindow | None]:
        """Logits (B, R, K) of the frames that are asked for, and the next window."""
        if isinstance(self.decoder, PatchQuery):
            assert isinstance(plan, PatchPlan)
            x = self.decoder(encoding.recalls, plan)
        else:
            assert isinstance(plan, WindowPlan)
            assert self.token is not None
            x, window = self.decoder(self.token(encoding), window, plan)
        return self.classifier(self.dropout(self.norm(x))), window

    def _counts(self, memory: StreamMemory | None, streams: int) -> tuple[int, ...]:
        """Filled entries of each stream's window."""
        window = None if memory is None else memory.window
        if window is None:
            return (0,) * streams
        if isinstance(self.decoder, PatchQuery) or window.shapes != self.decoder.shapes:
            raise UsageError("this memory's window belongs to another model; start a new one")
        if len(window.counts) != streams:
            raise UsageError(f"this memory holds {len(window.counts)} streams, the frames {streams}")
        return window.counts


def _patch_plan(
    memory: StreamMemory | None,
    at: list[int],
    lengths: list[int] | None,
    moments: Moments,
    device: torch.device,
) -> PatchPlan:
    if moments.sampled is not None:
        raise UsageError("patch_query sees every frame of the memory; leave `sampled` away")
    if lengths is not None and memory is not None and memory.ages:
        raise UsageError("patch_query: window lengths go with clips from an empty memory")
    cut = None if lengths is None else torch.tensor(lengths, device=device)
    return PatchPlan(torch.tensor(at, device=device), cut)


def _frames_at(at: Sequence[int] | None, frames: int) -> list[int]:
    """From 0, in the order given."""
    if at is None:
        return list(range(frames))
    if not at or any(not -frames <= number < frames for number in at):
        raise UsageError(f"`at` must name frames of the {frames} given, got {list(at)}")
    return [number % frames for number in at]


def _lengths(lengths: Tensor | Sequence[int] | None, streams: int) -> list[int] | None:
    if lengths is None:
        return None
    numbers = [int(number) for number in lengths]
    if len(numbers) != streams or min(numbers) < 1:
        raise UsageError(f"window lengths must be {streams} whole numbers from 1 on, got {numbers}")
    return numbers
