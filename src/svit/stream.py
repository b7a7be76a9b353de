"""One video through the model: a memory and a tracker that belong together."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import supervision as sv
import torch

from svit.errors import UsageError
from svit.model.memory import StreamMemory
from svit.model.preprocess import check_image, preprocess
from svit.model.video_model import VideoModel
from svit.tracking import ByteTracker
from svit.types import FrameResult
from svit.video import Source, open_source
from svit.weights import DEFAULT_MODEL, Precision, load

RATE = 25.0
"""Frames per second assumed for frames that come without a timestamp."""


class Tracker(Protocol):
    """What a stream asks of a tracker; every tracker of the `trackers` package has it."""

    def update(self, detections: sv.Detections) -> sv.Detections:
        """Takes a frame's detections, returns those of tracks; a negative `tracker_id` means none yet."""
        ...


class Stream:
    """ONE video or camera, frame by frame. Any number of streams may share a model.

    Args:
        model: with a detector, from `svit.load` or `svit.build`. Not changed, holds no state.
        memory: frames remembered, the current one included; None is the model's own setting.
        tracker: association; None is `svit.tracking.ByteTracker` with the model's settings.

    Raises:
        UsageError: the model has no detector, or the memory is below 1.
    """

    def __init__(self, model: VideoModel, memory: int | None = None, tracker: Tracker | None = None) -> None:
        if model.detector is None:
            raise UsageError(f"model '{model.config.name}' has no detector, so it cannot track")
        settings = model.config.encoder
        self.model = model
        self.tracker: Tracker = tracker or ByteTracker(**model.config.tracker.model_dump())
        self._memory = StreamMemory(settings.memory if memory is None else memory, settings.eviction)
        self._input_shape: tuple[int, ...] | None = None
        self._frames = 0

    def step(self, frame: npt.NDArray[np.uint8], timestamp: float | None = None) -> FrameResult:
        """Detects and tracks in the next frame.

        Args:
            frame: RGB (height, width, 3) uint8, of any size.
            timestamp: seconds since the first frame; None counts 25 frames a second.

        Returns:
            Detections and tracks in the pixels of `frame`.

        Raises:
            UsageError: not an RGB uint8 picture.
        """
        check_image(frame)
        inputs = self._prepare(frame)
        found, self._memory = self.model.detect(inputs, self._memory, [(frame.shape[0], frame.shape[1])])
        detections = found[0][0]
        tracked = self.tracker.update(detections)
        seconds = self._frames / RATE if timestamp is None else float(timestamp)
        result = FrameResult(self._frames, seconds, detections, _only_tracks(tracked), frame)
        self._frames += 1
        return result

    def _prepare(self, frame: npt.NDArray[np.uint8]) -> torch.Tensor:
        """The network's input (1, 1, 3, H, W); a new memory if its size has changed."""
        weight = self.model.encoder.positions
        config = self.model.config
        inputs = preprocess(frame, config.input, config.stride, weight.device)[None, None]
        shape = tuple(inputs.shape)
        if self._input_shape not in (None, shape):
            size = f"{frame.shape[1]}x{frame.shape[0]}"
            warnings.warn(
                f"frame {self._frames}: the size changes to {size}; the memory starts anew", stacklevel=3
            )
            self._memory = StreamMemory(self._memory.capacity, self._memory.eviction)
        self._input_shape = shape
        return inputs

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on in another process with identical results.

        Tensors, numbers and strings only: `torch.save` it, and `torch.load(..., weights_only=True)`.

        Raises:
            UsageError: the tracker cannot be saved.
        """
        save = cast(Callable[[], dict[str, Any]], self._tracker_method("state_dict"))
        state: dict[str, Any] = {"frames": self._frames, "input_shape": list(self._input_shape or ())}
        state |= {f"memory.{key}": value for key, value in self._memory.state_dict().items()}
        return state | {f"tracker.{key}": _portable(value) for key, value in save().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where the stream that wrote `state` was; the model must be the same, the device need not.

        Raises:
            UsageError: `state` is damaged, or of another precision or kind of tracker; this stream then stays
                as it was.
        """
        resume = cast(Callable[[Mapping[str, Any]], None], self._tracker_method("load_state_dict"))
        frames, *shape = _counts(state)
        memory = StreamMemory()
        memory.load_state_dict(_part(state, "memory."))
        weight = self.model.encoder.positions
        saved = {str(tensor.dtype) for layer in memory.layers for tensor in layer}
        if not saved <= {str(weight.dtype)}:
            raise UsageError(f"this stream was saved in {', '.join(saved)}, the model is in {weight.dtype}")
        resume({key: _native(value) for key, value in _part(state, "tracker.").items()})
        self._memory, self._frames, self._input_shape = memory.to(weight.device), frames, tuple(shape) or None

    def _tracker_method(self, name: str) -> object:
        method = getattr(self.tracker, name, None)
        if method is None:
            raise UsageError(f"{type(self.tracker).__name__} cannot be saved: it has no {name}")
        return method


def track(  # noqa: PLR0913 - the command line's options
    source: str | int | Path | Source,
    model: VideoModel | str | Path = DEFAULT_MODEL,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    memory: int | None = None,
    tracker: Tracker | None = None,
    every_frame: bool = False,
) -> Iterator[FrameResult]:
    """Tracks through a whole source, one result per frame.

    Args:
        source: video file, folder of images, camera number, address, or an opened `Source`.
        model: a model, or what `svit.load` takes.
        device: where a model that is loaded here runs; see `svit.load`.
        precision: of a model that is loaded here; see `svit.load`.
        memory: frames remembered; None is the model's setting.
        tracker: see `Stream`.
        every_frame: of a live source, keep every frame instead of the newest only.

    Raises:
        SvitError: anything a user can mend: the source, the model, a setting. Results before it stand.
    """
    if not isinstance(model, VideoModel):
        model = load(model, device, precision)
    elif device is not None or precision is not None:
        raise UsageError("device and precision go with a model's name; a loaded model has its own")
    stream = Stream(model, memory, tracker)
    opened = (
        nullcontext(source) if isinstance(source, Source) else open_source(source, every_frame=every_frame)
    )
    with opened as frames:
        for frame in frames:
            result = stream.step(frame.image, frame.timestamp)
            yield FrameResult(frame.index, result.timestamp, result.detections, result.tracks, result.image)


def _only_tracks(tracked: sv.Detections) -> sv.Detections:
    ids = tracked.tracker_id
    if ids is None or not (ids < 0).any():
        return tracked
    return cast(sv.Detections, tracked[ids >= 0])


def _portable(value: object) -> object:
    """Arrays as tensors, because `torch.load(weights_only=True)` refuses numpy's."""
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _native(value: object) -> object:
    return value.cpu().numpy() if isinstance(value, torch.Tensor) else value


def _counts(state: Mapping[str, Any]) -> list[int]:
    """The number of frames, then the input's shape, from a stream's state."""
    try:
        counts = [operator.index(number) for number in (state["frames"], *state["input_shape"])]
    except (KeyError, TypeError):
        counts = [-1]
    if min(counts) < 0:
        raise UsageError("this is not the state of a Stream: frames or input_shape are missing or no numbers")
    return counts


def _part(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
