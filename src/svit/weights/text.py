"""CLIP's text tower: labels in words, for recognition without training on them.

Needs the extra `text` (transformers). Everything comes from a folder on this machine; nothing is downloaded.
Shapes: K labels, P channels of the common space, C of a frame token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from svit.config import ModelConfig, model_config
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel
from svit.weights.clip import model_from_clip
from svit.weights.files import Contents, read_file

FILES = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Files that make a tokenizer, one way or the other."""

MEAN, STD = (122.7709, 116.7460, 104.0937), (68.5005, 66.6322, 70.3232)
"""CLIP's own normalisation of RGB, 0-255 (Radford et al. 2021)."""
SAME = 1e-3
"""Largest difference of weights, of the largest of them, that storing in fp16 makes."""


@dataclass(frozen=True, eq=False)
class LabelEmbeddings:
    """Labels in CLIP's common space, and what brings frame tokens there.

    Attributes:
        names: the labels.
        features: (K, P) of unit length.
        projection: (P, C) of CLIP's image tower.
        scale: inverse temperature of the probabilities.
    """

    names: tuple[str, ...]
    features: Tensor
    projection: Tensor
    scale: float

    def to(self, device: torch.device) -> LabelEmbeddings:
        """The same on another device."""
        return LabelEmbeddings(self.names, self.features.to(device), self.projection.to(device), self.scale)

    def embed(self, tokens: Tensor) -> Tensor:
        """Frame tokens (..., C) in the common space, (..., P) of unit length."""
        return F.normalize(tokens.float() @ self.projection.T, dim=-1)

    def probabilities(self, embedded: Tensor) -> npt.NDArray[np.float32]:
        """How likely each label is (K,), from a video in the common space (P,) by its cosines."""
        cosines = self.features @ F.normalize(embedded, dim=-1)
        likely: npt.NDArray[np.float32] = (self.scale * cosines).softmax(-1).cpu().numpy()
        return likely


def embed_labels(folder: str | Path, labels: Sequence[str]) -> LabelEmbeddings:
    """Brings labels into the common space of a CLIP model.

    Args:
        folder: a CLIP model in the layout of transformers: config.json, model.safetensors, tokenizer files.
        labels: two or more phrases in words, such as "a man falls".

    Raises:
        UsageError: transformers is not installed, or the labels are not two or more different ones.
        WeightsError: no such folder, or no whole CLIP model in it.
    """
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(label.strip() for label in labels):
        raise UsageError(f"labels must be two phrases or more, all different, got {list(labels)}")
    contents = read_clip(folder)
    features = F.normalize(_text_features(Path(folder), contents, labels).float(), dim=-1)
    projection = contents.tensors["visual_projection.weight"].float().clone()
    return LabelEmbeddings(
        tuple(labels), features, projection, float(contents.tensors["logit_scale"].float().exp())
    )


def clip_video_model(folder: str | Path, labels: Sequence[str], window: int = 16) -> VideoModel:
    """CLIP's image tower alone as a model for zero-shot recognition, on the CPU.

    The encoder computes what CLIP does: one frame at a time, no memory, global attention. Its action head is
    untrained; only the frame token is for use.

    Args:
        folder: as in `embed_labels`.
        labels: names of the classes.
        window: frames whose mean is looked at.

    Raises:
        WeightsError: no whole CLIP model with QuickGELU in it.
    """
    return model_from_clip(read_clip(folder), _tower_config(Path(folder), labels, window))[0]


def is_same_tower(model: VideoModel, folder: str | Path) -> bool:
    """Whether a model's encoder is still a CLIP model's, by two of its tensors: training changes them."""
    tower = read_clip(folder).tensors
    own_names = {
        "embeddings.class_embedding": "encoder.class_token",
        "post_layernorm.weight": f"encoder.norms.{model.config.encoder.outputs[-1]}.weight",
    }
    weights = model.state_dict()
    for name, own in ((theirs, weights.get(mine)) for theirs, mine in own_names.items()):
        theirs = tower.get(f"vision_model.{name}")
        if theirs is None or own is None or theirs.shape != own.shape:
            return False
        away = (own.detach().float().cpu() - theirs.float()).abs().max()
        if away > SAME * theirs.float().abs().max():
            return False
    return True


