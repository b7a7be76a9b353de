"""The S-ViT encoder the textbook way: the oracle of the tests and the baseline of the speed benchmark.

Written from the formulas, as simple as possible, for one stream: every block keeps its history as Python
lists of keys and values, concatenates them for each frame and computes softmax(Q K^T / sqrt(D)) V.

Shapes: M windows, H heads, Y X rows and columns of a grid or window, N tokens, C channels, D head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from svit.model.encoder import Encoder
from svit.model.video_model import VideoModel


class ReferenceEncoder:
    """Reads the weights of an `Encoder` (shared, not copied) and encodes one stream, frame by frame, in fp32.

    Attributes:
        keys, values: per block the remembered frames, oldest first, each (M, H, Y, X, D).

    Args:
        encoder: whose weights.
        capacity, eviction: of the memory; None is the encoder's.
        trains: gradients flow to the weights; what is remembered is detached, as in the official code.
    """

    def __init__(
        self,
        encoder: Encoder,
        capacity: int | None = None,
        eviction: str | None = None,
        trains: bool = False,
    ) -> None:
        self.config, self.trains = encoder.config, trains
        weights = dict(encoder.state_dict(keep_vars=True))
        self.weights = weights if trains else {name: tensor.detach() for name, tensor in weights.items()}
        self.capacity = capacity or self.config.memory
        self.eviction = eviction or self.config.eviction
        self.keys: list[list[Tensor]] = [[] for _ in range(self.config.depth)]
        self.values: list[list[Tensor]] = [[] for _ in range(self.config.depth)]

    def step(self, frame: Tensor) -> list[Tensor]:
        """One normalised frame (3, H, W) -> the output stages, each (C, H/patch, W/patch)."""
        with torch.set_grad_enabled(self.trains):
            return self._stages(frame)

    def _stages(self, frame: Tensor) -> list[Tensor]:
        x = self._embed(frame)
        stages = []
        for i in range(self.config.depth):
            x = x + self._attention(self._norm(x, f"blocks.{i}.norm1"), i)
            x = x + self._mlp(self._norm(x, f"blocks.{i}.norm2"), i)
            if i in self.config.residual_blocks:
                x = x + self._residual(x, f"blocks.{i}.residual")
            if i in self.config.outputs:
                stages.append(self._norm(x, f"norms.{i}").permute(2, 0, 1))
        return stages

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str, eps: float = 1e-5) -> Tensor:
        """LayerNorm over the last dimension."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def _embed(self, frame: Tensor) -> Tensor:
        """(3, H, W) -> tokens with positions (Y, X, C)."""
        maps = self._stem(frame[None])
        side = self.config.position_grid
        grid = self.weights["positions"].view(1, side, side, -1).permute(0, 3, 1, 2)
        if maps.shape[2:] != (side, side):
            grid = F.interpolate(grid, size=maps.shape[2:], mode="bicubic", align_corners=False)
        return self._norm((maps + grid)[0].permute(1, 2, 0), "norm_in")

    def _stem(self, images: Tensor) -> Tensor:
        weights = self.weights
        if self.config.stem == "patch":
            return F.conv2d(images, weights["stem.conv.weight"], stride=self.config.patch)
        i = 0
        while f"stem.convs.{i}.0.weight" in weights:
            images = F.conv2d(images, weights[f"stem.convs.{i}.0.weight"], stride=2, padding=1)
            names = ("running_mean", "running_var", "weight", "bias")
            images = F.silu(F.batch_norm(images, *(weights[f"stem.convs.{i}.1.{name}"] for name in names)))
            i += 1
        return F.conv2d(images, weights["stem.project.weight"], weights["stem.project.bias"])

    def _mlp(self, x: Tensor, i: int) -> Tensor:
        hidden = self._linear(x, f"blocks.{i}.mlp.0")
        return self._linear(hidden * torch.sigmoid(1.702 * hidden), f"blocks.{i}.mlp.2")

    def _residual(self, x: Tensor, name: str) -> Tensor:
        """1x1, norm, GELU, 3x3, norm, GELU, 1x1, norm on (Y, X, C)."""
        for k in (1, 2, 3):
            weight = self.weights[f"{name}.conv{k}.weight"]
            maps = F.conv2d(x.permute(2, 0, 1), weight, padding=int(k == 2))
            x = self._norm(maps.permute(1, 2, 0), f"{name}.norm{k}", eps=1e-6)
            x = F.gelu(x) if k < 3 else x
        return x

    def _attention(self, x: Tensor, i: int) -> Tensor:
        """Normed tokens (Y, X, C) -> in-frame plus temporal attention, window by window, (Y, X, C)."""
        name, heads = f"blocks.{i}.attention", self.config.heads
        windows = cut_windows(x, self.config.windows[i])
        qkv = self._linear(windows, f"{name}.qkv")
        query, key, value = (split_heads(t, heads) for t in qkv.chunk(3, dim=-1))
        frame = attend(*(t.flatten(2, 3) for t in (query, key, value))).view_as(query)
        out = self._linear(join_heads(frame), f"{name}.out")
        if self.config.temporal:
            self._remember(i, key, value)
            query = split_heads(self._linear(windows, f"{name}.query_t"), heads)
            temporal = attend_rows(query, self.keys[i], self.values[i])
            temporal = temporal + attend_columns(query, self.keys[i], self.values[i])
            out = out + self.weights[f"{name}.alpha"] * self._linear(join_heads(temporal), f"{name}.out_t")
        return join_windows(out, *x.shape[:2])

    def _remember(self, i: int, key: Tensor, value: Tensor) -> None:
        """Appends a frame; a full history first merges its two oldest entries, or drops the oldest."""
        for history, new in ((self.keys[i], key), (self.values[i], value)):
            if len(history) == self.capacity:
                oldest = history.pop(0)
                if self.eviction == "merge" and history:
                    history[0] = (history[0] + oldest) / 2
            history.append(new.detach())


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V over the last two dimensions (N, D)."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    return scores.softmax(-1) @ value


