"""Every setting of a training run: documented, validated, with units.

An experiment is a YAML file in `svit/configs/experiments/`, or of the user's own, that fills these classes.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from svit.config import ModelConfig, Settings, nearest, preset, validated
from svit.data.augment.settings import AugmentConfig, MultiScaleConfig
from svit.data.clips import ClipConfig
from svit.data.scenes import SourceConfig
from svit.errors import UsageError


class ModelChoice(Settings):
    """Which model is trained, and from which weights it starts."""

    preset: str = Field("base", description="one of `svit models`")
    name: str = Field("", description="name in the finished checkpoint; empty is the experiment's")
    settings: dict[str, Any] = Field(
        {}, description="settings of the model to change, nested by '__': encoder__memory_gradient"
    )
    start: Path | None = Field(
        None, description="weights to start from: CLIP's (for the encoder) or a checkpoint; none is random"
    )

    def config(self, name: str) -> ModelConfig:
        """The settings of the model to build."""
        return preset(self.preset, **self.settings, name=self.name or name)


class DataConfig(Settings):
    """What is trained on."""

    root: Path = Field(Path("data"), description="folder that the sources' paths start from")
    sources: tuple[SourceConfig, ...] = Field(min_length=1, description="data sets and their shares")
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig()
    workers: int = Field(4, ge=0, description="processes that decode and augment, per training process")
    broken_share: float = Field(
        0.01, ge=0, le=1, description="share of samples that may be unreadable before the run ends"
    )


class OptimiserConfig(Settings):
    """AdamW with the parameter groups of the official run."""

    rate: float = Field(2.5e-4, gt=0, description="peak learning rate, for all of `batch` on all processes")
    encoder_factor: float = Field(
        0.1, ge=0, description="on the encoder's rate; not on its residual blocks and outer norms (official)"
    )
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's running means")
    weight_decay: float = Field(
        0.05, ge=0, description="on the encoder, its norms and biases included (official), and all matrices"
    )
    clip_norm: float = Field(0.0, ge=0, description="largest norm of the gradient; 0 does not clip")


class ScheduleConfig(Settings):
    """Warm-up, cosine, constant end (YOLOX, arXiv 2107.08430)."""

    epochs: float = Field(10, gt=0, description="passes over the sources' shares")
    warm_up_epochs: float = Field(1, ge=0, description="the rate rises with the square of the steps")
    constant_epochs: float = Field(1, ge=0, description="at the end, at the least rate")
    least: float = Field(0.05, ge=0, le=1, description="the least rate as a share of the peak")
    plain_epochs: float = Field(
        0, ge=0, description="at the end, without mosaic and mixup, with the L1 loss (official: none)"
    )


class EvaluateConfig(Settings):
    """Scores during the training."""

    dataset: str | None = Field(None, description="data set of `svit eval`; none scores nothing")
    root: Path | None = Field(None, description="where that data set lies")
    every_epochs: float = Field(1, gt=0, description="how often; the end is always scored")


class Experiment(Settings):
    """A training run, whole."""

    name: str = Field("custom", description="of the experiment")
    model: ModelChoice = ModelChoice()
    data: DataConfig
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    multi_scale: MultiScaleConfig | None = Field(
        MultiScaleConfig(), description="a new size for each step; none keeps that of the augmentation"
    )
    batch: int = Field(2, gt=0, description="clips per process and forward pass")
    accumulate: int = Field(1, gt=0, description="forward passes per optimiser step")
    form: Literal["clip", "step"] = Field(
        "clip",
        description="all frames through each layer at once, or frame by frame; the gradients are the same",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "bf16", description="of matrix products; weights stay fp32"
    )
    checkpointing: bool = Field(
        False, description="recompute blocks in the backward pass: less memory, same numbers"
    )
    average: float = Field(
        1e-4, gt=0, le=1, description="share of a step's weights in the averaged ones; 1 averages nothing"
    )
    average_warm_up: float = Field(2000, gt=0, description="steps in which the average forgets its start")
    seed: int = Field(0, ge=0, description="of weights, samples and augmentation")
    save_minutes: float = Field(10, gt=0, description="between checkpoints")
    keep: int = Field(2, gt=0, description="newest checkpoints that are kept; the best is kept besides")
    log_steps: int = Field(20, gt=0, description="between lines of the log")
    explode: float = Field(1e4, gt=0, description="a loss above this ends the run")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        schedule = self.schedule
        if schedule.warm_up_epochs + schedule.constant_epochs > schedule.epochs:
            raise ValueError("warm_up_epochs and constant_epochs are longer than epochs")
        return self

    def model_settings(self) -> ModelConfig:
        """The model that is trained, under the name its checkpoint will have."""
        return self.model.config(self.name)


def experiment_names() -> list[str]:
    """Names of the experiments that come with svit."""
    files = resources.files("svit").joinpath("configs/experiments").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load_experiment(name_or_path: str, changes: tuple[str, ...] = ()) -> Experiment:
    """An experiment with some settings changed.

    Args:
        name_or_path: one of `experiment_names()`, or a YAML file.
        changes: `key=value`, keys nested by dots (`optimiser.rate=1e-4`), values in YAML.

    Raises:
        UsageError: unknown experiment or key (the nearest is suggested), or a value out of range.
    """
    values = _read(name_or_path)
    return validated(Experiment, values, str(values["name"]), **dict(_change(text) for text in changes))


def _read(name_or_path: str) -> dict[str, Any]:
    known = experiment_names()
    if name_or_path in known:
        text = resources.files("svit").joinpath(f"configs/experiments/{name_or_path}.yaml").read_text("utf-8")
        return {"name": name_or_path, **yaml.safe_load(text)}
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"unknown experiment '{name_or_path}'; {nearest(name_or_path, known)}")
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: an experiment is a list of settings, key: value")
    return {"name": path.stem, **values}


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"'{text}' is no setting; write key=value, as in optimiser.rate=1e-4")
    try:
        return key.replace(".", "__"), yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(f"the value of '{text}' is no YAML") from None
