"""Clips of people for training `tiny-person`: stills that move, videos, mosaics of both.

A scene is a list of pictures with boxes: one for a still, many for a video. A clip is T pictures cut from one
scene (or from four, as a mosaic) by a window that drifts, so that even a still has motion.
"""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

Boxes = npt.NDArray[np.float32]
LONG_SIDE = 800
"""Pictures are kept in memory no larger than this, pixels."""
FIRST_HELD_OUT = 281
"""Frame of PETS09-S2L1-A (from 1) from which on nothing is trained."""
MIN_SIDE, MIN_VISIBLE = 4.0, 0.25
"""Smaller boxes (pixels) and boxes cut to less than this share are ignored, not learnt."""


@dataclass(frozen=True)
class Labelled:
    """One picture: RGB uint8, people (N, 4) xyxy and regions to ignore (M, 4)."""

    image: Image.Image
    people: Boxes
    ignore: Boxes


Scene = list[Labelled]


@dataclass(frozen=True)
class Source:
    """Scenes of one kind and how often they are drawn, relative to the others."""

    name: str
    scenes: list[Scene]
    weight: float


def _xyxy(rows: list[list[float]]) -> Boxes:
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _shrink(image: Image.Image, people: Boxes, ignore: Boxes) -> Labelled:
    factor = min(1.0, LONG_SIDE / max(image.size))
    if factor < 1:
        image = image.resize(
            (round(image.width * factor), round(image.height * factor)), Image.Resampling.BILINEAR
        )
    return Labelled(image, people * factor, ignore * factor)


def stills(annotations: Path) -> list[Scene]:
    """Pictures of a COCO file; `iscrowd` boxes are ignored regions."""
    data = json.loads(annotations.read_text())
    boxes: dict[int, tuple[list[list[float]], list[list[float]]]] = {
        i["id"]: ([], []) for i in data["images"]
    }
    for row in data["annotations"]:
        boxes[row["image_id"]][row["iscrowd"]].append(row["bbox"])
    scenes = []
    for row in data["images"]:
        image = Image.open(annotations.parent / "images" / row["file_name"]).convert("RGB")
        people, ignore = boxes[row["id"]]
        scenes.append([_shrink(image, _xyxy(people), _xyxy(ignore))])
    return scenes


def sequence(folder: Path, first: int = 1, last: int = 10**9) -> Scene:
    """Frames `first` to `last` (from 1) of a MOT folder; rows with confidence 0 are to be ignored."""
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    rows = np.loadtxt(folder / "gt/gt.txt", delimiter=",", ndmin=2)
    scene = []
    for number, image in enumerate(_frames(folder, info["Sequence"].get("videoFile")), start=1):
        if first <= number <= last:
            here = rows[rows[:, 0] == number]
            person = (here[:, 6] == 1) & (here[:, 7] == 1)
            scene.append(
                _shrink(image, _xyxy(here[person, 2:6].tolist()), _xyxy(here[~person, 2:6].tolist()))
            )
    return scene


def _frames(folder: Path, video: str | None) -> Iterator[Image.Image]:
    if video is None:
        yield from (Image.open(path).convert("RGB") for path in sorted((folder / "img1").glob("*.jpg")))
        return
    with av.open(str(folder / video)) as container:
        yield from (frame.to_image() for frame in container.decode(video=0))


def training_sources(data: Path) -> list[Source]:
    """Everything that is trained on; PETS from `FIRST_HELD_OUT` on and the stills' val split are not."""
    tracking = data / "tracking"
    crowd = [sequence(path) for path in sorted((tracking / "train").glob("MOT17-*"))]
    pseudo = {path.name: path for path in sorted((tracking / "pseudo").iterdir()) if path.is_dir()}
    signs = [sequence(path) for name, path in pseudo.items() if name.startswith("ASL-")]
    indoor = ("STORE-AISLE", "WORKER-ZONE", "CORRIDOR-WALK", "CORRIDOR-PAUSE", "DOORWAY")
    return [
        Source("people stills", stills(data / "detection/people_stills/train.json"), 0.50),
        Source("coco stills", stills(data / "detection/coco128_person/train.json"), 0.06),
        Source("surveillance stills", stills(data / "detection/pseudo_fight_stills/train_pseudo.json"), 0.08),
        Source("PETS", [sequence(tracking / "train/PETS09-S2L1-A", last=280)], 0.08),
        Source("MOT17", crowd, 0.04),
        Source("one by one", [sequence(pseudo["ONE-BY-ONE"])], 0.08),
        Source("white floor", [sequence(pseudo["WALKING-WHITE-FLOOR"])], 0.06),
        Source("indoor", [sequence(pseudo[name]) for name in indoor], 0.06),
        Source("signs", signs, 0.04),
    ]


