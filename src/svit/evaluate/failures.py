"""The worst identity switches and misses of a tracker, and pictures of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from svit.data.people import corners
from svit.types import Image

if TYPE_CHECKING:
    import supervision as sv
    from PIL import ImageDraw

    from svit.data.mot_files import Rows
    from svit.data.video_frames import FrameReader

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FRAME, ID, CONFIDENCE = 0, 1, 6
CELL = (320, 240)
"""Width and height of a picture, pixels."""
ROOM = 1.6
"""A picture shows this many times the person's height."""
SMALLEST = 48
"""Pixels; a picture shows at least this much of the frame's height, however small the person."""
DASH = 6


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong.

    Attributes:
        kind: "switch" or "miss".
        sequence: where.
        person: id in the ground truth.
        cost: frames; of a switch, those of the shorter of the two pieces that the track was cut into; of a
            miss, how many in a row.
        frames: those to show, from 1; of a switch the last matched one before and that of the switch, of a
            miss the one where the person is largest.
        first, last: the frames it spans.
        tracks: ids before and after the switch; none for a miss.
    """

    kind: str
    sequence: str
    person: int
    cost: int
    frames: tuple[int, ...]
    first: int
    last: int
    tracks: tuple[int, ...] = ()

    def caption(self) -> str:
        """What happened, in a line."""
        if self.kind == "switch":
            before, after = self.tracks
            return f"{self.sequence}: person {self.person}, id {before} becomes {after} in frame {self.last}"
        if self.cost == 1:
            return f"{self.sequence}: person {self.person} missed in frame {self.first}"
        return f"{self.sequence}: person {self.person} missed in {self.cost} frames, {self.first}-{self.last}"


def find_switches(sequence: str, gt: Rows, switches: Ints, misses: Ints) -> Iterator[Failure]:
    """The identity switches of a sequence, with what each of them cost.

    Args:
        sequence: its name.
        gt: (N, C) rows of the ground truth: frame, id, box, confidence ...
        switches: (S, 4) frame, gt id, id before, id after.
        misses: (M, 2) frame, gt id.
    """
    for person, frames in _people(gt, switches[:, 1]):
        of_person = switches[switches[:, 1] == person]
        of_person = of_person[np.argsort(of_person[:, 0])]
        matched = np.setdiff1d(frames, misses[misses[:, 1] == person, 0])
        cuts = np.searchsorted(matched, of_person[:, 0])
        pieces = np.diff(cuts, prepend=0, append=len(matched))
        for number, (frame, _, before, after) in enumerate(of_person.tolist()):
            cost = int(min(pieces[number], pieces[number + 1]))
            last_before = int(matched[cuts[number] - 1]) if cuts[number] else frame
            yield Failure(
                "switch", sequence, person, cost, (last_before, frame), last_before, frame, (before, after)
            )


def find_misses(sequence: str, gt: Rows, misses: Ints) -> Iterator[Failure]:
    """For each person that was missed, the longest time without a track.

    Args:
        sequence: its name.
        gt: (N, C) rows of the ground truth: frame, id, box, confidence ...
        misses: (M, 2) frame, gt id.
    """
    for person, frames in _people(gt, misses[:, 1]):
        missed = np.isin(frames, misses[misses[:, 1] == person, 0])
        edges = np.diff(missed.astype(np.int8), prepend=0, append=0)
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        if not starts.size:
            continue
        longest = int(np.argmax(ends - starts))
        run = frames[starts[longest] : ends[longest]]
        boxes = gt[(gt[:, ID] == person) & np.isin(gt[:, FRAME], run)]
        shown = int(boxes[np.argmax(boxes[:, 4] * boxes[:, 5]), FRAME])
        yield Failure("miss", sequence, person, len(run), (shown,), int(run[0]), int(run[-1]))


def worst(failures: Iterable[Failure], count: int) -> list[Failure]:
    """The `count` that cost most, one for each person, the worst first."""
    ranked = sorted(failures, key=lambda failure: (-failure.cost, failure.sequence, failure.first))
    of_people: dict[tuple[str, int], Failure] = {}
    for failure in ranked:
        of_people.setdefault((failure.sequence, failure.person), failure)
    return list(of_people.values())[:count]


def draw_failure(failure: Failure, frames: FrameReader, gt: Rows, results: Rows) -> list[Image]:
    """Pictures of a failure, one for each of its frames, all of the same place.

    The person of the ground truth has a dashed white box; tracks have theirs in colour with the id: those of
    the switch, or all that are near a missed person.

    Args:
        failure: what to show.
        frames: the sequence's pictures.
        gt: rows of the ground truth.
        results: rows of the tracker.

    Returns:
        RGB pictures of at most `CELL`.
    """
    of_person = gt[(gt[:, ID] == failure.person) & np.isin(gt[:, FRAME], failure.frames)]
    pictures = []
    for number in failure.frames:
        image = frames[number - 1]
        window = _window(corners(of_person[:, 2:6]), image.shape[1], image.shape[0])
        tracks = results[results[:, FRAME] == number]
        if failure.tracks:
            tracks = tracks[np.isin(tracks[:, ID], failure.tracks)]
        pictures.append(_picture(image, window, of_person[of_person[:, FRAME] == number], tracks))
    return pictures


def jpeg(image: Image) -> bytes:
    """The picture as a JPEG file."""
    from PIL import Image as PillowImage

    out = io.BytesIO()
    PillowImage.fromarray(image).save(out, format="JPEG", quality=88)
    return out.getvalue()


def _people(gt: Rows, ids: Ints) -> Iterator[tuple[int, Ints]]:
    """Each of the ids, with the frames in which the person counts."""
    if gt.shape[1] > CONFIDENCE:
        gt = gt[np.trunc(gt[:, CONFIDENCE]) != 0]
    for person in np.unique(ids).tolist():
        yield int(person), np.unique(gt[gt[:, ID] == person, FRAME]).astype(np.int64)


def _window(boxes: Floats, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a frame around all boxes, in the shape of a cell; as much of it as the frame has."""
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = boxes[:, 2:].max(axis=0)
    shape = CELL[0] / CELL[1]
    tall = max((bottom - top) * ROOM, (right - left) * ROOM / shape, SMALLEST)
    size = np.minimum(np.ceil([tall * shape, tall]), (width, height)).astype(np.int64)
    corner = np.rint([(left + right) / 2, (top + bottom) / 2] - size / 2).astype(np.int64)
    x, y = np.clip(corner, 0, (width, height) - size).tolist()
    return x, y, x + int(size[0]), y + int(size[1])


