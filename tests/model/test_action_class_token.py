"""The class token: CLIP's over the whole grid, seeing the whole frame in windows, never in the memory."""

import pytest
import torch
from tests.model.small import TOLERANCE, random_frames, reduced
from torch import Tensor

from svit.model.encoder import Encoder


def encoder_with(class_token: bool = True, **settings: object) -> Encoder:
    torch.manual_seed(0)
    named = {f"encoder__{key}": value for key, value in settings.items()}
    config = reduced("base", pyramid=False, detector=None, **named)
    encoder = Encoder(config.encoder, class_token=class_token).eval()
    for parameter in encoder.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.3, 0.3)
    return encoder


def plain_vit(encoder: Encoder, images: Tensor) -> Tensor:
    """All tokens, the class token first, by the formulas of CLIP: (N, 1 + Y X, C) before the last norm."""
    config = encoder.config
    patches = encoder.stem(images.unsqueeze(1))[:, 0].flatten(2).transpose(1, 2)
    own = (encoder.class_token + encoder.class_position).expand(len(images), 1, -1)
    x = encoder.norm_in(torch.cat([own, patches + encoder.positions], dim=1))
    for block in encoder.blocks:
        heads = block.attention.qkv(block.norm1(x)).unflatten(-1, (3, config.heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        x = x + block.attention.out((weights @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    return x


@torch.no_grad()
@pytest.mark.parametrize("window", [0, 5])
def test_over_the_whole_grid_it_is_clips(window: int) -> None:
    encoder = encoder_with(temporal=False, residual_blocks=(), window=window)
    frames = random_frames(encoder, streams=2, frames=3, grid=(5, 5))
    encoding = encoder.encode(frames)
    expected = encoder.norms[str(encoder.config.outputs[-1])](plain_vit(encoder, frames.flatten(0, 1)))
    assert encoding.class_token is not None
    found = torch.cat([encoding.class_token.flatten(0, 1).unsqueeze(1), tokens_of(encoding.stages[-1])], 1)
    assert float((found - expected).abs().max()) <= TOLERANCE


def tokens_of(stage: Tensor) -> Tensor:
    """(B, T, C, Y, X) -> (B T, Y X, C)."""
    return stage.flatten(0, 1).flatten(2).transpose(1, 2)


@torch.no_grad()
def test_in_windows_it_sees_every_token_of_its_frame_but_no_padding() -> None:
    encoder = encoder_with(
        temporal=False, residual_blocks=(), window=3, depth=1, outputs=(0,), position_grid=4
    )
    frames = random_frames(encoder, grid=(4, 5))  # padded to 6 x 6 tokens
    whole = encoder_with(temporal=False, residual_blocks=(), window=0, depth=1, outputs=(0,), position_grid=4)
    ours, expected = encoder.encode(frames).class_token, whole.encode(frames).class_token
    assert ours is not None
    assert expected is not None
    assert float((ours - expected).abs().max()) <= TOLERANCE
    for y, x in ((0, 0), (3, 4), (0, 4), (3, 0)):
        changed = frames.clone()
        changed[..., 16 * y : 16 * (y + 1), 16 * x : 16 * (x + 1)] += 1
        other = encoder.encode(changed).class_token
        assert other is not None
        assert float((ours - other).abs().max()) > TOLERANCE


@torch.no_grad()
def test_it_has_no_memory() -> None:
    encoder = encoder_with(depth=1, residual_blocks=(0,), outputs=(0,), window=3)
    frames = random_frames(encoder, streams=1, frames=4)
    encoding = encoder.encode(frames)
    assert encoding.class_token is not None
    for t in range(4):
        alone = encoder.encode(frames[:, t : t + 1]).class_token
        assert alone is not None
        assert float((encoding.class_token[:, t] - alone[:, 0]).abs().max()) <= TOLERANCE
    without = encoder_with(class_token=False, depth=1, residual_blocks=(0,), outputs=(0,), window=3)
    weights = encoder.state_dict()
    without.load_state_dict({k: x for k, x in weights.items() if not k.startswith("class_")})
    (mine,), (plain,) = encoding.memory.layers, without.encode(frames).memory.layers
    assert torch.equal(mine.keys, plain.keys)
    assert torch.equal(mine.values, plain.values)


@torch.no_grad()
def test_an_encoder_without_one_has_none() -> None:
    encoder = encoder_with(class_token=False)
    assert encoder.encode(random_frames(encoder)).class_token is None
    assert not any("class" in name for name in encoder.state_dict())
