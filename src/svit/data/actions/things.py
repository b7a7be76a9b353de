"""Things in made-up clips: cut out of pictures, and painted into frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFilter

from svit.data.actions.randaugment import Clip
from svit.types import Image

FINE = 4
"""Outlines are drawn so many times larger, then reduced, for smooth edges."""

RIM = 0.05
"""Width of a thing's rim, fraction of its shorter side."""

Track = npt.NDArray[np.float64]
"""(T,): a value per frame."""


@dataclass(frozen=True, eq=False)
class Thing:
    """A cut-out.

    Attributes:
        picture: (height, width, 3) uint8.
        mask: (height, width) uint8; 255 belongs to it.
    """

    picture: Image
    mask: npt.NDArray[np.uint8]

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.mask.shape[1])


@dataclass(frozen=True, eq=False)
class Sprite:
    """A thing and its way through a clip.

    Attributes:
        thing: what is shown.
        x, y: (T,) its centre, fractions of the frame's sides.
        scale: its size, one for all frames or (T,).
        shown: (T,) whether it is there; None: always.
        offset: x and y pixels that it lies beside its way.
    """

    thing: Thing
    x: Track
    y: Track
    scale: Track | float = 1.0
    shown: npt.NDArray[np.bool_] | None = None
    offset: tuple[float, float] = (0.0, 0.0)


def cut_thing(picture: Image, side: float, rng: np.random.Generator) -> Thing:
    """Cuts a random piece of random outline that stands out from whatever it will lie on.

    Args:
        picture: to cut from.
        side: about the result's size, pixels.
        rng: drawn from.
    """
    ratio = np.exp(rng.uniform(-0.35, 0.35))
    height, width = max(4, round(side * ratio)), max(4, round(side / ratio))
    zoom = rng.uniform(1.0, 2.0)  # pieces of another scale than what they lie on
    tall, wide = (
        min(round(zoom * side), full) for side, full in zip((height, width), picture.shape, strict=False)
    )
    top, left = (int(rng.integers(room + 1)) for room in (picture.shape[0] - tall, picture.shape[1] - wide))
    piece = PillowImage.fromarray(picture[top : top + tall, left : left + wide]).resize((width, height))
    mask = _outline(height, width, rng)
    return Thing(_stand_out(np.asarray(piece, np.float64), mask, rng), mask)


def _stand_out(
    colours: npt.NDArray[np.float64], mask: npt.NDArray[np.uint8], rng: np.random.Generator
) -> Image:
    """A piece tinted and made bright with a dark rim, or dark with a bright one: seen on any background."""
    bright = bool(rng.random() < 0.5)
    wanted, rim = (rng.uniform(150, 210), 20) if bright else (rng.uniform(30, 70), 235)
    tinted = colours * rng.uniform(0.6, 1.4, 3)
    tinted *= wanted / max(tinted.mean(), 1.0)
    width = 2 * max(1, round(RIM * min(mask.shape))) + 1
    framed = np.pad(mask, width)  # what touches the rectangle's side has a rim there, too
    inner = np.asarray(PillowImage.fromarray(framed).filter(ImageFilter.MinFilter(width)))
    inside = inner[width:-width, width:-width, None] / 255
    return (tinted * inside + rim * (1 - inside)).clip(0, 255).astype(np.uint8)


def _outline(height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A random polygon, star-shaped about the middle, that fills most of the rectangle."""
    corners = int(rng.integers(5, 12))
    angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    reach = rng.uniform(0.75, 1.0, corners) / 2
    points = np.stack([0.5 + reach * np.cos(angles), 0.5 + reach * np.sin(angles)], axis=1)
    mask = PillowImage.new("L", (width * FINE, height * FINE))
    ImageDraw.Draw(mask).polygon([tuple(p) for p in points * (width * FINE, height * FINE)], fill=255)
    return np.asarray(mask.resize((width, height), PillowImage.Resampling.BOX))


def in_pieces(thing: Thing, rng: np.random.Generator) -> list[tuple[Thing, float, float]]:
    """Breaks a thing into four, somewhere near its middle.

    Returns:
        Each piece, and where its centre lies from the thing's centre, x and y in pixels.
    """
    y, x = (max(1, round(side * rng.uniform(0.35, 0.65))) for side in (thing.height, thing.width))
    pieces = []
    for top, bottom in ((0, y), (y, thing.height)):
        for left, right in ((0, x), (x, thing.width)):
            part = (slice(top, bottom), slice(left, right))
            across, down = (left + right - thing.width) / 2, (top + bottom - thing.height) / 2
            pieces.append((Thing(thing.picture[part], thing.mask[part]), across, down))
    return pieces


def paint_sprites(frames: Clip, sprites: Sequence[Sprite]) -> None:
    """Paints things into frames (T, height, width, 3) in place, later ones over earlier ones."""
    height, width = frames.shape[1:3]
    for number, frame in enumerate(frames):
        canvas = PillowImage.fromarray(frame)
        for sprite in sprites:
            if sprite.shown is None or sprite.shown[number]:
                scale = float(np.broadcast_to(sprite.scale, len(frames))[number])
                x = sprite.x[number] * width + sprite.offset[0]
                y = sprite.y[number] * height + sprite.offset[1]
                _paste(canvas, sprite.thing, scale, (x, y))
        frame[:] = np.asarray(canvas)


def _paste(canvas: PillowImage.Image, thing: Thing, scale: float, centre: tuple[float, float]) -> None:
    size = max(1, round(thing.width * scale)), max(1, round(thing.height * scale))
    picture, mask = PillowImage.fromarray(thing.picture), PillowImage.fromarray(thing.mask)
    if picture.size != size:
        picture, mask = picture.resize(size), mask.resize(size)
    canvas.paste(picture, (round(centre[0] - size[0] / 2), round(centre[1] - size[1] / 2)), mask)
