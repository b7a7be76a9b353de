"""One video through the model: a memory and a tracker that belong together."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import supervision as sv
import torch

from svit.errors import SvitError, UsageError
from svit.model.memory import StreamMemory
from svit.model.preprocess import check_image, fit, preprocess
from svit.model.video_model import VideoModel
from svit.tracking import ByteTracker
from svit.types import ActionScores, Frame, FrameResult, Image
from svit.video import open_source, read_ahead
from svit.weights import DEFAULT_MODEL, Precision, load

RATE = 25.0
"""Frames per second assumed for frames that come without a timestamp."""

CHUNK = 4
"""Frames of a recording at once: more keeps two cores no busier, and takes more memory."""


class Tracker(Protocol):
    """What a stream asks of a tracker; every tracker of the `trackers` package has it."""

    def update(self, detections: sv.Detections) -> sv.Detections:
        """Takes a frame's detections, returns those of tracks; a negative `tracker_id` means none yet."""
        ...


@dataclass(frozen=True)
class Sampling:
    """Which frames enter an action head's window: those nearest behind a regular grid in time.

    A camera of 60 frames a second and a file of 12 are then seen alike. A source slower than the rate gives
    all its frames.

    Attributes:
        rate: frames a second; None takes every frame.
        start: timestamp of the first frame, seconds; None before it.
        taken: number of the grid's interval that was taken last.
    """

    rate: float | None
    start: float | None = None
    taken: int = -1

    _EARLY = 0.17
    """Share of an interval by which a frame may come early, so that jitter loses none at that very rate.

    Below 1/5, so that of five times the rate every fifth enters from the start; and no simple fraction, which
    would put frames of such sources on the border.
    """

    def next(self, timestamp: float) -> tuple[bool, Sampling]:
        """Whether the frame of this time enters, and the sampling after it."""
        if self.rate is None:
            return True, self
        if self.start is None:
            return True, replace(self, start=timestamp, taken=0)
        interval = math.floor((timestamp - self.start) * self.rate + self._EARLY)
        # Unequal, not greater: a clock that was set back must not blind the stream until it catches up.
        return interval != self.taken, replace(self, taken=interval)


