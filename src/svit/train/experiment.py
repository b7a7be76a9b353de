"""Every setting of a training run: documented, validated, with units.

An experiment is a YAML file in `svit/configs/experiments/`, or of the user's own, that fills these classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, model_validator

from svit.config import ModelConfig, Settings, nearest, preset, validated
from svit.data.actions.settings import ActionDataConfig
from svit.data.augment.settings import DIVISOR, AugmentConfig, MultiScaleConfig
from svit.data.clips import ClipConfig
from svit.data.datasets import dataset_config
from svit.data.scenes import SourceConfig
from svit.errors import UsageError

Logger = Literal["tensorboard", "wandb"]
Part = Literal["encoder", "pyramid", "detector", "action"]


def _joined(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by names with a double underscore, as `preset` takes them."""
    joined: dict[str, Any] = {}
    for key, value in settings.items():
        joined |= _joined(value, f"{prefix}{key}__") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return joined


ModelSettings = Annotated[dict[str, Any], AfterValidator(_joined)]
"""Nested or joined by '__', as `svit.config.preset` has them: the same settings are equal."""


class ModelChoice(Settings):
    """Which model is trained, and from which weights it starts."""

    preset: str = Field("base", description="one of `svit models`")
    name: str = Field("", description="name in the finished checkpoint; empty is the experiment's")
    settings: ModelSettings = Field(
        {}, description="settings of the model to change, as in docs/model.md: encoder.memory_gradient"
    )
    start: Path | None = Field(
        None, description="weights to start from: CLIP's (for the encoder) or a checkpoint; none is random"
    )
    new_head: bool = Field(False, description="start the action head anew, whatever `start` has of one")
    frozen: tuple[Part, ...] = Field(
        (),
        description="encoder, pyramid, detector, action: parts that stay what they are, statistics included",
    )

    def config(self, name: str, actions: Sequence[str] = ()) -> ModelConfig:
        """The settings of the model to build.

        Args:
            name: what it is called unless `self.name` says.
            actions: classes of its action head; with any it has one.

        Raises:
            UsageError: unknown preset or setting, or a value out of range.
        """
        head = {"action__class_names": tuple(actions)} if actions else {}
        return preset(self.preset, **{**head, **self.settings, "name": self.name or name})


Task = Literal["detection", "actions"]


class DataConfig(Settings):
    """What is trained on: detection from `sources`, `actions`, or both in every step."""

    root: Path = Field(Path("data"), description="folder that the sources' paths start from")
    sources: tuple[SourceConfig, ...] = Field((), description="data sets with boxes, and their shares")
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig()
    actions: ActionDataConfig | None = Field(None, description="clips to learn actions from")
    workers: int = Field(4, ge=0, description="processes that decode and augment, per training process")
    broken_share: float = Field(
        0.01, ge=0, le=1, description="share of samples that may be unreadable before the run ends"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.tasks:
            raise ValueError("there is nothing to train on: neither sources nor actions")
        return self

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What is learnt, in the order in which a step does it."""
        there: dict[Task, bool] = {"detection": bool(self.sources), "actions": self.actions is not None}
        return tuple(task for task, wanted in there.items() if wanted)


class OptimiserConfig(Settings):
    """AdamW and its parameter groups: those of the official detector, or those that suit CLIP's weights."""

    rate: float = Field(2.5e-4, gt=0, description="peak learning rate, for all of `batch` on all processes")
    groups: Literal["official", "clip"] = Field(
        "official",
        description="official: `encoder_factor` is on the encoder without residual blocks and outer norms, "
        "all of which decays; clip: it is on what CLIP has, and vectors and embeddings never decay",
    )
    encoder_factor: float = Field(0.1, ge=0, description="on the rate of that part of the encoder")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="groups clip: on that rate again, for every block further from the output",
    )
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's running means")
    weight_decay: float = Field(0.05, ge=0, description="on matrices; official: on all of the encoder")
    clip_norm: float = Field(0.0, ge=0, description="largest norm of the gradient; 0 does not clip")


class ScheduleConfig(Settings):
    """Warm-up, cosine, constant end (YOLOX, arXiv 2107.08430)."""

    epochs: float = Field(10, gt=0, description="passes over the sources' shares")
    warm_up_epochs: float = Field(1, ge=0, description="the rate rises with the square of the steps")
    constant_epochs: float = Field(1, ge=0, description="at the end, at the least rate")
    least: float = Field(0.05, ge=0, le=1, description="the least rate as a share of the peak")
    final_rate: float | None = Field(
        None, ge=0, description="instead of `least`: the least rate itself, of all groups"
    )
    plain_epochs: float = Field(
        0, ge=0, description="at the end, without mosaic and mixup, with the L1 loss (official: none)"
    )


class TeacherConfig(Settings):
    """A finished model that the detector learns from besides the boxes: smaller ones, out of larger ones."""

    weights: str = Field(description="a checkpoint, or the name of bundled weights")
    settings: ModelSettings = Field({}, description="of its settings, those to change: encoder.window")
    weight: float = Field(1.0, gt=0, description="of its loss beside those of the boxes")


class EvaluateConfig(Settings):
    """Scores during the training."""

    dataset: str | None = Field(None, description="data set of `svit eval`; none scores nothing")
    root: Path | None = Field(
        None, description="folder that data set was unpacked to; none: its own (MOT17) in `data.root`"
    )
    every_epochs: float = Field(1, gt=0, description="epochs from one to the next; the end is always scored")
    split: str | None = Field(
        None, description="of `data.actions.index`, to score on; none scores no actions"
    )
    clips: int = Field(
        0, ge=0, description="synthetic clips to score on, of another seed than the training's"
    )


class Experiment(Settings):
    """A training run, whole."""

    name: str = Field("custom", description="of the experiment")
    model: ModelChoice = ModelChoice()
    data: DataConfig
    teacher: TeacherConfig | None = Field(None, description="a model to learn from; none is the boxes alone")
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
        "bf16",
        description="of matrix products; weights stay fp32; without bf16 in the processor fp32 is faster",
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
    log_to: tuple[Logger, ...] | None = Field(
        None, description="tensorboard, wandb (uploads); none: TensorBoard if it is installed"
    )
    explode: float = Field(1e4, gt=0, description="a loss above this ends the run")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        schedule = self.schedule
        if schedule.warm_up_epochs + schedule.constant_epochs > schedule.epochs:
            raise ValueError("schedule: warm_up_epochs and constant_epochs are longer than epochs")
        if schedule.plain_epochs > schedule.epochs:
            raise ValueError("schedule: plain_epochs are longer than epochs")
        actions, scored = self.data.actions, self.evaluate
        if self.teacher and (self.form != "clip" or not self.data.sources):
            raise ValueError("a teacher needs form=clip, and data.sources to find things in")
        if scored.split is not None and (actions is None or actions.index is None):
            raise ValueError(f"evaluate.split={scored.split} is of data.actions.index, and there is none")
        if scored.clips and (actions is None or actions.synthetic is None):
            raise ValueError(
                f"evaluate.clips={scored.clips} are of data.actions.synthetic, and there is none"
            )
        least, greatest = self.data.clip.strides
        if not 1 <= least <= greatest:
            raise ValueError(
                f"data.clip.strides ({least}, {greatest}) must be the least and the greatest, from 1"
            )
        return self

    @model_validator(mode="after")
    def _fits_the_model(self) -> Self:
        """Sides of the input are multiples of the model's coarsest stride; an unknown model is found here."""
        model, augment, actions = self.model_settings(), self.data.augment, self.data.actions
        if actions is not None and actions.size % model.stride:
            raise ValueError(
                f"data.actions makes frames of {actions.size}x{actions.size}, model {self.model.preset} "
                f"needs multiples of {model.stride} pixels"
            )
        if not self.data.sources:
            return self
        if self.multi_scale and DIVISOR % model.stride:
            raise ValueError(
                f"multi_scale makes sides of multiples of {DIVISOR} pixels, model {self.model.preset} needs "
                f"multiples of {model.stride}; set multi_scale=null"
            )
        if augment.height % model.stride or augment.width % model.stride:
            raise ValueError(
                f"data.augment makes frames of {augment.width}x{augment.height}, model {self.model.preset} "
                f"needs multiples of {model.stride} pixels"
            )
        return self

    def model_settings(self, actions: Sequence[str] = ()) -> ModelConfig:
        """The model that is trained, under the name its checkpoint will have.

        Args:
            actions: classes of the action data; until they have been read, one stands for them.
        """
        return self.model.config(self.name, actions or (("?",) if self.data.actions else ()))


