"""One encoder, several heads, one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import supervision as sv
import torch
from torch import Tensor, nn

from svit.config import ModelConfig, preset
from svit.errors import UsageError
from svit.model.action import ActionHead, Moments
from svit.model.detector import Detector, HeadMap, Selection, check_finite, decode, select
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory
from svit.model.preprocess import fit
from svit.model.pyramid import Pyramid


class Seen(NamedTuple):
    """What one pass over new frames gives, before any decision.

    Attributes:
        stages: the encoder's maps, as `VideoModel.encoder` returns them.
        logits: (B, R, K) of the R frames that were asked for; None without an action head.
    """

    stages: list[Tensor]
    logits: Tensor | None


class Perception(NamedTuple):
    """What a model says about new frames.

    Attributes:
        detections: per stream, per frame, as in `VideoModel.detect`; None without a detector.
        logits: (B, T, K) of the action classes; None without an action head.
    """

    detections: list[list[sv.Detections]] | None
    logits: Tensor | None


class VideoModel(nn.Module):
    """S-ViT: an encoder with memory, a feature pyramid, a detector and an action head on the same features.

    The model holds no state of any stream: memory goes in and comes out of every call.

    Attributes:
        config: everything needed to build it again.
        encoder: frames (B, T, 3, H, W) and a memory -> (stages, memory).
        pyramid: stages -> three maps (B, T, c, h, w) at strides 8, 16, 32 (patch 16), or None.
        detector: three maps -> raw logits, or None.
        action: frame features and the window of those before -> class logits, or None.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        token = None if config.action is None else config.action.token
        self.encoder = Encoder(config.encoder, class_token=token == "cls", change=token == "change")
        width = config.encoder.width
        self.pyramid = Pyramid(width, config.pyramid_width or width) if config.pyramid else None
        self.detector: Detector | None = None
        if self.pyramid is not None and config.detector is not None:
            detector = config.detector
            classes = len(detector.class_names)
            self.detector = Detector(self.pyramid.channels, detector.width, classes, detector.csp_blocks)
        self.action = None if config.action is None else ActionHead(config)

    @property
    def strides(self) -> tuple[float, float, float]:
        """Pixels per cell of the three detector scales."""
        patch = self.config.encoder.patch
        return (patch / 2, float(patch), 2.0 * patch)

    def head_maps(
        self, frames: Tensor, memory: StreamMemory | None = None
    ) -> tuple[list[HeadMap], StreamMemory]:
        """Raw logits of the detector.

        Args:
            frames: (B, T, 3, H, W) normalised float, sides multiples of `config.stride`.
            memory: what the streams remember; None starts them.

        Returns:
            maps: three dicts `{"cls", "box", "obj"}` of logits (B, T, k, h, w), fine to coarse.
            memory: the memory after the frames.

        Raises:
            UsageError: the model has no detector, or the frames do not fit.
        """
        if self.detector is None or self.pyramid is None:
            raise UsageError(f"model '{self.config.name}' has no detector")
        stages, memory = self.encoder(frames, memory)
        return self.detector(self.pyramid(stages)), memory

    def see(
        self,
        frames: Tensor,
        memory: StreamMemory | None = None,
        sampled: Tensor | None = None,
        window_lengths: Tensor | Sequence[int] | None = None,
        at: Sequence[int] | None = None,
    ) -> tuple[Seen, StreamMemory]:
        """Runs the encoder once, for all heads: what training and both tasks start from.

        Args:
            frames: (B, T, 3, H, W) normalised float.
            memory: what the streams remember, the action head's window included; None starts them.
            sampled: for the action head, as in `classify`.
            window_lengths: likewise.
            at: likewise.

        Returns:
            seen: maps and action logits, with gradient where it is on.
            memory: the memory after the frames.

        Raises:
            UsageError: something does not fit; nothing has entered the memory then.
        """
        if self.action is None:
            stages, memory = self.encoder(frames, memory)
            return Seen(stages, None), memory
        self.encoder.check(frames)
        moments = Moments(sampled, window_lengths, at)
        plan = self.action.plan(memory, (frames.shape[0], frames.shape[1]), moments)
        encoding = self.encoder.encode(frames, memory, self.action.recalls)
        logits, window = self.action(encoding, encoding.memory.window, plan)
        return Seen(encoding.stages, logits), encoding.memory.with_window(window)

    def classify(
        self,
        frames: Tensor,
        memory: StreamMemory | None = None,
        sampled: Tensor | None = None,
        window_lengths: Tensor | Sequence[int] | None = None,
        at: Sequence[int] | None = None,
    ) -> tuple[Tensor, StreamMemory]:
        """Recognises actions: what each stream shows up to each new frame.

        A clip from no memory gives at its last frame what as many steps give.

        Args:
            frames: (B, T, 3, H, W) normalised float, made by `svit.model.preprocess`.
            memory: what the streams remember; None starts them.
            sampled: (B, T) bool, frames that enter the window; None is all. Others have logits too, of the
                window as it is, and go through the encoder's memory as ever. A stream's first frame must
                enter.
            window_lengths: (B,) from 1 on; logits are then those of a window of that many entries. The
                window that is remembered is not cut. For training on early, partly filled windows.
            at: the R frames to answer at, from 0, or from the end if negative; None is all. For training,
                which needs one or two of a clip.

        Returns:
            logits: (B, T or R, K); the classes are `config.action.class_names`.
            memory: the memory after the frames.

        Raises:
            UsageError: the model has no action head, or something does not fit.
        """
        if self.action is None:
            raise UsageError(f"model '{self.config.name}' has no action head")
        seen, memory = self.see(frames, memory, sampled, window_lengths, at)
        assert seen.logits is not None
        return seen.logits, memory

    @torch.no_grad()
    def perceive(
        self,
        frames: Tensor,
        memory: StreamMemory | None = None,
        original_sizes: Sequence[tuple[int, int]] | None = None,
        sampled: Tensor | None = None,
    ) -> tuple[Perception, StreamMemory]:
        """Does what the model has heads for in one pass: finds objects, recognises actions, or both.

        Arguments are those of `detect` and `classify`.

        Raises:
            UsageError: the model has neither head, or as `detect`.
            WeightsError: as `detect`.
        """
        if self.detector is None and self.action is None:
            raise UsageError(f"model '{self.config.name}' has neither a detector nor an action head")
        _check_usable(frames)
        seen, memory = self.see(frames, memory, sampled)
        found = None
        if self.detector is not None and self.pyramid is not None:
            found = self._select(self.detector(self.pyramid(seen.stages)), original_sizes)
        if seen.logits is not None:
            check_finite(seen.logits)  # last, because it waits for the device
        return Perception(found, seen.logits), memory

    @torch.no_grad()
    def detect(
        self,
        frames: Tensor,
        memory: StreamMemory | None = None,
        original_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[list[list[sv.Detections]], StreamMemory]:
        """Finds objects in T new frames of each of B streams.

        An action head is left out, and the frames do not enter its window.

        Args:
            frames: as in `head_maps`, made by `svit.model.preprocess`.
            memory: what the streams remember; None starts them.
            original_sizes: (height, width) of each stream's frames before preprocessing. Boxes are then
                in those pixels, else in the input's.

        Returns:
            detections: per stream, per frame; boxes xyxy, descending score.
            memory: the memory after the frames.

        Raises:
            UsageError: as `head_maps`; or the frames hold NaN or infinite values.
            WeightsError: the weights do, so that nothing it says can be used.
        """
        _check_usable(frames)
        maps, memory = self.head_maps(frames, memory)
        return self._select(maps, original_sizes), memory

    def _select(
        self, maps: list[HeadMap], original_sizes: Sequence[tuple[int, int]] | None
    ) -> list[list[sv.Detections]]:
        """The boxes that the detector's logits speak for, per stream and frame."""
        boxes, scores = decode(maps, self.strides)
        assert self.config.detector is not None
        scale = None if original_sizes is None else self._scales(original_sizes, len(boxes))
        thresholds = self.config.detector.score_threshold, self.config.detector.iou_threshold
        return [
            [_detections(found) for found in stream] for stream in select(boxes, scores, scale, *thresholds)
        ]

    def _scales(self, sizes: Sequence[tuple[int, int]], streams: int) -> Tensor:
        if len(sizes) != streams:
            raise UsageError(
                f"original_sizes needs one (height, width) per stream: got {len(sizes)} for {streams}"
            )
        return torch.tensor([fit(height, width, self.config.input).scale for height, width in sizes])


def _check_usable(frames: Tensor) -> None:
    # Looked at first, because a frame that has entered the memory cannot be taken out again. The sum is one
    # pass where `isfinite` makes several; of finite values it may overflow, and then they decide.
    if not math.isfinite(frames.sum(dtype=torch.float32)) and not bool(torch.isfinite(frames).all()):
        raise UsageError("the frames hold NaN or infinite values")


def _detections(found: Selection) -> sv.Detections:
    boxes, scores, labels = (t.numpy() for t in (found.boxes, found.scores, found.labels))
    return sv.Detections(xyxy=boxes, confidence=scores, class_id=labels)


def build(config: ModelConfig | str, /, **overrides: Any) -> VideoModel:
    """An untrained model, in evaluation mode.

    Args:
        config: a preset's name (`svit models` lists them) or a configuration.
        overrides: settings of a preset to change, nested by a double underscore: `encoder__memory=8`.

    Raises:
        UsageError: unknown preset or setting.
    """
    if isinstance(config, ModelConfig):
        if overrides:
            raise UsageError(
                "overrides go with a preset's name; change a ModelConfig with model_copy(update=...)"
            )
        return VideoModel(config).eval()
    return VideoModel(preset(config, **overrides)).eval()
