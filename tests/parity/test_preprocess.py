"""Preprocessing against the official pipeline's, which resizes in uint8 where ours resizes in float."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from tests.parity.golden import golden_path, load_arrays, load_manifest
from torch import Tensor

from svit.config import InputConfig
from svit.model.preprocess import fit, preprocess

CASES = ("hd_small_src", "portrait", "down_4x3", "down_odd")
LEVEL = 0.0143
"""0.8 grey levels, normalised: what the manifest allows for bilinear resizing in float."""


def settings(case: dict[str, Any]) -> InputConfig:
    short_side, long_side = sorted(case["img_scale"])
    return InputConfig(short_side=short_side, long_side=long_side)


def ours(case: dict[str, Any]) -> Tensor:
    image = np.array(Image.open(golden_path("preprocess") / case["image"]).convert("RGB"))
    return preprocess(image, settings(case), multiple=32)


def views(x: Tensor, content: tuple[int, int]) -> dict[str, Tensor]:
    """The parts of (3, H, W) that the fixtures hold, as the manifest's `keys` define them."""
    height, width = x.shape[1:]
    rows, columns = content
    return {
        "grid": x[:, ::8, ::8],
        "crop_tl": x[:, :48, :48],
        "crop_mid": x[:, height // 2 : height // 2 + 48, width // 2 : width // 2 + 48],
        "crop_br": x[:, -64:, -64:],
        "crop_content_br": x[:, rows - 40 : rows, columns - 40 : columns],
    }


@pytest.mark.parametrize("name", CASES)
def test_sizes_and_scale_are_the_official_ones(name: str) -> None:
    case = load_manifest("preprocess")["cases"][name]
    found = fit(*case["src_hw"], settings(case))
    assert [found.height, found.width] == case["content_hw"]
    assert found.scale * 2 == pytest.approx(case["scale_factor"], rel=1e-7)
    assert list(ours(case).shape) == case["out_chw"]


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_the_official_ones(name: str) -> None:
    case = load_manifest("preprocess")["cases"][name]
    x, stored = ours(case), load_arrays(f"preprocess/{case['file']}")
    for key, part in views(x, tuple(case["content_hw"])).items():
        torch.testing.assert_close(part, torch.from_numpy(stored[key]).float(), atol=LEVEL, rtol=0)
    assert_sums(x, stored, case["content_hw"])


def assert_sums(x: Tensor, stored: dict[str, npt.NDArray[Any]], content: list[int]) -> None:
    """Over the whole picture, parts that are not stored included, the mean differs by at most 0.2 levels."""
    pixels = content[0] * content[1]
    for key, sums in (("channel_sum", x.double()), ("channel_abs_sum", x.double().abs())):
        assert np.abs(sums.sum((1, 2)).numpy() - stored[key]).max() / pixels < LEVEL / 4


@pytest.mark.parametrize("name", CASES)
def test_padding_is_exactly_zero(name: str) -> None:
    case = load_manifest("preprocess")["cases"][name]
    rows, columns = case["content_hw"]
    x = ours(case)
    assert bool((x[:, rows:] == 0).all())
    assert bool((x[:, :, columns:] == 0).all())
    assert bool((x[:, rows - 1, columns - 1] != 0).any())
