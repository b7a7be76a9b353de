"""Every setting of action clips: which frames, and what is done to them.

Defaults are those that the recipes for Kinetics-400 and Something-Something v2 share. Where a value is
somebody's, the class says whose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from svit.config import Settings
from svit.data.augment.settings import Grey, Span


class SamplingConfig(Settings):
    """Which frames of a video make a clip; all by time, so that a video's frame rate does not matter."""

    kind: Literal["uniform", "dense"] = Field(
        "uniform",
        description="uniform: one frame of each of `length` equal parts of the video (Wang et al. 2016); "
        "dense: `length` frames, `stride` apart, from anywhere",
    )
    length: int = Field(16, gt=0, description="frames of a clip")
    stride: int = Field(4, gt=0, description="dense: distance of its frames, in frames at `rate`")
    rate: float | None = Field(
        None, gt=0, description="dense: frames per second that `stride` counts in; null: each video's own"
    )


class RandAugmentConfig(Settings):
    """RandAugment (Cubuk et al. 2020), the same for all frames: `m7-n4-mstd0.5-inc1` in timm's notation."""

    layers: int = Field(4, ge=0, description="operations in a row, each drawn from all (n)")
    magnitude: float = Field(7.0, ge=0, le=10, description="mean strength of an operation, of 10 (m)")
    spread: float = Field(0.5, ge=0, description="standard deviation of the strength, cut to 0-10 (mstd)")
    probability: float = Field(0.5, ge=0, le=1, description="that a drawn operation is really done")
    fill: tuple[Grey, Grey, Grey] = Field((124, 116, 104), description="RGB of what a shift lays bare")


class ErasingConfig(Settings):
    """Random erasing (Zhong et al. 2020): one rectangle of noise, the same in all frames."""

    probability: float = Field(0.25, ge=0, le=1, description="share of the clips")
    area: Span = Field((0.02, 0.3333), description="of the rectangle, fraction of the picture's")
    ratio: Span = Field((0.3, 3.3333), description="height to width of the rectangle, log-uniform")


class ActionAugmentConfig(Settings):
    """What happens to a training clip between decoding and the batch; one draw for all its frames."""

    size: int = Field(224, gt=0, description="side of the result, pixels")
    scale: Span = Field((0.08, 1.0), description="area of the random crop, fraction of the picture's")
    ratio: Span = Field((0.75, 1.3333), description="width to height of the random crop, log-uniform")
    flip: float = Field(
        0.5, ge=0, le=1, description="probability of mirroring, where the data set's rule allows it at all"
    )
    randaugment: RandAugmentConfig | None = Field(RandAugmentConfig(), description="null: none")
    erasing: ErasingConfig | None = Field(ErasingConfig(), description="null: none")


class MixConfig(Settings):
    """Mixing the clips of a batch, on the device: mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019)."""

    mixup: float = Field(0.8, ge=0, description="alpha of the beta distribution; 0: never")
    cutmix: float = Field(1.0, ge=0, description="alpha of the beta distribution; 0: never")
    switch: float = Field(0.5, ge=0, le=1, description="share of CutMix, where both are on")
    probability: float = Field(1.0, ge=0, le=1, description="share of the batches that are mixed")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing (Szegedy et al. 2016)")


class ViewConfig(Settings):
    """What a test looks at of each video: clips x crops."""

    size: int = Field(224, gt=0, description="side of a view, pixels")
    clips: int = Field(1, gt=0, description="clips per video, evenly spread in time")
    crops: Literal[1, 3] = Field(1, description="1: the centre; 3: also both ends of the longer side")
    short_side: int | None = Field(
        None, gt=0, description="the picture's short side is resized to this; null: to `size`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.short_side is not None and self.short_side < self.size:
            raise ValueError(f"short_side {self.short_side} is below size {self.size}")
        return self


PairName = Literal["moves", "approaches", "appears", "covers", "plays"]


class SyntheticConfig(Settings):
    """Made-up clips whose class is in the order of their frames alone."""

    pairs: tuple[PairName, ...] = Field(
        ("moves", "approaches", "appears", "covers", "plays"),
        min_length=1,
        description="pairs of classes; the second of each is the first backwards",
    )
    length: int = Field(16, gt=1, description="frames of a clip")
    size: int = Field(224, ge=16, description="side of a frame, pixels")
    rate: float = Field(12.0, gt=0, description="frames per second, for the timestamps")
    clips: int = Field(1000, gt=0, description="clips of an epoch")
    thing: Span = Field((0.22, 0.34), description="size of things, fraction of the side")
    distractors: int = Field(2, ge=0, description="other things that sway to and fro, up to so many")
    drift: float = Field(0.06, ge=0, le=0.2, description="how far the background moves, fraction of the side")
    contrast: float = Field(1.0, ge=0, le=1, description="of the backgrounds; the less, the easier")


class PartialConfig(Settings):
    """Answers from little: so that the first seconds of a stream are worth something, too."""

    share: float = Field(
        0.5, ge=0, le=1, description="of the batches, with a random length of the memory and of the window"
    )
    lengths: tuple[int, ...] = Field(
        (1, 2, 4, 8, 16), min_length=1, description="frames, drawn from evenly; the model's own at most"
    )
    early: float = Field(
        0.3, ge=0, description="weight of the loss at a random earlier frame of every clip; 0: none"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if min(self.lengths) < 1:
            raise ValueError(f"lengths {self.lengths} must be 1 or more")
        return self


class ActionDataConfig(Settings):
    """Clips to learn actions from, and how they become batches. Of an index, or made up."""

    index: Path | None = Field(
        None,
        description="index that `svit prepare` wrote (kinetics400, ssv2, video-folder), from the data's root",
    )
    videos: Path | None = Field(
        None, description="folder of the index's videos, from the data's root; none: where the index says"
    )
    split: str = Field("train", description="of the index")
    pictures: Path = Field(
        Path(),
        description="of synthetic clips: folder of images and videos they are cut from, from the data's root",
    )
    batch: int | None = Field(
        None, gt=0, description="clips per process and forward pass; none is the experiment's `batch`"
    )
    repeats: int = Field(1, gt=0, description="clips of each video per epoch, one after the other")
    weight: float = Field(1.0, gt=0, description="of the actions' loss beside the detector's")
    synthetic: SyntheticConfig | None = Field(
        None, description="instead of an index: clips whose class is in the order of their frames alone"
    )
    sampling: SamplingConfig = SamplingConfig()
    augment: ActionAugmentConfig = ActionAugmentConfig()
    mix: MixConfig | None = Field(
        MixConfig(), description="of the clips of a batch; null: none, and no smoothing"
    )
    partial: PartialConfig = PartialConfig()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.index is None) == (self.synthetic is None):
            raise ValueError("give either an index of videos or synthetic clips")
        return self

    @property
    def size(self) -> int:
        """Side of the frames, pixels."""
        return self.augment.size if self.synthetic is None else self.synthetic.size

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return self.sampling.length if self.synthetic is None else self.synthetic.length