def experiment_names() -> list[str]:
    """Names of the experiments that come with svit."""
    files = resources.files("svit").joinpath("configs/experiments").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def describe_experiment(name: str) -> str:
    """The first sentence of the comment that a preset begins with."""
    comment = []
    for line in _text(name).splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return " ".join(comment).partition(". ")[0].removesuffix(".")


def load_experiment(name_or_path: str, changes: Sequence[str] = ()) -> Experiment:
    """An experiment with some settings changed; what depends on others is filled in.

    Args:
        name_or_path: one of `experiment_names()`, or a YAML file.
        changes: `key=value`, keys nested by dots (`optimiser.rate=1e-4`, `data.sources.0.share=0.2`), values
            in YAML.

    Raises:
        UsageError: unknown experiment, key or data set (the nearest is suggested), or a value out of range.
    """
    values = _read(name_or_path)
    for text in changes:
        _set(values, *_change(text))
    experiment = validated(Experiment, values, str(values["name"]))
    scored = experiment.evaluate
    if scored.dataset is None or scored.root is not None or not _is_name(scored.dataset):
        return experiment
    own = dataset_config(scored.dataset).root
    if own.parts[:1] != ("data",):
        return experiment
    root = experiment.data.root.joinpath(*own.parts[1:])
    return experiment.model_copy(update={"evaluate": scored.model_copy(update={"root": root})})


def as_yaml(experiment: Experiment) -> str:
    """All settings as a YAML file that `load_experiment` reads."""
    values = experiment.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)


def _text(name: str) -> str:
    return resources.files("svit").joinpath(f"configs/experiments/{name}.yaml").read_text("utf-8")


def _is_name(dataset: str) -> bool:
    """Whether a data set is named, not a folder."""
    return Path(dataset).name == dataset and not Path(dataset).is_dir()


def _read(name_or_path: str) -> dict[str, Any]:
    known = experiment_names()
    if name_or_path in known:
        return {"name": name_or_path, **yaml.safe_load(_text(name_or_path))}
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"unknown experiment '{name_or_path}'; {nearest(name_or_path, known)}")
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: an experiment is a list of settings, key: value")
    return {"name": path.stem, **values}


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"'{text}' is no setting; write key=value, as in optimiser.rate=1e-4")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(f"the value of '{text}' is no YAML") from None


def _set(values: dict[str, Any], key: str, value: object) -> None:
    """Sets a nested value; groups that are not there are made, for the validation to judge."""
    target: Any = values
    *groups, last = key.split(".")
    for group in groups:
        inner = target[_place(target, group, key)] if _has(target, group) else None
        if not isinstance(inner, dict | list):
            inner = {}
            target[_place(target, group, key)] = inner
        target = inner
    target[_place(target, last, key)] = value


def _has(target: dict[str, Any] | list[Any], group: str) -> bool:
    return isinstance(target, list) or group in target


def _place(target: dict[str, Any] | list[Any], name: str, key: str) -> Any:  # noqa: ANN401 - of either
    """A key of a dictionary, or a position in a list."""
    if isinstance(target, dict):
        return name
    if name.isdecimal() and int(name) < len(target):
        return int(name)
    raise UsageError(f"setting '{key}': '{name}' is no number from 0 to {len(target) - 1}")
