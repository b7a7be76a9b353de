"""Scores of the averaged weights, during the training and at its end."""

from __future__ import annotations

from pathlib import Path

from svit.data.datasets import load_dataset
from svit.evaluate.run import RunOptions, evaluate_model
from svit.model.video_model import VideoModel
from svit.train.experiment import EvaluateConfig
from svit.train.optim import whole
from svit.train.trainer import Trainer


def averaged_model(trainer: Trainer) -> VideoModel:
    """The averaged weights as a model, in evaluation mode; called by all processes."""
    state = {name: whole(tensor).cpu() for name, tensor in trainer.average.state.items()}
    model = VideoModel(trainer.config).eval()
    model.load_state_dict(state)
    return model


def score(model: VideoModel, settings: EvaluateConfig, output: Path) -> dict[str, float]:
    """Evaluates as `svit eval` does, into `output`; HOTA, MOTA, IDF1 and AP50 over all sequences, per cent.

    Called by all processes: they share the sequences, and all get the numbers.

    Raises:
        SvitError: the data set is missing or malformed.
    """
    assert settings.dataset is not None
    sequences = load_dataset(settings.dataset, settings.root)
    combined = evaluate_model(model, sequences, output, RunOptions(overwrite=True)).combined
    tracking = {name: float(combined.tracking[name]) for name in ("HOTA", "MOTA", "IDF1")}
    return tracking | {"AP50": float(combined.detection["AP50"])}
