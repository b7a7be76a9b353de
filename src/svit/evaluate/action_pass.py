"""A model's pass over one video: its test views, and the whole of it as a stream.

Shapes: V views, T frames of a clip, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from svit.data.actions import ActionIndex, ActionVideo, ActionViews, SamplingConfig, ViewConfig
from svit.errors import DataError, SourceError, UsageError, WeightsError
from svit.evaluate.action_folder import SHARES, ActionFolder, Scores, VideoAnswers, video_name
from svit.evaluate.verdict import Verdict
from svit.model.memory import StreamMemory
from svit.model.preprocess import preprocess
from svit.model.video_model import VideoModel
from svit.stream import Stream
from svit.types import Frame, FrameResult
from svit.video import open_source

ROUNDING = 1e-6
"""Of a duration; a frame this near before the end of a share is the next share's first."""


@dataclass(frozen=True)
class VideoPiece:
    """A video of the split, as the part of a run.

    Attributes:
        number: in the split, from 0.
        name: its path in the index.
        frames: how many it has.
    """

    number: int
    name: str
    frames: int


@dataclass(frozen=True)
class ActionJob:
    """What all videos of a run have in common.

    Attributes:
        folder: where answers go.
        index: the data set.
        split: which of its videos.
        sampling: frames of a clip, for the views.
        views: None: none.
        streaming: pass over the whole video too.
        chunk: frames that go through the encoder at once, for the views.
        memory: frames remembered by the encoder.
    """

    folder: ActionFolder
    index: ActionIndex
    split: str
    sampling: SamplingConfig
    views: ViewConfig | None
    streaming: bool
    chunk: int
    memory: int

    @cached_property
    def _videos(self) -> list[ActionVideo]:
        return self.index.of(self.split)

    @cached_property
    def _views(self) -> ActionViews:
        return ActionViews(self.index, self.split, self.sampling, self.views)

    def run(self, model: VideoModel, piece: VideoPiece) -> Iterator[None]:
        """Writes what the model says of a video; yields once.

        Raises:
            UsageError: the device's memory is too small for the chunk.
            WeightsError: the model's answer is not finite.
            OutputError: the answers cannot be written.
        """
        classes = len(_classes(model))
        views, notes = np.zeros((0, classes), np.float32), list[str]()
        if self.views is not None:
            seen = self._views[piece.number]
            notes += seen.broken
            views = self._answers(model, seen.frames) if len(seen.frames) else views
        stream = _Streamed(classes)
        if self.streaming:
            video = self._videos[piece.number]
            frames = video_frames(self.index, video, notes)
            stream.watch(model, frames, video, self.memory, notes)
        # One thing that both ways of reading come across is said once.
        answers = VideoAnswers(views, *stream.answers(), tuple(dict.fromkeys(notes)))
        self.folder.write(video_name(piece.number), answers)
        yield

    def _answers(self, model: VideoModel, frames_VTHWC: npt.NDArray[np.uint8]) -> Scores:
        """Probabilities (V, K) at the end of each view, as many views at once as the chunk has room for."""
        at_once = max(1, self.chunk // frames_VTHWC.shape[1])
        try:
            parts = [
                clip_probabilities(model, frames_VTHWC[start : start + at_once], self.memory, self.chunk)
                for start in range(0, len(frames_VTHWC), at_once)
            ]
        except torch.OutOfMemoryError:
            raise UsageError(
                f"the device's memory is too small for {self.chunk} frames at once; choose a smaller --chunk,"
                " --memory or --precision bf16"
            ) from None
        return np.concatenate(parts)


@torch.no_grad()
def clip_probabilities(
    model: VideoModel, frames_VTHWC: npt.NDArray[np.uint8], memory: int, chunk: int
) -> Scores:
    """What a model takes clips for when it has seen all of them.

    Args:
        model: with an action head.
        frames_VTHWC: clips of RGB pictures, uint8.
        memory: frames remembered by the encoder.
        chunk: frames of a clip at once.

    Returns:
        Probabilities (V, K).

    Raises:
        WeightsError: they are not finite.
    """
    config, device = model.config, model.encoder.positions.device
    inputs = torch.stack(
        [
            torch.stack([preprocess(frame, config.input, config.stride, device) for frame in clip])
            for clip in frames_VTHWC
        ]
    )
    remembered = StreamMemory.for_model(config.encoder, memory)
    for piece in torch.split(inputs, chunk, dim=1):
        logits, remembered = model.classify(piece, remembered, at=[-1])
    if not bool(torch.isfinite(logits).all()):
        raise WeightsError("the model's output is not finite: its weights are damaged or hold NaN")
    probabilities: Scores = logits[:, 0].float().softmax(-1).cpu().numpy()
    return probabilities


def video_frames(index: ActionIndex, video: ActionVideo, notes: list[str]) -> Iterator[Frame]:
    """All frames of a video of an index in order, by the index's clock where it is a folder of images.

    Damaged frames inside are left out, and a line about them is added to `notes` at the end.

    Raises:
        SourceError: it cannot be opened, or breaks off; after the good frames before that.
    """
    path = index.path_of(video)
    with open_source(path) as source:
        if not path.is_dir():
            yield from source
            if source.skipped:
                notes.append(f"{path}: {source.skipped} damaged frames left out")
            return
        clock = video.clock()
        for number, frame in enumerate(islice(source, video.first, video.first + video.frames)):
            yield Frame(frame.image, number, float(clock[number]))


@dataclass
class _Streamed:
    """What a stream said at each share of a video."""

    classes: int
    verdicts: list[Scores] = field(default_factory=list)
    moments: list[Scores] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def watch(
        self, model: VideoModel, frames: Iterator[Frame], video: ActionVideo, memory: int, notes: list[str]
    ) -> None:
        """Takes the whole video, frame by frame; what goes wrong in reading it is added to `notes`."""
        action = model.config.action
        assert action is not None
        stream, verdict = Stream(model, memory), Verdict(action)
        result: FrameResult | None = None
        try:
            for frame in frames:
                self._ask(verdict, result, frame.timestamp / video.duration + ROUNDING)
                started = time.perf_counter()
                result = stream.step(frame.image, frame.timestamp)
                self.ms.append(1000 * (time.perf_counter() - started))
                verdict.add(result)
        except (SourceError, DataError) as error:
            notes.append(str(error))
        self._ask(verdict, result, float("inf"))

    def answers(self) -> tuple[Scores, Scores, npt.NDArray[np.float64]]:
        """Verdicts and moments (10, K), or (0, K) where no frame was seen, and the times."""
        verdicts, moments = (
            np.stack(found) if found else np.zeros((0, self.classes), np.float32)
            for found in (self.verdicts, self.moments)
        )
        return verdicts, moments, np.array(self.ms)

    def _ask(self, verdict: Verdict, result: FrameResult | None, share: float) -> None:
        """Notes the answers of all shares that end before a frame at `share` of the duration."""
        while result is not None and len(self.verdicts) < len(SHARES) and share >= SHARES[len(self.verdicts)]:
            assert verdict.scores is not None
            assert result.actions is not None
            self.verdicts.append(verdict.scores.probabilities)
            self.moments.append(result.actions.probabilities)


def _classes(model: VideoModel) -> tuple[str, ...]:
    return model.config.action.class_names if model.config.action else ()
