"""`svit classify`: what a video shows."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svit.cli.options import PRECISIONS
from svit.cli.progress import Pace, source_bar
from svit.cli.signals import StopSignals
from svit.errors import SourceError, UsageError

if TYPE_CHECKING:
    from svit.config import ActionConfig
    from svit.evaluate.verdict import Verdict
    from svit.types import Frame, FrameResult
    from svit.video import Writer

STDOUT = Path("-")


@dataclass
class ClassifyOutputs:
    """The files a run writes; None where one is not wanted."""

    video: Path | None
    jsonl: Path | None
    timeline: Path | None

    def named(self) -> dict[str, Path]:
        """The wanted ones by what they are, in the order they are printed."""
        names = {"video": self.video, "JSON lines": self.jsonl, "timeline": self.timeline}
        return {name: path for name, path in names.items() if path is not None}


def classify(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE [LABEL ...]",
            help="Video file, folder of images, camera number (0), rtsp:// or http://; with --labels the "
            "classes after it.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Annotated video, .mp4.")] = None,
    jsonl: Annotated[
        Path | None, typer.Option(help="A JSON object per frame, the last on all of them; - is stdout.")
    ] = None,
    timeline: Annotated[Path | None, typer.Option(help="Picture of the scores over time, .png.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Bundled weights or a checkpoint; see `svit models`.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to name.")] = 5,
    labels: Annotated[
        bool, typer.Option("--labels", help='Zero-shot: SOURCE --labels "a man falls" "a dog runs".')
    ] = False,
    clip: Annotated[
        Path | None, typer.Option(help="Of --labels: folder of a CLIP model in the layout of transformers.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 ...; the default is a GPU if there is one.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help=PRECISIONS)] = None,
    memory: Annotated[
        int | None, typer.Option(min=1, help="Frames remembered; the default is the model's.")
    ] = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Of a camera: drop no frame, even if slow.")
    ] = False,
) -> int:
    """Recognise what a video shows: prints the most probable classes.

    The verdict is the mean of the answers given with a full window; of a video too short for that, the answer
    at its last frame. Every frame's own answer goes to --jsonl, -o and --timeline.
    """
    _check_words(words or [], labels, clip)
    source, *names = words or []
    outputs = ClassifyOutputs(output, jsonl, timeline)
    options = {"device": device, "precision": precision, "memory": memory}
    if labels:
        assert clip is not None
        recogniser = _by_words(names, clip, model, options)
    else:
        recogniser = _by_head(model, options)
    return _classify(source, recogniser, outputs, top, every_frame)


def _check_words(words: Sequence[str], labels: bool, clip: Path | None) -> None:
    """UsageError where source and labels are not what they must be."""
    if not words:
        raise UsageError("nothing to classify; name a SOURCE")
    if not labels:
        if clip is not None:
            raise UsageError("--clip goes with --labels only")
        if len(words) > 1:
            raise UsageError(
                f"one source at a time; '{words[1]}' is too many (classes in words need --labels)"
            )
        return
    if len(words) < 3:
        raise UsageError(
            '--labels needs two classes or more after SOURCE: SOURCE --labels "a man falls" "..."'
        )
    if clip is None:
        raise UsageError("--labels needs --clip FOLDER, a CLIP model in the layout of transformers")


@dataclass(frozen=True)
class Recogniser:
    """What looks at a source.

    Attributes:
        action: settings of its answers.
        results: a source's frames -> its answers.
    """

    action: ActionConfig
    results: Callable[[Iterator[Frame]], Iterator[FrameResult]]


def _by_head(name: str | None, options: dict[str, Any]) -> Recogniser:
    """A model's own action head."""
    from svit.stream import track
    from svit.weights import DEFAULT_MODEL, load

    model = load(name or DEFAULT_MODEL, options["device"], options["precision"])
    if model.config.action is None:
        raise UsageError(
            f"model '{model.config.name}' has no action head, so it recognises no actions; give one that has "
            "with --model, or classes in words with --labels"
        )
    return Recogniser(model.config.action, partial(track, model=model, memory=options["memory"]))


