"""Access to the golden fixtures: outputs of the official code, kept beside the project.

A test that asks for a fixture is skipped, with the reason, where the folder is not there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

_GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
_CANVAS_ZOOM = 4
_CANVAS_UNIT = 32


def golden_path(name: str) -> Path:
    """A file or folder of the fixtures, e.g. "full_size_keys.json"; skips the test where it is not there."""
    path = _GOLDEN / name
    if not path.exists():
        pytest.skip(f"golden fixture {name} is not there: shared/golden must stand beside the project's root")
    return path


def load_json(name: str) -> Any:
    """A JSON file, e.g. "detector/manifest.json"."""
    return json.loads(golden_path(name).read_text())


def load_manifest(folder: str) -> Any:
    """The manifest of one folder, e.g. "detector"."""
    return load_json(f"{folder}/manifest.json")


def load_tensors(name: str) -> dict[str, Tensor]:
    """A safetensors file, e.g. "detector/infer_c1.safetensors"; weights stored as float16 come as float32."""
    tensors = load_file(golden_path(name))
    return {key: x.float() if x.dtype == torch.float16 else x for key, x in tensors.items()}


def load_arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    """An npz file, e.g. "tracker/kalman.npz"."""
    with np.load(golden_path(name), allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def build_frames(tensors: dict[str, Tensor], shape_tbchw: Sequence[int]) -> Tensor:
    """The frames a fixture was made from: crops of an enlarged canvas, (B, T, 3, H, W) float32.

    `shape_tbchw` is the manifest's `shape_TBCHW` or `input_shape_TBCHW`.
    """
    frames, streams, _, height, width = shape_tbchw
    canvas = tensors["canvas"].repeat_interleave(_CANVAS_ZOOM, 2).repeat_interleave(_CANVAS_ZOOM, 3)
    offsets = tensors["offsets"].tolist()
    crops = [
        torch.stack([canvas[b, :, y : y + height, x : x + width] for b, (y, x) in enumerate(offsets[t])])
        for t in range(frames)
    ]
    assert len(crops[0]) == streams
    return torch.stack(crops, dim=1).float() / _CANVAS_UNIT
