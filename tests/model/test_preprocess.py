"""A picture becomes the network's input: the sizes' rule, the values, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from svit.config import InputConfig
from svit.errors import UsageError
from svit.model.preprocess import fit, preprocess

OFFICIAL = InputConfig()
SMALL = InputConfig(short_side=64, long_side=96)


@pytest.mark.parametrize(
    ("size", "content", "padded"),
    [
        ((1920, 1080), (1422, 800), (1440, 800)),
        ((1080, 1920), (800, 1422), (800, 1440)),
        ((1440, 800), (1440, 800), (1440, 800)),
        ((640, 480), (1067, 800), (1088, 800)),
        ((4000, 400), (1440, 144), (1440, 160)),
        ((1000, 1), (1440, 1), (1440, 32)),
        ((1, 1), (800, 800), (800, 800)),
    ],
)
def test_fits_both_limits_and_pads_to_the_stride(
    size: tuple[int, int], content: tuple[int, int], padded: tuple[int, int]
) -> None:
    found = fit(size[1], size[0], OFFICIAL)
    assert (found.width, found.height) == content
    assert found.scale == (content[0] / size[0], content[1] / size[1])
    x = preprocess(np.zeros((size[1], size[0], 3), np.uint8), OFFICIAL, multiple=32)
    assert (x.shape[2], x.shape[1]) == padded
    assert x.dtype == torch.float32


def test_pixels_are_normalised_in_rgb_and_padding_is_zero() -> None:
    image = np.empty((64, 80, 3), np.uint8)
    image[:] = (200, 100, 50)
    x = preprocess(image, SMALL, multiple=32)
    assert x.shape == (3, 64, 96)
    expected = [(v - m) / s for v, m, s in zip((200, 100, 50), SMALL.mean, SMALL.std, strict=True)]
    for channel, value in zip(x, expected, strict=True):
        torch.testing.assert_close(channel[:, :80], torch.full((64, 80), value))
    assert bool((x[:, :, 80:] == 0).all())


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    x = preprocess(image, SMALL, multiple=32)
    mean, std = (torch.tensor(v)[:, None, None] for v in (SMALL.mean, SMALL.std))
    pixels = torch.from_numpy(image).permute(2, 0, 1).float()
    torch.testing.assert_close(x * std + mean, pixels, atol=1e-3, rtol=0)


def test_resizing_interpolates_between_the_centres_of_pixels() -> None:
    config = InputConfig(short_side=2, long_side=4, mean=(0, 0, 0), std=(1, 1, 1))
    image = np.array([[[0, 0, 0], [200, 100, 40]]], np.uint8)
    x = preprocess(image, config, multiple=1)
    for channel, value in zip(x, (200, 100, 40), strict=True):
        torch.testing.assert_close(channel, torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(2, 4) * value)


def test_views_of_any_memory_layout_are_the_same_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    flipped = np.ascontiguousarray(image[::-1, :, ::-1])[::-1, :, ::-1]  # as from a BGR or upside-down buffer
    for view in (flipped, np.asfortranarray(image)):
        assert torch.equal(preprocess(view, SMALL, 32), preprocess(image, SMALL, 32))


@pytest.mark.filterwarnings("error")
def test_a_read_only_picture_is_taken_without_a_warning() -> None:
    image = np.asarray(Image.new("RGB", (70, 50)))  # Pillow's arrays are read-only
    assert not image.flags.writeable
    assert torch.equal(preprocess(image, SMALL, 32), preprocess(image.copy(), SMALL, 32))


def test_the_picture_is_left_as_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    before = image.copy()
    preprocess(image, SMALL, multiple=32)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 30), np.uint8),
        np.zeros((20, 30, 1), np.uint8),
        np.zeros((20, 30, 4), np.uint8),
        np.zeros((3, 20, 30), np.uint8),
        np.zeros((1, 20, 30, 3), np.uint8),
        np.zeros((20, 30, 3), np.uint16),
        np.zeros((20, 30, 3), np.float32),
        np.full((20, 30, 3), np.nan),
        np.zeros((20, 30, 3), bool),
        np.zeros((0, 30, 3), np.uint8),
        np.zeros((20, 0, 3), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
        [[[0, 0, 0]]],
        None,
        torch.zeros(20, 30, 3, dtype=torch.uint8),
    ],
    ids=[
        "grey", "grey with axis", "RGBA", "channels first", "batch", "16-bit", "float", "NaN", "bool",
        "no rows", "no columns", "empty", "list", "None", "tensor",
    ],
)  # fmt: skip
def test_anything_but_rgb_uint8_is_refused_in_one_line(image: object) -> None:
    with pytest.raises(UsageError, match="a frame must") as error:
        preprocess(image, SMALL, multiple=32)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
