"""Drawing on frames: a box, an id and a fading trail for each track, bars for actions; without OpenCV.

Pillow draws the strokes because it does so several times faster than the numpy fallback of
supervision's annotators, and with smooth edges.
"""

from __future__ import annotations

import colorsys
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import supervision as sv
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from svit.types import ActionScores, Image

Colour = tuple[int, int, int]
Point = tuple[float, float]
Trails = dict[int, list[Point]]
"""Track id to its latest positions (bottom centre of the box, pixels), oldest first."""

SUPERSAMPLING = 4
"""Trails are drawn this much larger and averaged down: Pillow's own lines have ragged edges."""

DARK_INK, LIGHT_INK = (20, 20, 20), (255, 255, 255)
ACTION_COLOUR = (31, 95, 191)
SHADE = 0.6
"""How dark the ground of action labels is: 0 is the picture, 1 is `DARK_INK`."""
BRIGHT = 140
"""Luminance (0-255) above which a label's letters are dark."""


@cache
def id_colour(track_id: int) -> Colour:
    """A strong RGB colour for a track id: always the same for one id, far apart for neighbouring ids."""
    # Steps of the golden ratio never close the hue circle, so any number of ids stay distinct.
    hue = (0.58 + track_id * 0.618033988749895) % 1.0
    lightness = 0.56 if track_id % 2 == 0 else 0.46
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_tracks(image: Image, tracks: sv.Detections, trails: Trails | None = None) -> Image:
    """Draws boxes with id labels, and a trail for each track that has one, on a copy of a frame.

    Args:
        image: RGB (height, width, 3) uint8; left as it is.
        tracks: boxes xyxy in pixels, with `tracker_id`; boxes that are not finite are left out.
        trails: where each id has been, see `TrackPainter`; None draws boxes and labels only.

    Returns:
        A new RGB (height, width, 3) uint8 array.
    """
    canvas = PillowImage.fromarray(np.ascontiguousarray(image))
    style = _Style.of(canvas.width, canvas.height)
    boxes = _drawable(tracks, canvas.width, canvas.height)
    for track_id in boxes:
        _draw_trail(canvas, (trails or {}).get(track_id, []), id_colour(track_id), style)
    pen = ImageDraw.Draw(canvas)
    for track_id, box in boxes.items():
        pen.rectangle(box, outline=id_colour(track_id), width=style.line)
    # Labels last: a label must stay readable where another person's box crosses it.
    for track_id, box in boxes.items():
        _draw_label(pen, f"#{track_id}", box, id_colour(track_id), style)
    return np.array(canvas)


