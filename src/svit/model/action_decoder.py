"""Transformers over the window of frame tokens: bidirectional, mean, and causal with a K/V cache.

Shapes: B streams, J new entries of the window, N entries of a full window, R frames that are asked for,
Q = J + R, A ages, C channels of a frame token, W channels of the decoder.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svit.config import ModelConfig
from svit.model.action_window import TokenWindow, WindowPlan, pick, push
from svit.model.layers import DropPath, LayerNorm

_DEVIATION = 0.02
"""Of fresh weights, as in ViT and BERT."""


class DecoderLayer(nn.Module):
    """Pre-norm transformer layer: attention, then an MLP of four times the width."""

    def __init__(self, width: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout, self.drop_path = nn.Dropout(dropout), DropPath(drop_path)

    def forward(self, x_BRAW: Tensor, visible_BRA: Tensor) -> Tensor:
        """Every token of a window attends to the visible ones of it."""
        query, key, value = self.qkv(self.norm1(x_BRAW)).chunk(3, dim=-1)
        return self.add(x_BRAW, self.attend(query, key, value, visible_BRA))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
        """Queries (B, R, ., W) over keys and values (B, R, A, W) of which `visible` (B, R, A) are there."""
        q, k, v = (
            t.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value)
        )
        out = F.scaled_dot_product_attention(q, k, v, visible.flatten(0, 1)[:, None, None])
        return out.transpose(1, 2).flatten(2).view_as(query)

    def add(self, x: Tensor, attended: Tensor) -> Tensor:
        """The residual stream after attention's output and the MLP."""
        x = x + self.drop_path(self.dropout(self.out(attended)))
        return x + self.drop_path(self.dropout(self.mlp(self.norm2(x))))


class WindowDecoder(nn.Module):
    """Sees the whole window of each frame anew: `bidirectional`, or `mean`.

    `bidirectional`: a learned class token in front, learned positions by age. `mean`: neither; the layers'
    outputs are averaged, so the order of frames does not matter: the order-blind baseline.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.action is not None
        width, _ = config.action_size
        self.size, self.inputs = config.action.window, config.encoder.width
        self.norm, self.project = LayerNorm(self.inputs), nn.Linear(self.inputs, width)
        self.class_token = self.positions = None
        if config.action.decoder == "bidirectional":
            self.class_token = nn.Parameter(torch.empty(width))
            self.positions = nn.Parameter(torch.empty(self.size, width))
        self.layers = decoder_layers(config)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of a stream's window."""
        return ((self.size, self.inputs),)

    def forward(
        self, tokens_BTC: Tensor, window: TokenWindow | None, plan: WindowPlan
    ) -> tuple[Tensor, TokenWindow]:
        """Frame tokens -> one vector per frame that is asked for (B, R, W), and the next window."""
        new = pick(tokens_BTC, plan.entering)
        history, remaining = push(window.entries[0] if window else None, new, plan)
        x, visible = plan.frames.of(self.project(self.norm(history))), plan.frames.visible
        if self.positions is not None and self.class_token is not None:
            x = x + self.positions[: x.shape[2]]
            x = torch.cat([self.class_token.expand(*x.shape[:2], 1, -1), x], dim=2)
            visible = F.pad(visible, (1, 0), value=True)
        for layer in self.layers:
            x = layer(x, visible)
        out = x[:, :, 0] if self.class_token is not None else _mean(x, visible)
        return out, TokenWindow((remaining,), plan.counts)