def attend_rows(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """Each query sees its row in all frames: (M, H, Y, X, D) over histories of the same."""
    return attend(query, torch.cat(keys, dim=3), torch.cat(values, dim=3))


def attend_columns(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """Each query sees its column in all frames: rows and columns change places."""
    keys, values = [k.transpose(2, 3) for k in keys], [v.transpose(2, 3) for v in values]
    return attend_rows(query.transpose(2, 3), keys, values).transpose(2, 3)


def split_heads(x_MYXC: Tensor, heads: int) -> Tensor:
    """(M, Y, X, C) -> (M, H, Y, X, D)."""
    return x_MYXC.unflatten(-1, (heads, -1)).permute(0, 3, 1, 2, 4)


def join_heads(x_MHYXD: Tensor) -> Tensor:
    """(M, H, Y, X, D) -> (M, Y, X, C)."""
    return x_MHYXD.permute(0, 2, 3, 1, 4).flatten(3)


def cut_windows(x_YXC: Tensor, window: int) -> Tensor:
    """Zero-pads at the bottom and right, then cuts the windows out one by one: (M, window, window, C)."""
    rows, columns = x_YXC.shape[:2]
    if window == 0:
        return x_YXC[None]
    padded = F.pad(x_YXC, (0, 0, 0, -columns % window, 0, -rows % window))
    corners = [(y, x) for y in range(0, rows, window) for x in range(0, columns, window)]
    return torch.stack([padded[y : y + window, x : x + window] for y, x in corners])


def join_windows(windows_MYXC: Tensor, rows: int, columns: int) -> Tensor:
    """Puts the windows back in place and crops the padding: (rows, columns, C)."""
    across = -(-columns // windows_MYXC.shape[2])
    bands = [torch.cat(list(band), dim=1) for band in windows_MYXC.split(across)]
    return torch.cat(bands, dim=0)[:rows, :columns]


class ReferenceModel:
    """The plain encoder before a model's own pyramid and detector: what a step of svit is compared with.

    Decoding and suppression are left out, which makes it the faster.

    Args:
        model: whose weights; it has a detector.
        capacity: frames remembered.
    """

    def __init__(self, model: VideoModel, capacity: int) -> None:
        self.encoder, self.model = ReferenceEncoder(model.encoder, capacity), model

    @torch.no_grad()
    def detect(self, frame: Tensor) -> None:
        """One normalised frame (3, H, W) through everything with weights."""
        assert self.model.pyramid is not None
        assert self.model.detector is not None
        stages = [stage[None, None] for stage in self.encoder.step(frame)]
        self.model.detector(self.model.pyramid(stages))

    @property
    def nbytes(self) -> int:
        """Bytes of all remembered keys and values."""
        return sum(t.nbytes for history in self._histories() for t in history)

    def fill(self) -> None:
        """Fills the memory with copies of its last frame; time and bytes do not depend on its content."""
        for history in self._histories():
            history[:] = [history[-1].clone() for _ in range(self.encoder.capacity)]

    def _histories(self) -> list[list[Tensor]]:
        return [*self.encoder.keys, *self.encoder.values]