class Stream:
    """ONE video or camera, frame by frame. Any number of streams may share a model.

    A model that only recognises actions, at a rate of its own, looks at the frames that `Sampling` takes.
    Those between them have the answer of the one before.

    Args:
        model: with a detector, an action head or both, from `svit.load` or `svit.build`. Not changed, holds
            no state. Without a detector there are no detections and no tracks.
        memory: frames remembered, the current one included; None is the model's own setting.
        tracker: association; None is `svit.tracking.ByteTracker` with the model's settings.

    Raises:
        UsageError: the model has neither detector nor action head, or the memory is below 1.
    """

    def __init__(self, model: VideoModel, memory: int | None = None, tracker: Tracker | None = None) -> None:
        if model.detector is None and model.action is None:
            raise UsageError(
                f"model '{model.config.name}' has no detector, so it cannot track, and no action head"
            )
        self.model = model
        self.tracker: Tracker = tracker or ByteTracker(**model.config.tracker.model_dump())
        self._memory = StreamMemory.for_model(model.config.encoder, memory)
        self._sampling = Sampling(None if model.config.action is None else model.config.action.rate)
        self._scores: ActionScores | None = None
        self._input_shape: tuple[int, ...] | None = None
        self._frames = 0

    def step(self, frame: npt.NDArray[np.uint8], timestamp: float | None = None) -> FrameResult:
        """Detects and tracks in the next frame, and recognises actions, as far as the model does.

        Args:
            frame: RGB (height, width, 3) uint8, of any size.
            timestamp: seconds since the first frame; None counts 25 frames a second.

        Returns:
            Detections and tracks in the pixels of `frame`; with an action head, the classes' probabilities.

        Raises:
            UsageError: not an RGB uint8 picture.
        """
        return self.chunk([frame], None if timestamp is None else [timestamp])[0]

    def chunk(
        self, frames: Sequence[npt.NDArray[np.uint8]], timestamps: Sequence[float] | None = None
    ) -> list[FrameResult]:
        """Detects and tracks in the next frames, all of them through the encoder at once.

        The results are those of `step` frame by frame, up to rounding. It is faster where single frames leave
        the device idle, and takes memory for the activations of all frames. Where the size of the frames
        changes inside, the chunk is split there.

        Args:
            frames: as for `step`, in order; none at all is allowed.
            timestamps: seconds since the first frame, one per frame; None counts 25 frames a second.

        Returns:
            One result per frame.

        Raises:
            UsageError: one of them is no RGB uint8 picture, or timestamps are not as many or not finite; then
                none of the frames has been looked at.
        """
        for frame in frames:
            check_image(frame)
        if timestamps is None:
            timestamps = [(self._frames + number) / RATE for number in range(len(frames))]
        elif len(timestamps) != len(frames):
            raise UsageError(f"{len(frames)} frames need as many timestamps, got {len(timestamps)}")
        if not all(math.isfinite(timestamp) for timestamp in timestamps):
            raise UsageError(f"timestamps must be finite seconds, got {list(timestamps)}")
        results: list[FrameResult] = []
        for _, equals in groupby(zip(frames, timestamps, strict=True), key=lambda pair: pair[0].shape):
            pictures, seconds = zip(*equals, strict=True)
            seen = self._perceive(pictures, [float(second) for second in seconds])
            for frame, second, (found, actions) in zip(pictures, seconds, seen, strict=True):
                results.append(self._finish(frame, float(second), found, actions))
        return results

    def _finish(
        self, frame: Image, second: float, found: sv.Detections, actions: ActionScores | None
    ) -> FrameResult:
        """The result of a frame that the model has seen, tracked."""
        tracks = _only_tracks(self.tracker.update(found))
        self._frames += 1
        return FrameResult(self._frames - 1, second, found, tracks, frame, actions)

    def _perceive(
        self, frames: Sequence[npt.NDArray[np.uint8]], seconds: Sequence[float]
    ) -> list[tuple[sv.Detections, ActionScores | None]]:
        """What is in frames of one size, per frame; the memory goes on."""
        self._begin_size(frames[0])
        enter, sampling = self._sample(seconds)
        if self.model.detector is None:
            # Only what enters the window changes what it says: the rest is not looked at.
            looked_at = [frame for frame, enters in zip(frames, enter, strict=True) if enters]
            rows = iter(self._look(looked_at, None)[1] if looked_at else ())
            self._sampling = sampling
            nothing = [sv.Detections.empty() for _ in frames]
            return list(zip(nothing, [self._latest(rows) if e else self._scores for e in enter], strict=True))
        found, scores = self._look(frames, None if all(enter) else torch.tensor([enter]))
        self._sampling = sampling
        return list(zip(found or [], scores, strict=True))

    def _latest(self, rows: Iterator[ActionScores | None]) -> ActionScores | None:
        """The next answer, which holds until the one after it."""
        self._scores = next(rows)
        return self._scores

    def _look(
        self, frames: Sequence[npt.NDArray[np.uint8]], sampled: torch.Tensor | None
    ) -> tuple[list[sv.Detections] | None, list[ActionScores | None]]:
        """Takes frames of one size through the model; `sampled` (1, T) enter the window, None for all."""
        config, device = self.model.config, self.model.encoder.positions.device
        inputs = torch.stack([preprocess(frame, config.input, config.stride, device) for frame in frames])
        seen, self._memory = self.model.perceive(inputs[None], self._memory, [frames[0].shape[:2]], sampled)
        found = None if seen.detections is None else seen.detections[0]
        return found, self._named(seen.logits, len(frames))

    def _sample(self, seconds: Sequence[float]) -> tuple[list[bool], Sampling]:
        """Which of the next frames enter the window, and the sampling after them."""
        enter, sampling = [], self._sampling
        for second in seconds:
            enters, sampling = sampling.next(second)
            enter.append(enters)
        return enter, sampling

    def _named(self, logits: torch.Tensor | None, frames: int) -> list[ActionScores | None]:
        """The classes' probabilities, per frame."""
        action = self.model.config.action
        if logits is None or action is None:
            return [None] * frames
        rows = logits[0].float().softmax(-1).cpu().numpy()
        return [ActionScores(action.class_names, row) for row in rows]

    def _begin_size(self, frame: npt.NDArray[np.uint8]) -> None:
        """Starts a new memory if the network's input of this frame has another size than the last one's."""
        config = self.model.config
        height, width = frame.shape[:2]
        rows, columns, _ = fit(height, width, config.input)
        shape = (1, 1, 3, rows + -rows % config.stride, columns + -columns % config.stride)
        if self._input_shape not in (None, shape):
            warnings.warn(
                f"frame {self._frames}: the size changes to {width}x{height}; the memory starts anew",
                stacklevel=4,
            )
            self._memory = self._memory.fresh()
            self._sampling = Sampling(self._sampling.rate)
        self._input_shape = shape

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on in another process with identical results.

        Tensors, numbers and strings only: `torch.save` it, and `torch.load(..., weights_only=True)`.

        Raises:
            UsageError: the tracker cannot be saved.
        """
        save = cast(Callable[[], dict[str, Any]], self._tracker_method("state_dict"))
        state: dict[str, Any] = {"frames": self._frames, "input_shape": list(self._input_shape or ())}
        if self._sampling.start is not None:
            state["sampling"] = [float(self._sampling.start), self._sampling.taken]
        if self._scores is not None:
            state["scores"] = torch.tensor(self._scores.probabilities)
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
        if memory.window is not None and self.model.action is None:
            raise UsageError("this stream was saved with an action head, the model has none")
        sampling = _sampling(state, self._sampling.rate)
        scores = self._saved_scores(state)
        stored = [] if memory.bits else memory.layers  # 8 bits go with every precision
        saved = {str(tensor.dtype) for layer in stored for tensor in layer}
        if not saved <= {str(weight.dtype)}:
            raise UsageError(f"this stream was saved in {', '.join(saved)}, the model is in {weight.dtype}")
        resume({key: _native(value) for key, value in _part(state, "tracker.").items()})
        self._memory, self._frames, self._input_shape = memory.to(weight.device), frames, tuple(shape) or None
        self._sampling, self._scores = sampling, scores

    def _saved_scores(self, state: Mapping[str, Any]) -> ActionScores | None:
        """The answer that held when the stream was saved."""
        action, saved = self.model.config.action, state.get("scores")
        if saved is None or action is None:
            return None
        if not isinstance(saved, torch.Tensor) or saved.shape != (len(action.class_names),):
            raise UsageError(
                f"this stream was saved with other classes than the model's {len(action.class_names)}"
            )
        return ActionScores(action.class_names, saved.float().cpu().numpy())

    def _tracker_method(self, name: str) -> object:
        method = getattr(self.tracker, name, None)
        if method is None:
            raise UsageError(f"{type(self.tracker).__name__} cannot be saved: it has no {name}")
        return method


def track(  # noqa: PLR0913 - the command line's options
    source: str | int | Path | Iterator[Frame],
    model: VideoModel | str | Path = DEFAULT_MODEL,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    memory: int | None = None,
    memory_bits: Literal[8] | None = None,
    tracker: Tracker | None = None,
    every_frame: bool = False,
    chunk: int = 1,
) -> Iterator[FrameResult]:
    """Tracks through a whole source, one result per frame.

    Args:
        source: video file, folder of images, camera number, address; it is decoded ahead by another thread.
            Or an opened `svit.video.Source`, or other frames; these are taken one by one.
        model: a model, or what `svit.load` takes.
        device: where a model that is loaded here runs; see `svit.load`.
        precision: of a model that is loaded here; see `svit.load`.
        memory: frames remembered; None is the model's setting.
        memory_bits: of a model that is loaded here; see `svit.load`.
        tracker: see `Stream`.
        every_frame: of a live source, keep every frame instead of the newest only.
        chunk: frames that go through the encoder at once, see `Stream.chunk`. More than 1 is for recordings:
            a result then waits for the last frame of its chunk.

    Raises:
        SvitError: anything a user can mend: the source, the model, a setting. Results before it stand.
    """
    if not isinstance(model, VideoModel):
        model = load(model, device, precision, memory_bits)
    elif any(option is not None for option in (device, precision, memory_bits)):
        raise UsageError(
            "device, precision and memory_bits go with a model's name; a loaded model has its own"
        )
    if chunk < 1:
        raise UsageError(f"chunk must be 1 frame or more, got {chunk}")
    stream = Stream(model, memory, tracker)
    with nullcontext(source) if isinstance(source, Iterator) else _opened(source, every_frame) as frames:
        for batch in chunks(frames, chunk):
            results = stream.chunk([frame.image for frame in batch], [frame.timestamp for frame in batch])
            for frame, result in zip(batch, results, strict=True):
                yield replace(result, frame_index=frame.index)


@contextmanager
def _opened(source: str | int | Path, every_frame: bool) -> Iterator[Iterator[Frame]]:
    with open_source(source, every_frame=every_frame) as opened, read_ahead(opened) as frames:
        yield frames


def chunks(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """The frames in lists of `size`, the last one perhaps shorter.

    Where the source breaks off, the frames before that are handed out first.
    """
    waiting: list[Frame] = []
    try:
        for frame in frames:
            waiting.append(frame)
            if len(waiting) == size:
                yield waiting
                waiting = []
    except SvitError:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting


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


def _sampling(state: Mapping[str, Any], rate: float | None) -> Sampling:
    """Where the sampling was, from a stream's state."""
    if "sampling" not in state:
        return Sampling(rate)
    try:
        start, taken = state["sampling"]
        return Sampling(rate, float(start), operator.index(taken))
    except (TypeError, ValueError):
        raise UsageError("this is not the state of a Stream: sampling is no time and number") from None


def _part(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