class CausalLayer(DecoderLayer):
    """A layer whose keys and values are kept: a frame sees earlier ones as they were when they came.

    Ages change as frames arrive, so they are no part of what is kept: a learned vector per age is added to
    keys and another to values where they are read (relative positions, Shaw et al. 2018, arXiv 1803.02155).
    """

    def __init__(self, size: int, width: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__(width, heads, dropout, drop_path)
        self.key_ages = nn.Parameter(torch.empty(size, width))
        self.value_ages = nn.Parameter(torch.empty(size, width))

    def step(
        self, x_BQW: Tensor, past: tuple[Tensor | None, Tensor | None], plan: WindowPlan
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """New entries, then class tokens, Q = J + R -> the same shape, and the keys and values to keep.

        An entry sees the window up to itself. A class token sees the window of its frame and itself.
        """
        entries = plan.entering.shape[1]
        query, key, value = self.qkv(self.norm1(x_BQW)).chunk(3, dim=-1)
        seen, kept = [], []
        for old, new, ages in zip(past, (key, value), (self.key_ages, self.value_ages), strict=True):
            history, remaining = push(old, new[:, :entries], plan)
            by_age = torch.cat([plan.entries.of(history), plan.frames.of(history)], dim=1)
            seen.append(torch.cat([by_age + ages[: by_age.shape[2]], new.unsqueeze(2)], dim=2))
            kept.append(remaining)
        visible = torch.cat([plan.entries.visible, plan.frames.visible], dim=1)
        # An entry finds itself in its window at age 0; only class tokens see the place added for themselves.
        own = torch.arange(visible.shape[1], device=visible.device) >= entries
        visible = torch.cat([visible, own.view(1, -1, 1).expand(len(visible), -1, 1)], dim=2)
        attended = self.attend(query.unsqueeze(2), seen[0], seen[1], visible).squeeze(2)
        return self.add(x_BQW, attended), (kept[0], kept[1])


class CausalDecoder(nn.Module):
    """Computes each frame once: its keys and values stay, and a class token per answer reads them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.action is not None
        self.width, _ = config.action_size
        self.size, inputs = config.action.window, config.encoder.width
        self.norm, self.project = LayerNorm(inputs), nn.Linear(inputs, self.width)
        self.class_token = nn.Parameter(torch.empty(self.width))
        self.layers = decoder_layers(config)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of a stream's window: keys and values of each layer."""
        return ((self.size, self.width),) * (2 * len(self.layers))

    def forward(
        self, tokens_BTC: Tensor, window: TokenWindow | None, plan: WindowPlan
    ) -> tuple[Tensor, TokenWindow]:
        """Frame tokens -> one vector per frame that is asked for (B, R, W), and the next window."""
        new = self.project(self.norm(pick(tokens_BTC, plan.entering)))
        answers = self.class_token.expand(len(new), len(plan.at), -1)
        x = torch.cat([new, answers], dim=1)
        kept: list[Tensor] = []
        for i, layer in enumerate(cast(CausalLayer, layer) for layer in self.layers):
            past = (window.entries[2 * i], window.entries[2 * i + 1]) if window else (None, None)
            x, keys_values = layer.step(x, past, plan)
            kept += keys_values
        return x[:, new.shape[1] :], TokenWindow(tuple(kept), plan.counts)


def decoder_layers(config: ModelConfig) -> nn.ModuleList:
    """The layers of a decoder over the window; stochastic depth rises from 0 to its rate."""
    action = config.action
    assert action is not None
    rates = [action.drop_path * i / max(action.layers - 1, 1) for i in range(action.layers)]
    sizes = (*config.action_size, action.dropout)
    if action.decoder == "causal":
        return nn.ModuleList(CausalLayer(action.window, *sizes, rate) for rate in rates)
    return nn.ModuleList(DecoderLayer(*sizes, rate) for rate in rates)


def initialise(module: nn.Module) -> None:
    """Fresh values for linear layers and learned tokens below `module`; norms and `change` keep theirs."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif not any(other in name for other in ("norm", "queries", "change")):
            nn.init.normal_(parameter, std=_DEVIATION)


def _mean(x_BRAW: Tensor, visible_BRA: Tensor) -> Tensor:
    """Over what is visible."""
    weights = visible_BRA.to(x_BRAW.dtype).unsqueeze(-1)
    return (x_BRAW * weights).sum(2) / weights.sum(2)