@dataclass(frozen=True)
class Window:
    """The part of a picture that fills a canvas: centre and height in its pixels, stretch of its width."""

    x: float
    y: float
    height: float
    stretch: float


def cut(
    picture: Labelled, window: Window, size: tuple[int, int], mirror: bool
) -> tuple[npt.NDArray[np.uint8], Boxes, Boxes]:
    """Fills a (rows, columns) canvas from a window of the picture; grey where the picture ends."""
    rows, columns = size
    scale_y = rows / window.height
    scale_x = scale_y * window.stretch
    left, top = window.x - columns / 2 / scale_x, window.y - rows / 2 / scale_y
    canvas = Image.new("RGB", (columns, rows), (114, 114, 114))
    x0, y0 = max(left, 0.0), max(top, 0.0)
    x1 = min(left + columns / scale_x, picture.image.width)
    y1 = min(top + rows / scale_y, picture.image.height)
    target = [
        round((x0 - left) * scale_x),
        round((y0 - top) * scale_y),
        round((x1 - left) * scale_x),
        round((y1 - top) * scale_y),
    ]
    if target[2] > target[0] and target[3] > target[1] and x1 > x0 and y1 > y0:
        wanted = (target[2] - target[0], target[3] - target[1])
        canvas.paste(picture.image.resize(wanted, Image.Resampling.BILINEAR, (x0, y0, x1, y1)), target[:2])
    move = np.array([left, top, left, top], np.float32)
    scale = np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
    people, ignore = (picture.people - move) * scale, (picture.ignore - move) * scale
    image = np.asarray(canvas)
    if mirror:
        image = image[:, ::-1]
        people, ignore = (_mirror(boxes, columns) for boxes in (people, ignore))
    return image, people, ignore


def _mirror(boxes: Boxes, columns: int) -> Boxes:
    return np.stack([columns - boxes[:, 2], boxes[:, 1], columns - boxes[:, 0], boxes[:, 3]], 1)


def clip_boxes(people: Boxes, ignore: Boxes, size: tuple[int, int]) -> tuple[Boxes, Boxes]:
    """Boxes cut to the canvas; people that are then too small or mostly outside become ignored regions."""
    limit = np.array([size[1], size[0], size[1], size[0]], np.float32)
    inside, ignored = np.clip(people, 0, limit), np.clip(ignore, 0, limit)
    sides, full = inside[:, 2:] - inside[:, :2], people[:, 2:] - people[:, :2]
    learn = (sides.min(1, initial=1e9) >= MIN_SIDE) & (sides.prod(1) >= MIN_VISIBLE * full.prod(1))
    ignored = np.concatenate([ignored, inside[~learn]])
    return inside[learn], ignored[(ignored[:, 2:] - ignored[:, :2] > 1).all(1)]


