"""From a loaded clip to a training sample: mosaic, affine map, mixup, colour, mirroring, fit and pad.

The order and the numbers are the S-ViT official settings (YOLOX's, shared over the clip). The frames that
come out are uint8: they are resized to the step's size and normalised on the device (see `multiscale`).
"""

from __future__ import annotations

import numpy as np

from svit.data.augment.canvas import Frames, paint_parts, view_labels
from svit.data.augment.clip import FrameLabels, LabelledClip, join_labels
from svit.data.augment.colour import draw_colour, shift_colour
from svit.data.augment.geometry import Matrix, Size, about, draw_affine, labels_within, mirror
from svit.data.augment.mixup import blend, draw_mixup
from svit.data.augment.mosaic import Load, draw_centre, fill_mosaic, place_alone
from svit.data.augment.settings import AugmentConfig

Sample = tuple[Frames, list[FrameLabels]]


def augment_clip(
    settings: AugmentConfig, load_random_clip: Load, clip: LabelledClip, rng: np.random.Generator
) -> LabelledClip:
    """Augments a clip; every random number is drawn once for all its frames.

    Args:
        settings: what is done.
        load_random_clip: gives another clip of the same length from the data set when called with `rng`;
            called for each further part of a mosaic that is to be seen, and for mixup.
        clip: left as it is. One with `motion` comes out moved.
        rng: drawn from; the same state gives the same result.

    Returns:
        A clip of settings.height x settings.width, without `motion`, its frames one new array
        (T, height, width, 3). Known ids of clips that were joined never collide; those of `clip` stay.

    Raises:
        ValueError: a clip that was loaded has another number of frames.
    """
    load = _of_length(load_random_clip, len(clip))
    if rng.random() < settings.mosaic:
        frames, labels = _mosaic(settings, load, clip, rng)
    else:
        frames, labels = _alone(settings, clip, rng)
    size = (settings.height, settings.width)
    return LabelledClip.of(
        frames, [labels_within(frame, size, settings.cut, settings.min_box) for frame in labels]
    )


def _of_length(load: Load, length: int) -> Load:
    def checked(rng: np.random.Generator) -> LabelledClip:
        clip = load(rng)
        if len(clip) != length:
            raise ValueError(f"a clip of {len(clip)} frames cannot be joined with one of {length}")
        return clip

    return checked


def _mosaic(settings: AugmentConfig, load: Load, clip: LabelledClip, rng: np.random.Generator) -> Sample:
    size: Size = (settings.height, settings.width)
    flip = _draw_flip(settings, size[1], rng)
    centre = draw_centre(settings.mosaic_centre, size, rng)
    view = flip @ draw_affine(settings.affine, size, rng)
    parts = fill_mosaic(clip, load, centre, (view, size), rng)
    frames = np.full((len(clip), *size, 3), settings.fill, np.uint8)
    paint_parts(parts, view, frames, settings.fill)
    labels = view_labels(parts, (2 * size[0], 2 * size[1]), view, size, settings.cut)
    if rng.random() < settings.mixup.probability:
        labels = _mix_in(settings, load(rng), flip @ draw_mixup(settings.mixup, size, rng), (frames, labels))
    shift_colour(frames, draw_colour(settings.colour, rng))
    return frames, labels


def _mix_in(settings: AugmentConfig, other: LabelledClip, view: Matrix, sample: Sample) -> list[FrameLabels]:
    """Blends another clip into a sample's frames; returns the labels of both."""
    frames, labels = sample
    # Official: a clip without a box is not mixed in; it would only take contrast away.
    if not any(len(boxes) for boxes in other.boxes):
        return labels
    size: Size = (settings.height, settings.width)
    part = place_alone(other, size)
    blend(part, view, frames, settings.fill)
    added = view_labels([part], size, view, size, settings.cut, above=labels)
    return [join_labels(pair) for pair in zip(labels, added, strict=True)]


def _alone(settings: AugmentConfig, clip: LabelledClip, rng: np.random.Generator) -> Sample:
    size: Size = (settings.height, settings.width)
    part = place_alone(clip, size)
    width, height = part.window[2:]
    view = _draw_flip(settings, width, rng)
    if settings.alone:
        view = view @ about(draw_affine(settings.alone, size, rng), width / 2, height / 2)
    frames = np.empty((len(clip), *size, 3), np.uint8)
    frames[:] = settings.fill if settings.alone else settings.pad
    paint_parts([part], view, frames, settings.fill)
    # What is padded must stay what normalisation makes 0, as in use.
    picture = frames if settings.alone else frames[:, :height, :width]
    shift_colour(picture, draw_colour(settings.colour, rng))
    return frames, view_labels([part], (height, width), view, size, settings.cut)


def _draw_flip(settings: AugmentConfig, width: int, rng: np.random.Generator) -> Matrix:
    return mirror(width) if rng.random() < settings.flip else np.eye(3)
