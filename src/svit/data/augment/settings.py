"""Every setting of the augmentation; the defaults are the S-ViT official settings."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from svit.config import Settings

DIVISOR = 32
"""Sides of the network's input are multiples of this, pixels."""


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 < limits[0] <= limits[1]:
        raise ValueError(f"{limits} must be (lowest, highest) and above 0")
    return limits


Span = Annotated[tuple[float, float], AfterValidator(_ordered)]
Grey = Annotated[int, Field(ge=0, le=255)]


class AffineConfig(Settings):
    """One random affine map for all frames of a clip, as in YOLOX."""

    scale: Span = Field((0.1, 2.0), description="size factor, uniform between these")
    max_rotation: float = Field(10.0, ge=0, le=180, description="degrees either way")
    max_shear: float = Field(2.0, ge=0, lt=45, description="degrees either way, for x and y each")
    max_translation: float = Field(0.1, ge=0, le=1, description="fraction of the sides, either way")


class MixupConfig(Settings):
    """Another clip blended in half and half, at one place for all frames."""

    probability: float = Field(1.0, ge=0, le=1, description="share of the mosaics that get it")
    scale: Span = Field((0.8, 1.6), description="size factor of the other clip, after it was fitted")
    flip: float = Field(0.5, ge=0, le=1, description="probability that the other clip is mirrored")


class ColourConfig(Settings):
    """One random shift of hue, saturation and value for a clip; each is left out half the time."""

    hue: int = Field(5, ge=0, le=90, description="largest shift, in units of 2 degrees")
    saturation: int = Field(30, ge=0, le=255, description="largest shift, of 0-255")
    value: int = Field(30, ge=0, le=255, description="largest shift, of 0-255")


class StillConfig(Settings):
    """How a still image moves when it plays a clip: a camera drifts and zooms, slowly changing its mind."""

    drift: float = Field(0.015, ge=0, le=0.2, description="largest shift per frame, fraction of the sides")
    zoom: float = Field(0.02, ge=0, le=0.2, description="largest change of size per frame, fraction")
    unrest: float = Field(
        0.3, ge=0, le=1, description="0: the same motion from frame to frame; 1: a new one for each frame"
    )


class MultiScaleConfig(Settings):
    """The sizes that batches are resized to, one per step (see `multiscale`)."""

    smallest: int = Field(18, ge=1, description="least height, in units of 32 pixels")
    largest: int = Field(32, ge=1, description="greatest height, in units of 32 pixels")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.smallest > self.largest:
            raise ValueError(f"smallest {self.smallest} is above largest {self.largest}")
        return self


class AugmentConfig(Settings):
    """What happens to a training clip between the loader and the batch."""

    height: int = Field(800, gt=0, multiple_of=DIVISOR, description="of the result, pixels")
    width: int = Field(1440, gt=0, multiple_of=DIVISOR, description="of the result, pixels")
    mosaic: float = Field(
        1.0, ge=0, le=1, description="share of the clips joined with three others; the rest stay alone"
    )
    mosaic_centre: Span = Field(
        (0.5, 1.5), description="where the four meet, in units of width and height, on a canvas of twice both"
    )
    affine: AffineConfig = Field(AffineConfig(), description="of a mosaic, about its top left corner")
    mixup: MixupConfig = Field(MixupConfig(), description="of a mosaic, after its affine map")
    alone: AffineConfig | None = Field(
        None, description="of a clip that stays alone, about its centre; null: it is only fitted"
    )
    colour: ColourConfig = ColourConfig()
    flip: float = Field(0.5, ge=0, le=1, description="probability that the whole clip is mirrored")
    clip_boxes: bool = Field(False, description="cut boxes at the border; official: they may reach beyond")
    min_visible: float = Field(
        0.0, ge=0, le=1, description="cut boxes of which less than this share is left become ignore regions"
    )
    min_box: float = Field(1.0, ge=0, description="boxes not wider and higher than this are dropped, pixels")
    fill: Grey = Field(114, description="grey around the parts of a mosaic")
    pad: tuple[Grey, Grey, Grey] = Field(
        (124, 116, 104), description="RGB beside a clip that stays alone: 0 once it is normalised"
    )

    @property
    def cut(self) -> float | None:
        """The least share of a cut box that is still learnt; None where boxes are not cut."""
        return self.min_visible if self.clip_boxes else None

    def without_mixing(self) -> Self:
        """The same without mosaic and mixup, as YOLOX trains its last epochs (official S-ViT: never)."""
        return self.model_copy(update={"mosaic": 0.0})
