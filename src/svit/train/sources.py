"""The clips of an experiment, by number: those with boxes, and those of actions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from svit.data.actions import ActionClips, ActionIndex, read_action_index
from svit.data.clips import Clips
from svit.data.datasets import data_root
from svit.data.scenes import load_scenes
from svit.data.synthetic import SyntheticClips, load_backgrounds
from svit.errors import UsageError
from svit.train.batches import Numbered
from svit.train.experiment import Experiment, Task
from svit.types import Progress, no_progress

HELD_OUT = 1_000_003
"""Added to the seed of synthetic clips, and of the pictures that they are cut from, for scoring."""


def load_clips(experiment: Experiment, progress: Progress = no_progress) -> Clips:
    """The clips with boxes of an experiment's data sets.

    Raises:
        DataError: a data set is missing, malformed or empty, or has classes that the model does not.
    """
    data, schedule, detector = experiment.data, experiment.schedule, experiment.model_settings().detector
    root, classes = data_root(data.root), None if detector is None else len(detector.class_names)
    sources = [(load_scenes(source, root, progress, classes), source.share) for source in data.sources]
    clips = Clips(sources, data.clip, data.augment, experiment.seed)
    plain = (schedule.epochs - schedule.plain_epochs) * clips.per_epoch
    return clips.plain_from(math.ceil(plain))


def load_actions(experiment: Experiment) -> ActionClips | SyntheticClips:
    """The clips of actions of an experiment, and their classes.

    Raises:
        DataError: the index or the pictures are missing, malformed or empty.
        UsageError: the model's settings name other classes than the data have.
    """
    data = experiment.data.actions
    assert data is not None
    clips: ActionClips | SyntheticClips
    if data.synthetic is not None:
        clips = synthetic_clips(experiment, experiment.seed)
    else:
        index, augment = load_index(experiment), data.augment
        clips = ActionClips(index, data.split, data.sampling, augment, experiment.seed, data.repeats)
        if experiment.evaluate.split is not None:
            index.of(experiment.evaluate.split)
    action = experiment.model_settings(clips.classes).action
    assert action is not None
    if action.class_names != tuple(clips.classes):
        raise UsageError(
            f"model.settings.action.class_names has {len(action.class_names)} classes, which are not the "
            f"{len(clips.classes)} of the data ({', '.join(clips.classes[:3])} ...); leave it out, the data "
            "name them"
        )
    return clips


def load_index(experiment: Experiment) -> ActionIndex:
    """The index of the action data, its videos where the settings say.

    Raises:
        DataError: it is missing or malformed.
    """
    data, root = experiment.data.actions, data_root(experiment.data.root)
    assert data is not None
    assert data.index is not None
    return read_action_index(root / data.index, None if data.videos is None else root / data.videos)


def synthetic_clips(experiment: Experiment, seed: int) -> SyntheticClips:
    """Made-up clips of a seed, over pictures of the experiment's data.

    Raises:
        DataError: there are no pictures.
    """
    data = experiment.data.actions
    assert data is not None
    pictures = load_backgrounds(data_root(experiment.data.root) / data.pictures, seed=seed)
    return SyntheticClips(pictures, data.synthetic, seed)


def load_tasks(experiment: Experiment, progress: Progress = no_progress) -> dict[Task, Numbered]:
    """Clips by number of each task, in the order in which a step takes them.

    Raises:
        SvitError: as `load_clips` and `load_actions`.
    """
    loaders: dict[Task, Callable[[], Numbered]] = {
        "detection": lambda: load_clips(experiment, progress),
        "actions": lambda: load_actions(experiment),
    }
    return {task: loaders[task]() for task in experiment.data.tasks}


def classes_of(tasks: Mapping[Task, Numbered]) -> list[str]:
    """The classes of the action data; none where there are no actions."""
    clips = tasks.get("actions")
    return clips.classes if isinstance(clips, ActionClips | SyntheticClips) else []