def read_clip(folder: str | Path) -> Contents:
    """The weights of a CLIP model in a folder.

    Raises:
        WeightsError: there are none.
    """
    path = Path(folder)
    if not path.is_dir():
        raise WeightsError(f"no folder {path}; give that of a CLIP model in the layout of transformers")
    for name in FILES:
        if (path / name).is_file():
            return read_file(path / name)
    raise WeightsError(f"{path} has no {' or '.join(FILES)}; give a CLIP model in the layout of transformers")


def _text_features(folder: Path, contents: Contents, labels: Sequence[str]) -> Tensor:
    """(K, P) of the text tower, as transformers computes them."""
    try:
        from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    except ImportError:
        raise UsageError(
            "labels in words need transformers: pip install 'streaming-video-model[text]'"
        ) from None
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        # transformers would go on with an empty vocabulary, for which all labels are one.
        raise WeightsError(f"{folder} has no tokenizer.json, nor vocab.json and merges.txt; copy them there")
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = CLIPModel(CLIPConfig.from_pretrained(folder, local_files_only=True))
        # Not by transformers, which starts anew at random what the file lacks.
        missing = model.load_state_dict(contents.tensors, strict=False).missing_keys
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [""])[-1].strip()
        raise WeightsError(f"{folder}: its CLIP model cannot be loaded ({reason})") from None
    if missing:
        raise WeightsError(f"{contents.source} has no {missing[0]}: it is no whole CLIP model")
    tokens = tokenizer(list(labels), padding=True, return_tensors="pt")
    longest = model.config.text_config.max_position_embeddings
    for label, row in zip(labels, tokens["attention_mask"], strict=True):
        if int(row.sum()) > longest:
            raise UsageError(f"label '{label}' is too long: {int(row.sum())} tokens, at most {longest}")
    with torch.no_grad():
        text = model.text_model.train(False)(**tokens)
        features: Tensor = model.text_projection(text.pooler_output)
    return features


def _tower_config(folder: Path, labels: Sequence[str], window: int) -> ModelConfig:
    """The configuration of an encoder like the folder's image tower."""
    try:
        vision = json.loads((folder / "config.json").read_text())["vision_config"]
        values = _vision_values(vision)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder}/config.json: describes no CLIP image tower ({error})") from None
    if vision.get("hidden_act", "quick_gelu") != "quick_gelu":
        raise WeightsError(
            f"{folder}: its activation is {vision['hidden_act']}; the encoder computes quick_gelu"
        )
    size, last = int(vision.get("image_size", 224)), values["depth"] - 1
    encoder = {"window": 0, "temporal": False, "residual_blocks": (), "outputs": (last,), "memory": 1}
    return model_config(
        {
            "name": folder.resolve().name,
            "encoder": values | encoder,
            "pyramid": False,
            "detector": None,
            "action": {
                "class_names": tuple(labels), "token": "cls", "decoder": "mean", "window": window,
            },
            "input": {"short_side": size, "long_side": size, "mean": MEAN, "std": STD},
        }
    )  # fmt: skip


def _vision_values(vision: dict[str, Any]) -> dict[str, Any]:
    """Of transformers' settings those of the encoder; what is left away there is ViT-B/32's."""
    patch, size = int(vision.get("patch_size", 32)), int(vision.get("image_size", 224))
    return {
        "width": int(vision.get("hidden_size", 768)),
        "depth": int(vision.get("num_hidden_layers", 12)),
        "heads": int(vision.get("num_attention_heads", 12)),
        "patch": patch,
        "stem": "patch",
        "position_grid": size // patch,
    }
