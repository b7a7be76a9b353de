"""A model over a data set: detections, tracks and scores, in a folder that a killed run goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from svit.data.datasets import EvalSequence
from svit.errors import UsageError
from svit.evaluate.evaluation import Evaluation, Latency, SequenceResult, Speed
from svit.evaluate.passes import SequenceJob, person_class
from svit.evaluate.run_files import RESULTS
from svit.evaluate.run_folder import RunFolder, run_settings
from svit.evaluate.run_scores import check_ground_truth, score_run
from svit.evaluate.shards import is_main_process, joined_ranks, local_device
from svit.evaluate.workers import run_alone, run_in_workers
from svit.model.video_model import VideoModel
from svit.types import Progress, no_progress

__all__ = [
    "Evaluation",
    "Latency",
    "RunOptions",
    "SequenceResult",
    "Speed",
    "evaluate_model",
    "is_main_process",
    "local_device",
]


@dataclass(frozen=True)
class RunOptions:
    """How a run goes; device and precision are the model's.

    Attributes:
        chunk: frames that go through the encoder at once; 1 is step by step. Results are the same up to
            rounding.
        memory: frames remembered, the current one included; None is the model's setting.
        workers: processes on this machine that share the sequences, and the threads; leave it 1 under
            torchrun. Results are the same, up to rounding where the number of threads changes it.
        overwrite: throw away what an earlier run left in the output folder; else a run with the same settings
            is gone on from, and one with others is an error.
    """

    chunk: int = 8
    memory: int | None = None
    workers: int = 1
    overwrite: bool = False


def evaluate_model(
    model: VideoModel,
    dataset: list[EvalSequence],
    output: Path,
    options: RunOptions = RunOptions(),
    progress: Progress = no_progress,
) -> Evaluation:
    """Runs detector and tracker over the sequences and scores what they found.

    A sequence that a run with the same settings has finished in `output` is not computed again.

    Args:
        model: with a detector; stays as it is.
        dataset: from `svit.data.datasets.load_dataset`.
        output: folder; made if it is not there. See `Evaluation.output`.
        options: see `RunOptions`.
        progress: told of the frames, then of the scoring.

    Returns:
        The scores; under torchrun the same in every process.

    Raises:
        UsageError: `output` holds a run with other settings; or the options do not fit.
        DataError: a frame or a ground truth row is missing or malformed.
        OutputError: the folder cannot be written.
    """
    _check(model, dataset, options)
    memory = model.config.encoder.memory if options.memory is None else options.memory
    config = model.config.model_dump(mode="json")
    folder = RunFolder(output, run_settings(model, config, dataset, memory, options.chunk))
    job = SequenceJob(folder, options.chunk, memory)
    with joined_ranks() as ranks:
        if ranks.count > 1 and options.workers > 1:
            raise UsageError("--workers goes without torchrun, which has started processes already")
        ranks.agree(lambda: folder.prepare(options.overwrite))
        names = ranks.agree(lambda: [each.name for each in dataset if not folder.finished(each.name)])
        _run(
            model,
            ranks.share([each for each in dataset if each.name in names]),
            job,
            options.workers,
            progress,
        )
        ranks.meet()
        evaluation = score_run(model.config.name, dataset, folder, progress)
        if ranks.rank == 0:
            folder.write_json(RESULTS, evaluation.as_json())
    return evaluation


def _run(
    model: VideoModel, sequences: Sequence[EvalSequence], job: SequenceJob, workers: int, progress: Progress
) -> None:
    several = min(workers, len(sequences)) > 1
    frames = run_in_workers(model, sequences, job, workers) if several else run_alone(model, sequences, job)
    with closing(frames):  # whatever ends this, it ends the processes
        for _ in progress(frames, "frames", sum(each.frames for each in sequences)):
            pass


def _check(model: VideoModel, dataset: Sequence[EvalSequence], options: RunOptions) -> None:
    """Refuses what cannot go well before anything is done."""
    for name, value in (("chunk", options.chunk), ("workers", options.workers), ("memory", options.memory)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be 1 or more, got {value}")
    if model.training:
        raise UsageError("the model is in training mode; call model.eval() first")
    person_class(model)
    names = [each.name for each in dataset]
    if not names or len(set(names)) < len(names):
        raise UsageError("a run needs sequences, each with a name of its own")
    check_ground_truth(dataset)
