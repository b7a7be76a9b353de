"""Small models, and the same weights in the layouts that other projects write."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from svit.config import DetectorConfig, EncoderConfig, ModelConfig
from svit.model.video_model import VideoModel
from svit.weights.names import official_name

OUTPUTS = {1: "ln_post_out1", 2: "ln_post_out2", 3: "ln_post"}
STAGES = (0, 1, 2, 3)


def small_config(**encoder: object) -> ModelConfig:
    """Four blocks with a detector; everything that a checkpoint can hold, 0.3 M parameters."""
    settings = {
        "width": 32,
        "depth": 4,
        "heads": 2,
        "window": 4,
        "position_grid": 5,
        "residual_blocks": (1, 3),
        "outputs": tuple(OUTPUTS),
        "memory": 3,
    }
    detector = DetectorConfig(width=16, csp_blocks=2, class_names=("class 0", "class 1"))
    return ModelConfig(name="small", encoder=EncoderConfig(**(settings | encoder)), detector=detector)


def scrambled(config: ModelConfig, seed: int = 0) -> VideoModel:
    """A model with no parameter or buffer left at a constant."""
    generator = torch.Generator().manual_seed(seed)
    model = VideoModel(config).eval()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator) * 0.1
            tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise)
        else:
            tensor.fill_(7)
    return model


def official_state(
    model: VideoModel, root: str = "detector.", backbone: str = "backbone."
) -> dict[str, Tensor]:
    """The model's tensors under the official names."""
    state = {}
    for own, tensor in model.state_dict().items():
        name = official_name(own, OUTPUTS)
        state[root + ("" if name.startswith(("neck.", "bbox_head.")) else backbone) + name] = tensor.clone()
    return state


def same_weights(a: VideoModel, b: VideoModel) -> bool:
    """Bit for bit."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


CLIP_WIDTH, CLIP_DEPTH, CLIP_PATCH, CLIP_GRID, CLIP_HEADS = 32, 3, 8, 4, 2


def clip_config(**encoder: object) -> ModelConfig:
    """An encoder that the small image tower below fits."""
    settings = {
        "width": CLIP_WIDTH,
        "depth": CLIP_DEPTH,
        "heads": CLIP_HEADS,
        "patch": CLIP_PATCH,
        "position_grid": CLIP_GRID,
        "window": 0,
        "residual_blocks": (1,),
        "outputs": (1, 2),
    }
    encoder_config = EncoderConfig(**(settings | encoder))
    return ModelConfig(name="small-clip", encoder=encoder_config, pyramid=False, detector=None)


class ClipBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        hidden = nn.functional.linear(self.ln_2(x), self.mlp.c_fc.weight, self.mlp.c_fc.bias)
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        return x + nn.functional.linear(hidden, self.mlp.c_proj.weight, self.mlp.c_proj.bias)


class ClipTransformer(nn.Module):
    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(ClipBlock(width, heads) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.resblocks(x)


class ClipTower(nn.Module):
    """CLIP's image tower as its paper describes it, without the class token in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, CLIP_WIDTH, CLIP_PATCH, stride=CLIP_PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(CLIP_WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn(CLIP_GRID**2 + 1, CLIP_WIDTH))
        self.ln_pre = nn.LayerNorm(CLIP_WIDTH)
        self.transformer = ClipTransformer(CLIP_WIDTH, CLIP_DEPTH, CLIP_HEADS)
        self.ln_post = nn.LayerNorm(CLIP_WIDTH)
        self.proj = nn.Parameter(torch.randn(CLIP_WIDTH, 16))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> tokens (N, Y X, C)."""
        x = self.conv1(images).flatten(2).permute(2, 0, 1)
        x = self.ln_pre(x + self.positional_embedding[1:].unsqueeze(1))
        return self.ln_post(self.transformer(x)).transpose(0, 1)

    @torch.jit.unused
    def with_class_token(self, images: Tensor) -> Tensor:
        """CLIP whole: (N, 3, H, W) -> tokens (N, 1 + Y X, C), the class token first."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(images), 1, -1), patches], dim=1)
        x = self.ln_pre(tokens + self.positional_embedding).transpose(0, 1)
        return self.ln_post(self.transformer(x)).transpose(0, 1)


class Clip(nn.Module):
    """Image tower and a stub of a text tower, with the names of the official archive."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = ClipTower()
        self.positional_embedding = nn.Parameter(torch.randn(7, 16))
        self.token_embedding = nn.Embedding(11, 16)
        self.logit_scale = nn.Parameter(torch.ones([]))
        self.context_length = 7

    def forward(self, images: Tensor) -> Tensor:
        return self.visual(images)


def clip_model() -> Clip:
    """With values that fp16 holds exactly, so that every layout gives the same."""
    torch.manual_seed(3)
    model = Clip().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((torch.randn(parameter.shape) * 0.2).half())
    return model


def hugging_face_state(clip: Clip) -> dict[str, Tensor]:
    """The tensors of `clip` as the Hugging Face layout names and splits them."""
    names = {
        "conv1.": "embeddings.patch_embedding.",
        "positional_embedding": "embeddings.position_embedding.weight",
        "class_embedding": "embeddings.class_embedding",
        "ln_pre.": "pre_layrnorm.",
        "ln_post.": "post_layernorm.",
        "attn.out_proj.": "self_attn.out_proj.",
        "ln_1.": "layer_norm1.",
        "ln_2.": "layer_norm2.",
        "mlp.c_fc.": "mlp.fc1.",
        "mlp.c_proj.": "mlp.fc2.",
        "transformer.resblocks.": "encoder.layers.",
    }
    state = {
        "logit_scale": clip.logit_scale.data,
        "visual_projection.weight": clip.visual.proj.data.T.contiguous(),
    }
    state["vision_model.embeddings.position_ids"] = torch.arange(CLIP_GRID**2 + 1)[None]
    for key, tensor in clip.visual.state_dict().items():
        name = key
        for old, new in names.items():
            name = name.replace(old, new)
        if "in_proj_" in name:
            for kind, part in zip("qkv", tensor.chunk(3), strict=True):
                split = name.replace("attn.in_proj_", f"self_attn.{kind}_proj.")
                state[f"vision_model.{split}"] = part.clone()
        elif key != "proj":
            state[f"vision_model.{name}"] = tensor
    return state


def tower_shapes(width: int, depth: int, patch: int, grid: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a full-size official image tower."""
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (width,),
        "positional_embedding": (grid**2 + 1, width),
        "proj": (width, 512),
        "conv1.weight": (width, 3, patch, patch),
    }
    norms = ["ln_pre", "ln_post"]
    for i in range(depth):
        block = f"transformer.resblocks.{i}."
        norms += [block + "ln_1", block + "ln_2"]
        shapes |= {
            block + "attn.in_proj_weight": (3 * width, width),
            block + "attn.in_proj_bias": (3 * width,),
            block + "attn.out_proj.weight": (width, width),
            block + "attn.out_proj.bias": (width,),
            block + "mlp.c_fc.weight": (4 * width, width),
            block + "mlp.c_fc.bias": (4 * width,),
            block + "mlp.c_proj.weight": (width, 4 * width),
            block + "mlp.c_proj.bias": (width,),
        }
    shapes |= {f"{norm}.{leaf}": (width,) for norm in norms for leaf in ("weight", "bias")}
    return {f"visual.{name}": shape for name, shape in shapes.items()}
