"""A tiny CLIP model with random weights, in the folder layout of transformers; never downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

SIZE, PATCH = 32, 8


def write_clip_folder(folder: Path, seed: int = 0) -> Path:
    """config.json, model.safetensors, vocab.json, merges.txt; the test is skipped without transformers."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `text`: transformers")
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    words.extend(("ma", "man</w>", "do", "dog</w>"))
    vocabulary = {word: number for number, word in enumerate(words)}
    text = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": len(words),
        "max_position_embeddings": 24,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "patch_size": PATCH,
    }
    config = transformers.CLIPConfig(
        text_config=text, vision_config=vision, projection_dim=16, logit_scale_init_value=2.0
    )
    torch.manual_seed(seed)
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nm a\nma n</w>\nd o\ndo g</w>\n")
    return folder
