"""A model over an action data set: answers for every video, in a folder that a killed run goes on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svit.data.actions import ActionIndex, SamplingConfig, ViewConfig
from svit.errors import UsageError
from svit.evaluate.action_evaluation import ActionEvaluation, score_answers
from svit.evaluate.action_folder import ActionFolder, video_name
from svit.evaluate.action_pass import ActionJob, VideoPiece
from svit.evaluate.run_files import RESULTS
from svit.evaluate.shards import joined_ranks
from svit.evaluate.workers import run_alone, run_in_workers
from svit.model.video_model import VideoModel
from svit.types import Progress, no_progress
from svit.weights.files import fingerprint

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class ActionOptions:
    """How a run goes; device and precision are the model's.

    Attributes:
        split: of the data set.
        views: clips and crops of each video; None: none, then `streaming` must be on.
        sampling: which frames make a clip.
        streaming: also one pass over every whole video, frame by frame.
        chunk: frames that go through the encoder at once, for the views. Results are the same up to rounding.
        memory: frames remembered by the encoder; None is the model's setting.
        workers: processes on this machine that share the videos, and the threads; leave it 1 under torchrun.
        overwrite: throw away what an earlier run left in the output folder; else a run with the same settings
            is gone on from, and one with others is an error.
    """

    split: str
    views: ViewConfig | None
    sampling: SamplingConfig
    streaming: bool = False
    chunk: int = 64
    memory: int | None = None
    workers: int = 1
    overwrite: bool = False


def evaluate_actions(
    model: VideoModel,
    index: ActionIndex,
    output: Path,
    options: ActionOptions,
    progress: Progress = no_progress,
) -> ActionEvaluation:
    """Lets a model say what every video of a split shows, and scores it.

    A video that a run with the same settings has finished in `output` is not computed again; one that could
    not be read is tried again.

    Args:
        model: with an action head that knows the data set's classes; stays as it is.
        index: the data set.
        output: folder; made if it is not there. See `ActionEvaluation.output`.
        options: see `ActionOptions`.
        progress: told of the videos.

    Returns:
        The scores; under torchrun the same in every process.

    Raises:
        UsageError: `output` holds a run with other settings; the options do not fit; or the model has no
            action head, or one that lacks a class.
        DataError: the split has no videos, or none of them can be read.
        OutputError: the folder cannot be written.
    """
    classes = check_run(model, index, options)
    memory = model.config.encoder.memory if options.memory is None else options.memory
    videos = index.of(options.split)
    folder = ActionFolder(output, _settings(model, index, options, memory))
    job = ActionJob(
        folder,
        index,
        options.split,
        options.sampling,
        options.views,
        options.streaming,
        options.chunk,
        memory,
    )
    pieces = [VideoPiece(number, video.path, video.frames) for number, video in enumerate(videos)]
    with joined_ranks() as ranks:
        if ranks.count > 1 and options.workers > 1:
            raise UsageError("--workers goes without torchrun, which has started processes already")
        ranks.agree(lambda: folder.prepare(options.overwrite))
        waiting = ranks.agree(
            lambda: {each.number for each in pieces if not folder.finished(video_name(each.number))}
        )
        _run(model, ranks.share([each for each in pieces if each.number in waiting]), job, options, progress)
        ranks.meet()
        evaluation = score_answers(model, index, folder, options.split, classes)
        if ranks.rank == 0:
            folder.write_json(RESULTS, evaluation.as_json())
            evaluation.write_predictions(output / PREDICTIONS)
    return evaluation


def check_run(model: VideoModel, index: ActionIndex, options: ActionOptions) -> list[int]:
    """The model's class of each of the data set's, by name; refuses what cannot go well.

    Raises:
        UsageError: see `evaluate_actions`.
    """
    for name, value in (("chunk", options.chunk), ("workers", options.workers), ("memory", options.memory)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be 1 or more, got {value}")
    if model.training:
        raise UsageError("the model is in training mode; call model.eval() first")
    if options.views is None and not options.streaming:
        raise UsageError("neither views nor streaming: nothing is asked of the model")
    if model.config.action is None:
        raise UsageError(f"model '{model.config.name}' has no action head, so it recognises no actions")
    known = {name: number for number, name in enumerate(model.config.action.class_names)}
    lacking = [name for name in index.classes if name not in known]
    if lacking:
        raise UsageError(
            f"model '{model.config.name}' has {len(known)} classes and {index.name} {len(index.classes)}, of"
            f" which it does not know '{lacking[0]}'; train a new head for these classes (svit train, or"
            " svit.weights.replace_action_head)"
        )
    return [known[name] for name in index.classes]


def _run(
    model: VideoModel,
    pieces: Sequence[VideoPiece],
    job: ActionJob,
    options: ActionOptions,
    progress: Progress,
) -> None:
    several = min(options.workers, len(pieces)) > 1
    done = run_in_workers(model, pieces, job, options.workers) if several else run_alone(model, pieces, job)
    with closing(done):  # whatever ends this, it ends the processes
        for _ in progress(done, "videos", len(pieces)):
            pass


def _settings(model: VideoModel, index: ActionIndex, options: ActionOptions, memory: int) -> dict[str, Any]:
    """What the answers depend on, but for the device and its rounding."""
    weights = model.state_dict()
    videos = index.of(options.split)
    listed = json.dumps([[video.path, video.label, video.frames] for video in videos])
    settings = {
        "weights": fingerprint(weights),
        "precision": str(next(iter(weights.values())).dtype).removeprefix("torch."),
        "memory": memory,
        "chunk": options.chunk,
        "model": model.config.model_dump(mode="json"),
        "data": {
            "name": index.name,
            "split": options.split,
            "videos": len(videos),
            "list": hashlib.sha256(listed.encode()).hexdigest()[:16],
        },
        "views": None if options.views is None else options.views.model_dump(mode="json"),
        "sampling": options.sampling.model_dump(mode="json"),
        "streaming": options.streaming,
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain
