"""Many videos or cameras on one model, their frames through it together."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from svit.errors import UsageError
from svit.model.memory import StreamMemory
from svit.model.preprocess import check_image, preprocess
from svit.model.video_model import VideoModel
from svit.stream import RATE, Stream, Tracker
from svit.types import FrameResult, Image

SETTLED = 8
"""Steps in a row that streams come along in before they share a memory.

Putting memories together or taking them apart copies them, so it is done for what lasts.
"""


@dataclass
class _Group:
    """Streams that have come along in the same steps: one memory, in the order of their names.

    Attributes:
        names: of its streams.
        shape: of the network's input.
        memory: of all of them.
        steps: in a row that they came along in.
    """

    names: list[Hashable]
    shape: tuple[int, ...]
    memory: StreamMemory
    steps: int = 0

    def split(self, names: Iterable[Hashable]) -> _Group:
        """Some of the streams as a group of their own, with a copy of their part of the memory."""
        chosen = [name for name in self.names if name in set(names)]
        own = dict(zip(self.names, self.memory.unstack(), strict=True))
        return _Group(chosen, self.shape, StreamMemory.stack(own[name] for name in chosen), self.steps)


class StreamBatch:
    """Several videos or cameras on one model, whose frames go through it as one batch.

    What it says about each is what a `Stream` of its own says, up to rounding. Streams may have pictures of
    different sizes and begin, pause and end at any time. Those that come along in the same steps share one
    memory, in which nothing is copied from step to step; one that keeps other times goes through the model
    on its own.

    Args:
        model: with a detector. Not changed, holds no state.
        memory: frames remembered, the current one included; None is the model's own setting.
        tracker: makes the tracker of each stream; None is `svit.tracking.ByteTracker` with the model's
            settings.

    Raises:
        UsageError: the model has no detector.
    """

    def __init__(
        self, model: VideoModel, memory: int | None = None, tracker: Callable[[], Tracker] | None = None
    ) -> None:
        if model.detector is None:
            raise UsageError(f"model '{model.config.name}' has no detector, so it cannot track; use a Stream")
        self.model = model
        self._memory, self._tracker = memory, tracker
        self._streams: dict[Hashable, Stream] = {}
        self._groups: list[_Group] = []

    @property
    def names(self) -> tuple[Hashable, ...]:
        """The streams that are here, in the order of their coming."""
        return tuple(self._streams)

    def step(
        self, frames: Mapping[Any, Image], timestamps: Mapping[Any, float] | None = None
    ) -> dict[Any, FrameResult]:
        """Detects and tracks in the next frame of some of the streams.

        Args:
            frames: RGB (height, width, 3) uint8 by the name of its stream. An unknown name begins a
                stream; one that is missing pauses until it comes again.
            timestamps: seconds since the stream's first frame by its name; None counts 25 frames a second.

        Returns:
            The results, by name, in the order of `frames`.

        Raises:
            UsageError: one of them is no RGB uint8 picture, or a timestamp is missing or not finite; the line
                names the stream. None of the frames has been looked at then: step again without that one.
        """
        for name, frame in frames.items():
            try:
                check_image(frame)
            except UsageError as error:
                raise UsageError(f"stream {name}: {error}") from None
        seconds = {name: self._second(name, timestamps) for name in frames}
        for name in frames.keys() - self._streams.keys():
            tracker = None if self._tracker is None else self._tracker()
            self._streams[name] = Stream(self.model, self._memory, tracker)
        self._arrange(frames)
        results: dict[Hashable, FrameResult] = {}
        for group in self._groups:
            if group.steps:
                results |= self._look(group, frames, seconds)
        return {name: results[name] for name in frames}

    def join(self, name: Hashable, stream: Stream) -> None:
        """Takes a stream in that has run elsewhere, or was loaded; from now on it belongs to the batch.

        Raises:
            UsageError: the name is taken, or the stream is of another model.
        """
        if name in self._streams:
            raise UsageError(f"stream {name} is here already")
        if stream.model is not self.model:
            raise UsageError(f"stream {name} is of another model; join streams of one and the same")
        self._streams[name] = stream
        if stream._input_shape is not None:
            memory = stream._memory
            self._groups.append(_Group([name], stream._input_shape, memory))
            stream._memory = memory.fresh()  # nothing is held twice

    def leave(self, name: Hashable) -> Stream:
        """Takes a stream out, which can go on alone or be saved.

        Raises:
            UsageError: there is none of this name.
        """
        if name not in self._streams:
            raise UsageError(f"there is no stream {name}")
        stream = self._streams.pop(name)
        for group in [group for group in self._groups if name in group.names]:
            parts = self._part(group, lambda other: other == name)
            self._groups = [each for each in self._groups if each is not group]
            self._groups += [part for part in parts if part.names != [name]]
            stream._memory = next(part.memory for part in parts if part.names == [name])
        return stream

    def _second(self, name: Hashable, timestamps: Mapping[Any, float] | None) -> float:
        if timestamps is None:
            return self._streams[name]._frames / RATE if name in self._streams else 0.0
        if name not in timestamps or not math.isfinite(timestamps[name]):
            raise UsageError(f"stream {name}: its timestamp is missing or not finite")
        return float(timestamps[name])

    def _arrange(self, frames: Mapping[Any, Image]) -> None:
        """Makes groups of which all streams, or none, have a frame of the size they had before."""
        for name, frame in frames.items():
            self._streams[name]._begin_size(frame)

        def comes_along(name: Hashable) -> bool:
            return name in frames

        groups = [part for group in self._groups for part in self._part(group, comes_along)]
        groups = [part for group in groups for part in self._same_size(group)]
        known = {name for group in groups for name in group.names}
        groups += self._begun([name for name in frames if name not in known])
        for group in groups:
            group.steps = group.steps + 1 if group.names[0] in frames else 0
        self._groups = _settle(groups)

    @staticmethod
    def _part(group: _Group, chosen: Callable[[Hashable], bool]) -> list[_Group]:
        """The group, or two of them where some of its streams are chosen and some are not."""
        inside = [name for name in group.names if chosen(name)]
        if len(inside) in (0, len(group.names)):
            return [group]
        return [group.split(inside), group.split(set(group.names) - set(inside))]

    def _same_size(self, group: _Group) -> list[_Group]:
        """The group without streams whose size has changed: their memory starts anew."""
        parts = self._part(group, lambda name: self._streams[name]._input_shape == group.shape)
        return [part for part in parts if self._streams[part.names[0]]._input_shape == group.shape]

    def _begun(self, names: list[Hashable]) -> list[_Group]:
        """Groups of streams without a memory, by the size of their input."""

        def kind(name: Hashable) -> tuple[tuple[int, ...], int, str, int]:
            memory = self._streams[name]._memory
            shape = self._streams[name]._input_shape or ()
            return shape, memory.capacity, memory.eviction, memory.bits or 0

        return [
            _Group(list(alike), shape, StreamMemory(capacity, eviction, bits or None))
            for (shape, capacity, eviction, bits), alike in groupby(sorted(names, key=kind), key=kind)
        ]

    def _look(
        self, group: _Group, frames: Mapping[Any, Image], seconds: Mapping[Any, float]
    ) -> dict[Any, FrameResult]:
        """Takes a frame of each of the group's streams through the model and through its own tracker."""
        config, device = self.model.config, self.model.encoder.positions.device
        streams = [self._streams[name] for name in group.names]
        images = [frames[name] for name in group.names]
        inputs = torch.stack([preprocess(image, config.input, config.stride, device) for image in images])
        nexts = [each._sampling.next(seconds[name]) for name, each in zip(group.names, streams, strict=True)]
        enter = torch.tensor([[enters] for enters, _ in nexts])
        sampled = None if enter.all() else enter
        sizes = [image.shape[:2] for image in images]
        seen, group.memory = self.model.perceive(inputs[:, None], group.memory, sizes, sampled)
        logits = None if seen.logits is None else seen.logits.cpu()
        results = {}
        for number, (name, stream) in enumerate(zip(group.names, streams, strict=True)):
            stream._sampling = nexts[number][1]
            [actions] = stream._named(None if logits is None else logits[number : number + 1], 1)
            [found] = (seen.detections or [])[number]
            results[name] = stream._finish(images[number], seconds[name], found, actions)
        return results


def _settle(groups: list[_Group]) -> list[_Group]:
    """The groups, of which those of one size that have come along for long enough are one from now on."""

    def kind(group: _Group) -> tuple[tuple[int, ...], int, str, int, bool]:
        memory = group.memory
        return group.shape, memory.capacity, memory.eviction, memory.bits or 0, memory.window is None

    ready = [group for group in groups if group.steps > SETTLED]
    settled = [group for group in groups if group.steps <= SETTLED]
    for _, same in groupby(sorted(ready, key=kind), key=kind):
        alike = list(same)
        if len(alike) == 1:
            settled += alike
            continue
        memory = StreamMemory.stack(group.memory for group in alike)
        settled.append(
            _Group([name for each in alike for name in each.names], alike[0].shape, memory, SETTLED)
        )
    return settled