def _by_words(labels: Sequence[str], clip: Path, name: str | None, options: dict[str, Any]) -> Recogniser:
    """CLIP's comparison with words: of a model that started from it, or of CLIP's own image tower."""
    from svit.features import check_comparable, compare_with_labels
    from svit.weights import load, pick_device, pick_dtype
    from svit.weights.text import clip_video_model, embed_labels, is_same_tower

    embedded = embed_labels(clip, labels)
    if name is None:
        model = clip_video_model(clip, labels)
        device = pick_device(options["device"])
        model = model.to(device=device, dtype=pick_dtype(options["precision"], device))
    else:
        model = load(name, options["device"], options["precision"])
        check_comparable(model, embedded)
        if not is_same_tower(model, clip):
            warnings.warn(
                f"the encoder of '{model.config.name}' is not this CLIP's: it was trained further or "
                "started from another, so likeness to words means less",
                stacklevel=2,
            )
    action = check_comparable(model, embedded).model_copy(update={"class_names": tuple(labels)})
    memory = options["memory"]
    return Recogniser(
        action, lambda source: compare_with_labels(source, model, embedded, memory, as_clip=name is None)
    )


def _classify(
    source: str, recogniser: Recogniser, outputs: ClassifyOutputs, top: int, every_frame: bool
) -> int:
    """Looks at a source. Whatever ends it, what was written is finished and the verdict printed."""
    from svit.evaluate.verdict import Verdict
    from svit.video import BackgroundWriter, open_source, open_writers, read_ahead

    verdict, pace, status, complete = Verdict(recogniser.action), Pace(), 0, True
    with open_source(source, every_frame=every_frame) as frames, StopSignals() as stop:
        try:
            with (
                BackgroundWriter(open_writers(frames, **vars(outputs), actions=top)) as writers,
                source_bar(frames) as advance,
                read_ahead(frames) as ahead,
            ):
                try:
                    for result in stop.between(recogniser.results(ahead)):
                        writers.write(result)
                        verdict.add(result)
                        pace.frames += 1
                        advance(verdict.best)
                except (KeyboardInterrupt, SourceError) as end:
                    # Ctrl-C is how a camera is stopped, but a file was cut short.
                    complete = frames.live and isinstance(end, KeyboardInterrupt)
                    _conclude(writers, verdict, complete)
                    raise
                _conclude(writers, verdict, complete)
        except KeyboardInterrupt:
            status = 0 if complete else 1
            print("stopped; what was written so far is complete", file=sys.stderr)
        finally:
            if pace.frames:
                _summarise(verdict, pace, outputs, top, complete)
    return status


def _conclude(writers: Writer, verdict: Verdict, complete: bool) -> None:
    conclusion = verdict.conclusion(complete)
    if conclusion is not None:
        writers.conclude(conclusion)


def _summarise(verdict: Verdict, pace: Pace, outputs: ClassifyOutputs, top: int, complete: bool) -> None:
    """Prints the table, what was written, and the speed; beside JSON lines on stdout, to stderr."""
    stream = sys.stderr if outputs.jsonl == STDOUT else sys.stdout
    assert verdict.scores is not None
    best = verdict.scores.top(top)
    width = max(len("label"), *(len(label) for label, _ in best))
    print(f"{'label':<{width}}   score", file=stream)
    for label, score in best:
        print(f"{label:<{width}}  {score:.4f}", file=stream)
    print(file=stream)
    for name, path in outputs.named().items():
        if path.is_file():  # not where it failed, nor where it is no file
            print(f"{name + ':':<15}{path}", file=stream)
    cut = "" if complete else "; not seen to its end"
    print(f"{'summary:':<15}{pace.frames} frames, {pace.rate:.1f} frames/s{cut}", file=stream)
