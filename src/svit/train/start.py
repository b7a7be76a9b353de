"""What a training starts from: random weights, CLIP's, or a checkpoint of svit."""

from __future__ import annotations

import torch

from svit.errors import UsageError
from svit.model.video_model import VideoModel, build
from svit.train.experiment import Experiment
from svit.weights import copy_weights, load
from svit.weights.clip import initialise_from_clip, is_clip
from svit.weights.files import read_file


def start_model(experiment: Experiment, fresh: bool = True) -> tuple[VideoModel, str]:
    """The model to train, on the CPU in fp32, and where its weights came from, in words.

    Args:
        experiment: the settings.
        fresh: whether the run begins; weights of one that goes on come from its checkpoint, and the file it
            once started from is not read.

    Raises:
        WeightsError: the file to start from is missing, damaged, or of another model.
        UsageError: the model has no detector.
    """
    config = experiment.model_settings()
    if config.detector is None:
        raise UsageError(f"model '{config.name}' has no detector; there is nothing to train it on")
    torch.manual_seed(experiment.seed)
    model = build(config)
    path = experiment.model.start
    if path is None or not fresh:
        return model, "weights: random"
    if is_clip(read_file(path)):
        return model, str(initialise_from_clip(model, path))
    copy_weights(load(path, "cpu"), model, str(path))
    return model, f"weights: {path}"