def _picture(image: Image, window: tuple[int, int, int, int], person: Rows, tracks: Rows) -> Image:
    from PIL import Image as PillowImage
    from PIL import ImageDraw

    from svit.video.draw import draw_tracks
    from svit.video.letterbox import fit

    left, top, right, bottom = window
    small, scale = fit(image[top:bottom, left:right], *CELL)
    corner = np.array([left, top, left, top], dtype=np.float64)
    # Drawn at the size of the cell, so that lines and letters stay sharp and readable; the tracks last,
    # because a dashed box would make their labels unreadable.
    canvas = PillowImage.fromarray(np.ascontiguousarray(small))
    for box in ((corners(person[:, 2:6]) - corner) * scale).tolist():
        _dashed(ImageDraw.Draw(canvas), box)
    boxes = (corners(tracks[:, 2:6]) - corner) * scale
    return draw_tracks(np.asarray(canvas), _detections(boxes, tracks[:, ID]))


def _detections(boxes: Floats, ids: Floats) -> sv.Detections:
    import supervision as sv

    return sv.Detections(xyxy=boxes.astype(np.float32), tracker_id=ids.astype(np.int64))


def _dashed(pen: ImageDraw.ImageDraw, box: Sequence[float]) -> None:
    """A dashed white box; the gaps are dark, so that it is seen on any ground."""
    left, top, right, bottom = box
    pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=(0, 0, 0), width=2)
    for x in np.arange(left, right, 2 * DASH).tolist():
        for y in (top, bottom - 1):
            pen.line((x, y, min(x + DASH, right), y), fill=(255, 255, 255), width=2)
    for y in np.arange(top, bottom, 2 * DASH).tolist():
        for x in (left, right - 1):
            pen.line((x, y, x, min(y + DASH, bottom)), fill=(255, 255, 255), width=2)
