"""Made-up clips whose class is in the order of their frames alone, over real backgrounds.

Classes come in pairs, and a clip of the second class is one of the first played backwards: the same frames,
so that whoever does not see their order cannot tell the two apart. A thing (a piece of another picture) moves
to the left or right, approaches or recedes, appears or disappears, covers another or uncovers it; or it
breaks apart, played forward or backward. Other things sway to and fro, and the background drifts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from svit.data.actions.clips import ActionSample
from svit.data.actions.find import walk_videos
from svit.data.actions.randaugment import Clip
from svit.data.actions.settings import SyntheticConfig
from svit.data.actions.things import Sprite, Thing, cut_thing, in_pieces, paint_sprites
from svit.data.video_frames import open_frames
from svit.errors import DataError, SvitError
from svit.types import Image
from svit.video.images import IMAGE_SUFFIXES, read_image

PAIRS = {
    "moves": ("moves left", "moves right"),
    "approaches": ("approaches", "recedes"),
    "appears": ("appears", "disappears"),
    "covers": ("covers", "uncovers"),
    "plays": ("played forward", "played backward"),
}
"""Classes by pair; the first is made, the second is its frames in reverse."""

BORDER = 1.25
"""Backgrounds are this much larger than a frame, so that they can drift."""


class SyntheticClips:
    """Clips by number, as `ActionClips` gives them: from 0 without end, a function of seed and number alone.

    Labels go round: clip n is of class n modulo the number of classes.

    Args:
        backgrounds: pictures, from `load_backgrounds` or anywhere; of any size.
        config: None is its defaults.
        seed: another seed, other clips.

    Attributes:
        per_epoch: clips of an epoch.
        classes: their names, by label.

    Raises:
        DataError: there are no backgrounds.
    """

    def __init__(
        self, backgrounds: Sequence[Image], config: SyntheticConfig | None = None, seed: int = 0
    ) -> None:
        if not backgrounds:
            raise DataError("synthetic clips need at least one picture for their backgrounds")
        self._config = config = config or SyntheticConfig()
        self._seed = seed
        self._pictures = [_fitted(picture, round(config.size * BORDER)) for picture in backgrounds]
        self.per_epoch = config.clips
        self.classes = [name for pair in config.pairs for name in PAIRS[pair]]

    def __getitem__(self, number: int) -> ActionSample:
        """The clip of this number."""
        label = number % len(self.classes)
        times = np.arange(self._config.length) / self._config.rate
        return ActionSample(self.clip(number, label), label, times, f"synthetic {self._seed}/{number}", [])

    def clip(self, scene: int, label: int) -> Clip:
        """A scene as a clip of a class: (length, size, size, 3) uint8.

        The two classes of a pair give the same frames of a scene, in reverse order.
        """
        config = self._config
        pair = config.pairs[label // 2]
        rng = np.random.default_rng([self._seed, scene, list(PAIRS).index(pair)])
        frames = self._background(rng)
        swaying = [self._swaying(rng) for _ in range(int(rng.integers(config.distractors + 1)))]
        sprites = EVENTS[pair](lambda: self._thing(rng), config.length, rng)
        paint_sprites(frames, [*swaying, *sprites])
        return np.ascontiguousarray(frames[::-1]) if label % 2 else frames

    def _picture(self, rng: np.random.Generator) -> Image:
        return self._pictures[int(rng.integers(len(self._pictures)))]

    def _background(self, rng: np.random.Generator) -> Clip:
        """A part of a picture that drifts a little, in a straight line."""
        size, picture = self._config.size, self._picture(rng)
        room = np.array(picture.shape[:2]) - size
        start = rng.uniform(0, room)
        end = np.clip(start + rng.uniform(-1, 1, 2) * self._config.drift * size, 0, room)
        corners = np.linspace(start, end, self._config.length).astype(int)
        frames = np.stack([picture[top : top + size, left : left + size] for top, left in corners])
        return frames if self._config.contrast == 1 else _faded(frames, self._config.contrast)

    def _thing(self, rng: np.random.Generator) -> Thing:
        side = rng.uniform(*self._config.thing) * self._config.size
        return cut_thing(self._picture(rng), side, rng)

    def _swaying(self, rng: np.random.Generator) -> Sprite:
        """A thing that sways about its place, so that it comes back to where it was."""
        phase = np.linspace(0, 2 * np.pi * rng.uniform(1, 2), self._config.length) + rng.uniform(0, 2 * np.pi)
        reach, angle = rng.uniform(0.03, 0.1), rng.uniform(0, 2 * np.pi)
        x, y = rng.uniform(0.1, 0.9, 2)
        sway = reach * np.sin(phase)
        return Sprite(self._thing(rng), x + np.cos(angle) * sway, y + np.sin(angle) * sway, scale=0.7)


MakeThing = Callable[[], Thing]


def _moves(make: MakeThing, length: int, rng: np.random.Generator) -> list[Sprite]:
    """To the left, across most of the frame."""
    x = np.linspace(rng.uniform(0.7, 0.95), rng.uniform(0.05, 0.3), length)
    y = rng.uniform(0.2, 0.8) + np.linspace(0, rng.uniform(-0.15, 0.15), length)
    return [Sprite(make(), x, y)]


def _approaches(make: MakeThing, length: int, rng: np.random.Generator) -> list[Sprite]:
    """Grows to about three times its size, at its place."""
    x, y = rng.uniform(0.3, 0.7, 2)
    scale = np.geomspace(rng.uniform(0.45, 0.65), rng.uniform(1.4, 1.8), length)
    return [Sprite(make(), x + np.zeros(length), y + np.zeros(length), scale)]


def _appears(make: MakeThing, length: int, rng: np.random.Generator) -> list[Sprite]:
    """Is not there, and then is."""
    x, y = rng.uniform(0.15, 0.85, 2)
    first = int(rng.integers(max(1, length // 4), max(2, length - length // 4)))
    return [Sprite(make(), x + np.zeros(length), y + np.zeros(length), shown=np.arange(length) >= first)]


def _covers(make: MakeThing, length: int, rng: np.random.Generator) -> list[Sprite]:
    """Comes from beside another thing until it hides it."""
    under, above = make(), make()
    x, y = rng.uniform(0.3, 0.7, 2)
    angle = rng.uniform(0, 2 * np.pi)
    away = np.linspace(rng.uniform(0.35, 0.5), 0, length)
    still = Sprite(under, x + np.zeros(length), y + np.zeros(length), scale=0.7)
    larger = 1.25 * max(under.height, under.width) / min(above.height, above.width)
    cover = Sprite(above, x + np.cos(angle) * away, y + np.sin(angle) * away, scale=0.7 * max(larger, 1.0))
    return [still, cover]


def _plays(make: MakeThing, length: int, rng: np.random.Generator) -> list[Sprite]:
    """Stands, breaks into pieces, and they fly apart and fall."""
    x, y = rng.uniform(0.3, 0.7, 2)
    breaks = rng.uniform(0.1, 0.4)
    since = np.clip(np.linspace(0, 1, length) - breaks, 0, None) / (1 - breaks)
    sprites = []
    for piece, across, down in in_pieces(make(), rng):
        flight = np.sign([across, down]) * rng.uniform(0.1, 0.3, 2)
        path_x, path_y = x + flight[0] * since, y + flight[1] * since + 0.15 * since**2
        sprites.append(Sprite(piece, path_x, path_y, offset=(across, down)))
    return sprites


EVENTS: dict[str, Callable[[MakeThing, int, np.random.Generator], list[Sprite]]] = {
    "moves": _moves,
    "approaches": _approaches,
    "appears": _appears,
    "covers": _covers,
    "plays": _plays,
}


def load_backgrounds(folder: str | Path, count: int = 64, side: int = 320, seed: int = 0) -> list[Image]:
    """Real pictures for backgrounds and things: images, and frames of videos, from a folder and those below.

    Args:
        folder: looked through wholly.
        count: pictures at most, drawn from all files; several of a video where there are too few files.
        side: the shorter side they are reduced to, pixels; smaller ones stay.
        seed: another seed, other pictures.

    Raises:
        DataError: the folder is not there, or nothing in it can be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give one with images or videos")
    images = [p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    videos = [path for path in (root / name for name in walk_videos(root)) if path.is_file()]
    rng = np.random.default_rng(seed)
    found: list[Image] = []
    files = sorted({*images, *videos})
    while files and len(found) < count:
        usable = []
        for place in rng.permutation(len(files)):
            if len(found) == count:
                break
            with suppress(SvitError):  # some other file will do
                found.append(_reduced(_any_frame(files[place], rng), side))
                usable.append(files[place])
        files = sorted(set(usable) - set(images))
    if not found:
        raise DataError(f"{root}: no image or video in it can be read")
    return found


def _any_frame(path: Path, rng: np.random.Generator) -> Image:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_image(path)
    with open_frames(path) as frames:
        return frames[int(rng.integers(len(frames)))]


def _faded(frames: Clip, contrast: float) -> Clip:
    """Frames of which only a share of the contrast is left, about their mean."""
    mean = frames.mean()
    faded: Clip = (mean + contrast * (frames - mean)).astype(np.uint8)
    return faded


def _reduced(picture: Image, side: int) -> Image:
    return _resized(picture, min(1.0, side / min(picture.shape[:2])))


def _fitted(picture: Image, side: int) -> Image:
    """A picture whose shorter side is `side`."""
    return _resized(picture, side / min(picture.shape[:2]))


def _resized(picture: Image, scale: float) -> Image:
    height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
    resized = PillowImage.fromarray(picture).resize((width, height), PillowImage.Resampling.BILINEAR)
    return np.asarray(resized)