def draw_actions(image: Image, scores: ActionScores, count: int = 3) -> Image:
    """Draws the most probable classes with their probabilities as bars, lower left, on a copy of a frame.

    Args:
        image: RGB (height, width, 3) uint8; left as it is.
        scores: what the video is taken for.
        count: classes to name; fewer where the picture is too low for them.

    Returns:
        A new RGB (height, width, 3) uint8 array.
    """
    canvas = PillowImage.fromarray(np.ascontiguousarray(image))
    size = _Style.of(canvas.width, canvas.height).font
    font, row, pad = _font(size), round(1.5 * size), max(2, size // 3)
    best = scores.top(min(count, max(1, (canvas.height - pad) // row)))
    lines = [(_fitted(label, font, 0.6 * canvas.width), score) for label, score in best]
    number = round(font.getlength("0.00"))
    text = max(round(font.getlength(label)) for label, _ in lines)
    width = min(max(text + number + 4 * pad, canvas.width // 4), canvas.width)
    height = min(len(lines) * row + pad, canvas.height)
    top = canvas.height - height
    panel = canvas.crop((0, top, width, canvas.height))
    panel = PillowImage.blend(panel, PillowImage.new("RGB", panel.size, DARK_INK), SHADE)
    pen = ImageDraw.Draw(panel)
    for place, (label, score) in enumerate(lines):
        y = pad + place * row
        pen.rectangle((0, y, round((width - 1) * score), y + row - pad), fill=ACTION_COLOUR)
        middle = y + (row - pad) / 2
        pen.text((pad, middle), label, fill=LIGHT_INK, font=font, anchor="lm")
        pen.text((width - pad, middle), f"{score:.2f}", fill=LIGHT_INK, font=font, anchor="rm")
    canvas.paste(panel, (0, top))
    return np.array(canvas)


@dataclass
class TrackPainter:
    """Draws one stream's tracks and remembers where they went: one painter per stream.

    Attributes:
        trail_frames: length of a trail in frames; also how long a track that is gone is remembered,
            so memory is bounded by the tracks of the last `trail_frames` frames. 0 draws no trails.
    """

    trail_frames: int = 30
    _trails: dict[int, deque[Point]] = field(default_factory=dict, repr=False)
    _last_seen: dict[int, int] = field(default_factory=dict, repr=False)
    _frame: int = field(default=0, repr=False)

    def update(self, tracks: sv.Detections) -> None:
        """Takes a frame's positions into the trails without drawing."""
        self._frame += 1
        for track_id, (left, _, right, bottom) in _finite_boxes(tracks):
            trail = self._trails.setdefault(track_id, deque(maxlen=self.trail_frames))
            trail.append(((left + right) / 2, bottom))
            self._last_seen[track_id] = self._frame
        gone = [key for key, seen in self._last_seen.items() if self._frame - seen >= self.trail_frames]
        for track_id in gone:
            del self._trails[track_id], self._last_seen[track_id]

    def draw(self, image: Image, tracks: sv.Detections) -> Image:
        """Draws `tracks` with the trails as they are, on a copy of `image`."""
        return draw_tracks(image, tracks, self.trails())

    def paint(self, image: Image, tracks: sv.Detections) -> Image:
        """`update`, then `draw`: the next frame of an annotated video."""
        self.update(tracks)
        return self.draw(image, tracks)

    def trails(self) -> Trails:
        """The trails held now."""
        return {track_id: list(trail) for track_id, trail in self._trails.items()}


@dataclass(frozen=True, slots=True)
class _Style:
    """Stroke and letter sizes in pixels, in proportion to the picture."""

    line: int
    trail: int
    font: int

    @classmethod
    def of(cls, width: int, height: int) -> _Style:
        side = min(width, height)
        return cls(line=max(2, round(side / 170)), trail=max(2, round(side / 150)), font=max(11, side // 25))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text on one line, cut where it is wider than `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def _finite_boxes(tracks: sv.Detections) -> list[tuple[int, tuple[float, float, float, float]]]:
    if tracks.tracker_id is None:
        return []
    pairs = zip(tracks.tracker_id.tolist(), tracks.xyxy, strict=True)
    return [(track_id, tuple(box.tolist())) for track_id, box in pairs if np.isfinite(box).all()]


def _drawable(tracks: sv.Detections, width: int, height: int) -> dict[int, tuple[int, int, int, int]]:
    """Boxes in whole pixels by id, clipped to just outside the picture; without those wholly outside."""
    boxes = {}
    for track_id, box in _finite_boxes(tracks):
        left, right = sorted((box[0], box[2]))
        top, bottom = sorted((box[1], box[3]))
        if right < 0 or bottom < 0 or left > width or top > height:
            continue
        # A border that leaves the picture stays outside it, so a cut-off person looks cut off.
        low, high = np.array([-9, -9]), np.array([width + 8, height + 8])
        corners = np.clip(np.rint([[left, top], [right, bottom]]).astype(np.int64), low, high)
        x1, y1, x2, y2 = (int(value) for value in corners.ravel())
        boxes[track_id] = (x1, y1, x2, y2)
    return boxes


def _draw_label(
    pen: ImageDraw.ImageDraw, text: str, box: tuple[int, int, int, int], colour: Colour, style: _Style
) -> None:
    font = _font(style.font)
    _, _, text_width, _ = font.getbbox(text)
    width, height = int(text_width) + style.font // 2 + 2, style.font + style.font // 3
    picture_width, picture_height = pen.im.size
    x = min(max(box[0], 0), picture_width - width)
    # Above the box; where there is no room, inside its upper edge.
    y = box[1] - height + style.line if box[1] - height >= 0 else max(box[1], 0)
    y = min(y, picture_height - height)
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = DARK_INK if luminance > BRIGHT else LIGHT_INK
    pen.text((x + width / 2, y + height / 2), text, fill=ink, font=font, anchor="mm")


def _draw_trail(canvas: PillowImage.Image, trail: list[Point], colour: Colour, style: _Style) -> None:
    """A line through the positions that fades towards the oldest and ends in a dot at the newest."""
    if not trail[1:]:
        return
    points = np.asarray(trail, np.float64).clip(-4096, 4096 + max(canvas.size))
    margin = style.trail + 2
    left, top = np.floor(points.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + margin
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, canvas.width), min(bottom, canvas.height)
    if left >= right or top >= bottom:
        return
    mask = _trail_mask(points - (left, top), (int(right - left), int(bottom - top)), style.trail)
    canvas.paste(colour, (int(left), int(top)), mask)


def _trail_mask(points: npt.NDArray[np.float64], size: tuple[int, int], thickness: int) -> PillowImage.Image:
    large = PillowImage.new("L", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING), 0)
    pen = ImageDraw.Draw(large)
    scaled = [(float(x), float(y)) for x, y in points * SUPERSAMPLING]
    for number, (start, end) in enumerate(pairwise(scaled), 1):
        strength = round(30 + 225 * number / (len(scaled) - 1))
        pen.line((start, end), fill=strength, width=thickness * SUPERSAMPLING)
        _dot(pen, end, thickness * SUPERSAMPLING / 2, strength)
    _dot(pen, scaled[-1], thickness * SUPERSAMPLING, 255)
    return large.reduce(SUPERSAMPLING)


def _dot(pen: ImageDraw.ImageDraw, centre: Point, radius: float, strength: int) -> None:
    x, y = centre
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=strength)
