"""What a training starts from: random weights, CLIP's, or a checkpoint of svit."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from svit.config import ModelConfig, model_config
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel, build
from svit.train.experiment import Experiment
from svit.train.teacher import Teacher
from svit.weights import copy_weights, load
from svit.weights.clip import initialise_from_clip, is_clip
from svit.weights.files import read_file


def start_model(
    experiment: Experiment, fresh: bool = True, actions: Sequence[str] = ()
) -> tuple[VideoModel, str]:
    """The model to train, on the CPU in fp32, and where its weights came from, in words.

    A head that the experiment has no data for is frozen, as `model.frozen` is, and stays what it is.

    Args:
        experiment: the settings.
        fresh: whether the run begins; weights of one that goes on come from its checkpoint, and the file it
            once started from is not read.
        actions: classes of the action data.

    Raises:
        WeightsError: the file to start from is missing, damaged, or of another model.
        UsageError: there are boxes to learn from, and the model has no detector; or nothing is left to train.
    """
    config, tasks = experiment.model_settings(actions), experiment.data.tasks
    if config.detector is None and "detection" in tasks:
        raise UsageError(f"model '{config.name}' has no detector; there is nothing to train it on")
    torch.manual_seed(experiment.seed)
    model = build(config)
    origin = _start(model, experiment) if fresh else "weights: of the checkpoint"
    without_data = [] if "detection" in tasks else ["pyramid", "detector"]
    without_data += [] if "actions" in tasks else ["action"]
    for name in {*without_data, *experiment.model.frozen}:
        if (part := getattr(model, name)) is not None:
            part.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("model.frozen leaves nothing to train")
    return model, origin


def start_teacher(experiment: Experiment, student: ModelConfig) -> Teacher | None:
    """The finished model that the experiment's one learns from, on the CPU; None without.

    Raises:
        WeightsError: its file is missing or damaged.
        UsageError: it cannot teach such a model.
    """
    settings = experiment.teacher
    if settings is None:
        return None
    model = load(settings.weights, "cpu")
    if settings.settings:
        changed = build(model_config(model.config.model_dump(), **settings.settings))
        copy_weights(model, changed, settings.weights)
        model = changed
    return Teacher(model, student, settings.weight)


def _start(model: VideoModel, experiment: Experiment) -> str:
    path = experiment.model.start
    if path is None:
        return "weights: random"
    if path.is_file() and is_clip(read_file(path)):
        return str(initialise_from_clip(model, path))
    return _copy(load(str(path), "cpu"), model, str(path), experiment.model.new_head)


def _copy(source: VideoModel, model: VideoModel, origin: str, new_head: bool) -> str:
    """Takes over all parts that the model has; told is what stays new, and what is not used.

    Raises:
        WeightsError: a part does not fit, or is missing.
    """
    old, new = source.state_dict(), model.state_dict()
    fresh = ["action"] if new_head and model.action is not None else []
    wanted = {name: tensor for name, tensor in new.items() if _part(name) not in fresh}
    parts = sorted({_part(name) for name in wanted})
    taken = {name: tensor for name, tensor in old.items() if _part(name) in parts}
    if {name: t.shape for name, t in taken.items()} != {name: t.shape for name, t in wanted.items()}:
        try:
            copy_weights(source, model, origin)
        except WeightsError as error:
            hint = "; model.new_head=true starts the action head anew" if "action" in str(error) else ""
            raise WeightsError(f"{error}{hint}") from None
    model.load_state_dict({**new, **taken})
    left = sorted({_part(name) for name in old} - set(parts))
    words = [f"weights: {origin}", f"new: {', '.join(fresh)}" if fresh else ""]
    return "; ".join(filter(None, [*words, f"not used: {', '.join(left)}" if left else ""]))


def _part(name: str) -> str:
    """The part of the model that a tensor is of: encoder, pyramid, detector, action."""
    return name.partition(".")[0]
