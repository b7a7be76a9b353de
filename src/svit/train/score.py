"""Scores of the averaged weights, during the training and at its end."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from svit.data.actions import ViewConfig
from svit.data.datasets import load_dataset
from svit.evaluate.action import score_actions
from svit.evaluate.action_pass import clip_probabilities
from svit.evaluate.action_run import ActionOptions, evaluate_actions
from svit.evaluate.run import RunOptions, evaluate_model
from svit.model.video_model import VideoModel
from svit.train.experiment import EvaluateConfig, Experiment
from svit.train.optim import whole
from svit.train.sources import HELD_OUT, load_index, synthetic_clips
from svit.train.trainer import Trainer

AT_ONCE = 16
"""Synthetic clips in a batch."""


def averaged_model(trainer: Trainer) -> VideoModel:
    """The averaged weights as a model, in evaluation mode; called by all processes."""
    state = {name: whole(tensor).cpu() for name, tensor in trainer.average.state.items()}
    model = VideoModel(trainer.config).eval()
    model.load_state_dict(state)
    return model


def is_scored(settings: EvaluateConfig) -> bool:
    """Whether anything is."""
    return settings.dataset is not None or settings.split is not None or settings.clips > 0


def score(model: VideoModel, experiment: Experiment, output: Path) -> dict[str, float]:
    """Evaluates as `svit eval` does, into `output`; per cent.

    Called by all processes: they share sequences and videos, and all get the numbers.

    Returns:
        HOTA, MOTA, IDF1 and AP50 over all sequences, where there is a data set with boxes; top-1, top-5,
        mean class and AUC, where there are actions; without those that say nothing, as top-5 of two classes.

    Raises:
        SvitError: the data set is missing or malformed.
    """
    settings, found = experiment.evaluate, dict[str, float]()
    if settings.dataset is not None:
        sequences = load_dataset(settings.dataset, settings.root)
        combined = evaluate_model(model, sequences, output, RunOptions(overwrite=True)).combined
        found |= {name: float(combined.tracking[name]) for name in ("HOTA", "MOTA", "IDF1")}
        found |= {"AP50": float(combined.detection["AP50"])}
    if settings.split is not None:
        found |= _score_videos(model, experiment, output / "actions")
    if settings.clips:
        found |= _score_synthetic(model, experiment)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def decisive(metrics: dict[str, float]) -> float:
    """What makes one evaluation better than another: HOTA, top-1, or with both tasks their mean; per cent."""
    return float(np.mean([metrics[name] for name in ("HOTA", "top-1") if name in metrics]))


def _score_videos(model: VideoModel, experiment: Experiment, output: Path) -> dict[str, float]:
    data, split = experiment.data.actions, experiment.evaluate.split
    assert data is not None
    assert split is not None
    options = ActionOptions(split, ViewConfig(size=data.size), data.sampling, overwrite=True)
    scores = evaluate_actions(model, load_index(experiment), output, options).scores
    assert scores is not None
    return scores


def _score_synthetic(model: VideoModel, experiment: Experiment) -> dict[str, float]:
    """Of clips that no seed of a training makes; every process looks at all of them."""
    clips, memory = synthetic_clips(experiment, experiment.seed + HELD_OUT), model.config.encoder.memory
    samples = [clips[number] for number in range(experiment.evaluate.clips)]
    parts = [
        clip_probabilities(
            model, np.stack([s.frames for s in samples[at : at + AT_ONCE]]), memory, len(samples)
        )
        for at in range(0, len(samples), AT_ONCE)
    ]
    return score_actions(np.concatenate(parts), np.array([sample.label for sample in samples]))
