"""The temporally-aware spatial encoder: frames and a memory in, feature maps and the next memory out.

Shapes: B streams, T frames, Y X grid rows and columns, C channels.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from svit.config import EncoderConfig
from svit.errors import UsageError
from svit.model.attention import Attention
from svit.model.layers import (
    MLP,
    ConvStem,
    DropPath,
    LayerNorm,
    PatchStem,
    ResidualConv,
    resize_positions,
)
from svit.model.linear import Linear
from svit.model.memory import Advance, Layout, StreamMemory
from svit.model.slots import LayerMemory, Recall


class BlockOutput(NamedTuple):
    """What a block hands on; see `svit.model.attention.Attended`."""

    tokens: Tensor
    class_token: Tensor | None
    layer: LayerMemory | None
    recall: Recall | None
    change: Tensor | None


class Encoding(NamedTuple):
    """All that heads can use of new frames.

    Attributes:
        stages: per output a map (B, T, C, Y, X) after its norm.
        class_token: (B, T, C) after the last output's norm; None without a class token.
        recalls: what the last blocks attended to in the memory, as many as were asked for.
        change: (B, T, C) of the last block, see `svit.model.change`; None unless the encoder says it.
        memory: after the frames.
    """

    stages: list[Tensor]
    class_token: Tensor | None
    recalls: list[Recall]
    change: Tensor | None
    memory: StreamMemory


class Block(nn.Module):
    """Pre-norm transformer block, followed by a residual convolution where the configuration says so."""

    def __init__(self, config: EncoderConfig, index: int) -> None:
        super().__init__()
        width, drop = config.width, config.drop_path * index / max(config.depth - 1, 1)
        self.index = index
        self.norm1 = LayerNorm(width)
        self.attention = Attention(
            width,
            config.heads,
            config.windows[index],
            temporal=config.temporal,
            memory_gradient=config.memory_gradient,
        )
        self.norm2 = LayerNorm(width)
        self.mlp = MLP(width, config.mlp_ratio)
        self.drop_path = DropPath(drop)
        self.residual = ResidualConv(width) if index in config.residual_blocks else nn.Identity()

    def forward(self, x_BTYXC: Tensor, advance: Advance, class_BTC: Tensor | None = None) -> BlockOutput:
        """Tokens (B, T, Y, X, C), and a class token (B, T, C) if there is one -> the same, and memory."""
        if class_BTC is None:
            out, _, *memory = self.attention(self.norm1(x_BTYXC), advance, self.index)
            x = x_BTYXC + self.drop_path(out)
            x = x + self.drop_path(self.mlp(self.norm2(x)))
            return BlockOutput(self.residual(x), None, *memory)
        out, class_out, *memory = self.attention(
            self.norm1(x_BTYXC), advance, self.index, self.norm1(class_BTC)
        )
        x, token = self._add(x_BTYXC, out, class_BTC, class_out)
        x, token = self._add(x, self.mlp(self.norm2(x)), token, self.mlp(self.norm2(token)))
        return BlockOutput(self.residual(x), token, *memory)

    def _add(self, x: Tensor, out: Tensor, token: Tensor, token_out: Tensor) -> tuple[Tensor, Tensor]:
        """Adds a branch to the tokens (B, T, Y, X, C) and the class token (B, T, C): to both or to none."""
        factor = self.drop_path(x.new_ones(len(x)))
        return x + factor.view(-1, 1, 1, 1, 1) * out, token + factor.view(-1, 1, 1) * token_out


class Encoder(nn.Module):
    """S-ViT's backbone.

    The same call serves all three forms, which agree to rounding error: step (T = 1 with a memory), chunk
    (T > 1 with a memory) and clip (T frames from no memory).

    Args:
        config: its settings.
        class_token: carry CLIP's class token along. It attends to all tokens of its frame and is attended to
            by them, as in CLIP; it has no part in the temporal attention, the memory and the convolutions.
        change: the last block says how much changed over the frames it remembers.

    Attributes:
        checkpointing: recompute the blocks in the backward pass to save activations; changes no number.
    """

    def __init__(self, config: EncoderConfig, *, class_token: bool = False, change: bool = False) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        stem = PatchStem if config.stem == "patch" else ConvStem
        self.stem = stem(config.width, config.patch)
        scale = config.width**-0.5
        self.positions = nn.Parameter(scale * torch.randn(config.position_grid**2, config.width))
        self.class_token = self.class_position = None
        if class_token:
            self.class_token = nn.Parameter(scale * torch.randn(config.width))
            self.class_position = nn.Parameter(scale * torch.randn(config.width))
        self.norm_in = LayerNorm(config.width)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.depth))
        cast(Block, self.blocks[-1]).attention.says_change = change
        self.norms = nn.ModuleDict({str(i): LayerNorm(config.width) for i in config.outputs})
        _initialise(self)

    def forward(
        self, frames: Tensor, memory: StreamMemory | None = None
    ) -> tuple[list[Tensor], StreamMemory]:
        """Encodes T new frames of each of B streams.

        Args:
            frames: (B, T, 3, H, W) normalised float, any precision; H and W multiples of the patch (for a
                detector: of twice that).
            memory: what the streams remember; None starts them. Without gradients its storage is reused
                for the result, see `svit.model.memory`.

        Returns:
            stages: per output a map (B, T, C, H/patch, W/patch) after its norm.
            memory: the memory after the frames.

        Raises:
            UsageError: wrong shape, or frames that do not fit the memory.
        """
        encoding = self.encode(frames, memory)
        return encoding.stages, encoding.memory

    def encode(self, frames: Tensor, memory: StreamMemory | None = None, recalls: int = 0) -> Encoding:
        """As `forward`, with all that heads can use; `recalls` of the last blocks, as many as are wanted."""
        self.check(frames)
        if memory is None:
            memory = StreamMemory.for_model(self.config)
        advance = memory.advance(frames.shape[0], frames.shape[1], self._layout(frames), recalls > 0)
        x, token = self._embed(frames.to(self.positions.dtype)), self._embed_class(frames)
        stages: list[Tensor] = []
        layers: list[LayerMemory] = []
        recalled: list[Recall] = []
        class_token = change = None
        for block in (cast(Block, block) for block in self.blocks):
            x, token, layer, recall, change = self._run(block, x, advance, token)
            layers += [] if layer is None else [layer]
            recalled += [recall] if recall and len(self.blocks) - block.index <= recalls else []
            if str(block.index) in self.norms:
                norm = self.norms[str(block.index)]
                stages.append(norm(x).permute(0, 1, 4, 2, 3))
                class_token = None if token is None else norm(token)
        return Encoding(stages, class_token, recalled, change, advance.result(layers))

    def check(self, frames: Tensor) -> None:
        """Raises UsageError unless these are normalised frames (B, T, 3, H, W) of whole patches."""
        patch = self.config.patch
        if frames.ndim != 5 or frames.shape[2] != 3 or 0 in frames.shape:
            raise UsageError(f"frames must be (streams, frames, 3, height, width), got {tuple(frames.shape)}")
        if not frames.is_floating_point():
            raise UsageError(
                f"frames must be normalised floats, got {frames.dtype}; see svit.model.preprocess"
            )
        if frames.shape[3] % patch or frames.shape[4] % patch:
            size = f"{frames.shape[4]}x{frames.shape[3]}"
            raise UsageError(
                f"frame sides must be multiples of {patch}, got {size}; see svit.model.preprocess"
            )

    def _layout(self, frames: Tensor) -> Layout:
        """What a memory of these frames fits: the token grid, and the shape of every block's keys."""
        config = self.config
        rows, columns = frames.shape[3] // config.patch, frames.shape[4] // config.patch
        return (rows, columns, config.width, config.heads, *(config.windows if config.temporal else ()))

    def _embed(self, frames: Tensor) -> Tensor:
        """(B, T, 3, H, W) -> tokens with positions (B, T, Y, X, C)."""
        tokens = self.stem(frames).permute(0, 1, 3, 4, 2)
        positions = resize_positions(self.positions, tokens.shape[2], tokens.shape[3])
        return self.norm_in(tokens + positions.to(tokens.dtype))

    def _embed_class(self, frames: Tensor) -> Tensor | None:
        """(B, T, 3, H, W) -> the class token of each frame (B, T, C), the same for all."""
        if self.class_token is None or self.class_position is None:
            return None
        return self.norm_in(self.class_token + self.class_position).expand(*frames.shape[:2], -1)

    def _run(self, block: Block, x: Tensor, advance: Advance, token: Tensor | None) -> BlockOutput:
        if self.checkpointing and torch.is_grad_enabled():
            return cast(BlockOutput, checkpoint(block, x, advance, token, use_reentrant=False))
        return cast(BlockOutput, block(x, advance, token))


def _initialise(encoder: Encoder) -> None:
    """CLIP's initialisation (Radford et al. 2021): depth does not blow up the residual stream."""
    width, depth = encoder.config.width, encoder.config.depth
    projection = width**-0.5 * (2 * depth) ** -0.5
    for block in (cast(Block, block) for block in encoder.blocks):
        attention, mlp = block.attention, block.mlp
        spread = [(attention.qkv, width**-0.5), (attention.out, projection)]
        spread += [(cast(Linear, mlp[0]), (2 * width) ** -0.5), (cast(Linear, mlp[2]), projection)]
        if attention.temporal:
            spread += [(attention.query_t, width**-0.5), (attention.out_t, projection)]
        for layer, deviation in spread:
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)