class Clips(IterableDataset):  # type: ignore[type-arg]
    """An endless stream of batches: frames (B, T, 3, H, W) uint8 with people and ignored boxes per frame."""

    def __init__(self, sources: list[Source], frames_per_batch: int, seed: int) -> None:
        self.sources, self.frames_per_batch, self.seed = sources, frames_per_batch, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, list[list[tuple[Boxes, Boxes]]]]]:
        info = get_worker_info()
        random = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            size = SIZES[random.integers(len(SIZES))]
            length = int(random.choice([1, 2, 4], p=[0.25, 0.5, 0.25]))
            clips = [self._clip(random, length, size) for _ in range(self.frames_per_batch // length)]
            yield torch.from_numpy(np.stack([images for images, _ in clips])), [boxes for _, boxes in clips]

    def _clip(
        self, random: np.random.Generator, length: int, size: tuple[int, int]
    ) -> tuple[npt.NDArray[np.uint8], list[tuple[Boxes, Boxes]]]:
        if random.random() < 0.5:
            images, boxes = self._scene_clip(random, length, size)
        else:
            images, boxes = self._mosaic(random, length, size)
        return images.transpose(0, 3, 1, 2), [clip_boxes(*pair, size) for pair in boxes]

    def _mosaic(self, random: np.random.Generator, length: int, size: tuple[int, int]):  # type: ignore[no-untyped-def]
        split_y, split_x = (int(side * random.uniform(0.35, 0.65)) // 2 * 2 for side in size)
        images = np.empty((length, *size, 3), np.uint8)
        boxes: list[list[tuple[Boxes, Boxes]]] = [[] for _ in range(length)]
        for top, bottom in ((0, split_y), (split_y, size[0])):
            for left, right in ((0, split_x), (split_x, size[1])):
                tile = (bottom - top, right - left)
                part, found = self._scene_clip(random, length, tile)
                images[:, top:bottom, left:right] = part
                for t, pair in enumerate(found):
                    people, ignore = clip_boxes(*pair, tile)
                    move = np.array([left, top, left, top], np.float32)
                    boxes[t].append((people + move, ignore + move))
        return images, [tuple(np.concatenate(kind) for kind in zip(*frame, strict=True)) for frame in boxes]

    def _scene_clip(self, random: np.random.Generator, length: int, size: tuple[int, int]):  # type: ignore[no-untyped-def]
        weights = np.array([source.weight for source in self.sources])
        source = self.sources[random.choice(len(weights), p=weights / weights.sum())]
        scene = source.scenes[random.integers(len(source.scenes))]
        pictures = _pick(random, scene, length)
        windows = _drift(random, pictures[0], length, size)
        mirror = bool(random.random() < 0.5)
        cuts = [cut(p, w, size, mirror) for p, w in zip(pictures, windows, strict=True)]
        return np.stack([image for image, _, _ in cuts]), [(people, ignore) for _, people, ignore in cuts]


SIZES = ((320, 320), (320, 320), (320, 480), (480, 320), (320, 576))
"""Rows and columns of a batch's canvas, pixels: mostly whole windows of the tiny model, for speed."""


def _pick(random: np.random.Generator, scene: Scene, length: int) -> Scene:
    """T pictures in order, 1 to 4 apart, forwards or backwards; a still is repeated."""
    stride = int(random.integers(1, 5))
    span = min((length - 1) * stride, len(scene) - 1)
    start = int(random.integers(len(scene) - span))
    picked = [scene[start + min(i * stride, span)] for i in range(length)]
    return picked[::-1] if random.random() < 0.3 else picked


def _drift(
    random: np.random.Generator, picture: Labelled, length: int, size: tuple[int, int]
) -> list[Window]:
    """Windows that move a little from frame to frame, around a person or anywhere."""
    width, height = picture.image.size
    cover, fit = sorted((height, width * size[0] / size[1]))
    tall = float(np.exp(random.uniform(np.log(0.4 * cover), np.log(1.25 * fit))))
    x, y = random.uniform(0.2, 0.8) * width, random.uniform(0.2, 0.8) * height
    if tall < fit and len(picture.people) and random.random() < 0.7:
        person = picture.people[random.integers(len(picture.people))]
        x, y = ((person[:2] + person[2:]) / 2 + random.uniform(-0.3, 0.3, 2) * tall).tolist()
    elif tall >= fit:
        x, y = width / 2 + random.uniform(-0.2, 0.2) * tall, height / 2 + random.uniform(-0.2, 0.2) * tall
    stretch = float(np.exp(random.uniform(-0.2, 0.2)))
    speed, zoom = random.normal(0, 0.015, 2) * tall, float(np.exp(random.normal(0, 0.015)))
    return [Window(x + speed[0] * t, y + speed[1] * t, tall * zoom**t, stretch) for t in range(length)]
