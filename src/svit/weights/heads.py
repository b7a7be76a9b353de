"""New action heads on trained models, and trained weights as the start of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from svit.config import ActionConfig, ModelConfig, model_config
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel

_CLASSIFIER = "action.classifier."


def add_action_head(model: VideoModel, action: ActionConfig | dict[str, Any]) -> VideoModel:
    """A copy of a model with an untrained action head, beside the detector if it has one.

    Encoder, pyramid and detector keep their weights. A head that the model had is given up.

    Args:
        model: not changed.
        action: the head's settings, at least `class_names`.

    Raises:
        UsageError: settings that do not exist, do not fit each other or do not fit the encoder.
    """
    settings = action.model_dump() if isinstance(action, ActionConfig) else dict(action)
    config = model_config({**model.config.model_dump(), "action": settings})
    return _rebuilt(model, config, fresh="action.")


def replace_action_head(model: VideoModel, class_names: Sequence[str]) -> VideoModel:
    """A copy of a model for other action classes: only the last layer of its action head starts anew.

    Args:
        model: with an action head; not changed.
        class_names: of the new classes, in the order of their numbers.

    Raises:
        UsageError: the model has no action head, or the names are none or not different.
    """
    if model.config.action is None:
        raise UsageError(
            f"model '{model.config.name}' has no action head; svit.weights.add_action_head gives one"
        )
    settings = {**model.config.action.model_dump(), "class_names": tuple(class_names)}
    config = model_config({**model.config.model_dump(), "action": settings})
    return _rebuilt(model, config, fresh=_CLASSIFIER)


def copy_weights(source: VideoModel, target: VideoModel, origin: str) -> None:
    """Overwrites a model's weights in place with those of another of the same tensors.

    Args:
        source: the trained model.
        target: the model to start.
        origin: what to call `source` in a message: its file.

    Raises:
        WeightsError: a tensor of one is missing in the other or of another shape; for an action head of other
            classes the message says how to start a new one.
    """
    old, new = source.state_dict(), target.state_dict()
    for name in (*new, *old):
        if name in old and name in new and old[name].shape == new[name].shape:
            continue
        if name.startswith(_CLASSIFIER) and name in old and name in new:
            counts = f"{len(old[name])} action classes, model '{target.config.name}' {len(new[name])}"
            raise WeightsError(
                f"{origin} has {counts}; start a new last layer with "
                "svit.weights.replace_action_head(model, class_names)"
            )
        if name.startswith("action.") and not any(key.startswith("action.") for key in old):
            raise WeightsError(
                f"{origin} has no action head, model '{target.config.name}' has; start one with "
                "svit.weights.add_action_head(model, settings)"
            )
        shapes = " and ".join(str(tuple(s[name].shape)) if name in s else "nothing" for s in (old, new))
        raise WeightsError(
            f"{origin} does not fit the model '{target.config.name}': {name} is {shapes}; start from weights "
            "of the same preset and settings"
        )
    target.load_state_dict(old)


def _rebuilt(model: VideoModel, config: ModelConfig, fresh: str) -> VideoModel:
    """A model of `config` with the weights of `model`, save for names that start with `fresh`."""
    weight = model.encoder.positions
    built = VideoModel(config).to(weight.device, weight.dtype).train(model.training)
    old = model.state_dict()
    with torch.no_grad():
        for name, tensor in built.state_dict().items():
            if name in old and not name.startswith(fresh):
                tensor.copy_(old[name])
    return built
