"""One encoder, several heads, one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import supervision as sv
import torch
from torch import Tensor, nn

from svit.config import ModelConfig, preset
from svit.errors import UsageError, WeightsError
from svit.model.detector import Detector, HeadMap, Selection, decode, select
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory
from svit.model.preprocess import fit
from svit.model.pyramid import Pyramid


class VideoModel(nn.Module):
    """S-ViT: an encoder with memory, a feature pyramid and a detector on the same features.

    The model holds no state of any stream: memory goes in and comes out of every call.

    Attributes:
        config: everything needed to build it again.
        encoder: frames (B, T, 3, H, W) and a memory -> (stages, memory).
        pyramid: stages -> three maps (B, T, c, h, w) at strides 8, 16, 32 (patch 16), or None.
        detector: three maps -> raw logits, or None.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder)
        self.pyramid = Pyramid(config.encoder.width) if config.pyramid else None
        self.detector: Detector | None = None
        if self.pyramid is not None and config.detector is not None:
            detector = config.detector
            classes = len(detector.class_names)
            self.detector = Detector(self.pyramid.channels, detector.width, classes, detector.csp_blocks)

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

    @torch.no_grad()
    def detect(
        self,
        frames: Tensor,
        memory: StreamMemory | None = None,
        original_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[list[list[sv.Detections]], StreamMemory]:
        """Finds objects in T new frames of each of B streams.

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
        # Looked at first, because a frame that has entered the memory cannot be taken out again.
        if not bool(torch.isfinite(frames).all()):
            raise UsageError("the frames hold NaN or infinite values")
        maps, memory = self.head_maps(frames, memory)
        boxes, scores = decode(maps, self.strides)
        _check_finite(scores)
        assert self.config.detector is not None
        scale = None if original_sizes is None else self._scales(original_sizes, len(boxes), boxes.device)
        thresholds = self.config.detector.score_threshold, self.config.detector.iou_threshold
        return [
            [_detections(found) for found in stream] for stream in select(boxes, scores, scale, *thresholds)
        ], memory

    def _scales(self, sizes: Sequence[tuple[int, int]], streams: int, device: torch.device) -> Tensor:
        if len(sizes) != streams:
            raise UsageError(
                f"original_sizes needs one (height, width) per stream: got {len(sizes)} for {streams}"
            )
        return torch.tensor(
            [fit(height, width, self.config.input).scale for height, width in sizes], device=device
        )


def _check_finite(outputs: Tensor) -> None:
    if not bool(torch.isfinite(outputs).all()):
        raise WeightsError("the model's output is not finite: its weights are damaged or hold NaN")


def _detections(found: Selection) -> sv.Detections:
    _check_finite(found.boxes)
    boxes, scores, labels = (t.cpu().numpy() for t in (found.boxes, found.scores, found.labels))
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
