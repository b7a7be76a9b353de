"""`svit track` and `svit demo`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svit.cli.options import PRECISIONS
from svit.cli.progress import Pace, source_bar
from svit.cli.replay import Detections, High, Init, Interpolate, Low, ReplayOptions, Scores, replay
from svit.cli.signals import StopSignals
from svit.errors import OutputError, UsageError

if TYPE_CHECKING:
    from svit.model.video_model import VideoModel
    from svit.types import FrameResult
    from svit.video import Source

SAMPLE = "one-by-one.mp4"


@dataclass
class Outputs:
    """The files a run writes; None where one is not wanted."""

    video: Path | None = None
    mot: Path | None = None
    jsonl: Path | None = None
    contact_sheet: Path | None = None

    def named(self) -> dict[str, Path]:
        """The wanted ones by what they are, in the order they are printed."""
        names = {
            "video": self.video,
            "MOT file": self.mot,
            "JSON lines": self.jsonl,
            "contact sheet": self.contact_sheet,
        }
        return {name: path for name, path in names.items() if path is not None}


def track(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(help="Video file, folder of images, camera number (0), rtsp:// or http://."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Annotated video, .mp4.")] = None,
    mot: Annotated[Path | None, typer.Option(help="Tracks as MOTChallenge text, .txt.")] = None,
    jsonl: Annotated[
        Path | None, typer.Option(help="One JSON object per frame, .jsonl; - is stdout.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Contact sheet of the video, .png.")] = None,
    model: Annotated[
        str, typer.Option(help="Bundled weights or a checkpoint; see `svit models`.")
    ] = "tiny-person",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 ...; the default is a GPU if there is one.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help=PRECISIONS)] = None,
    memory: Annotated[int | None, typer.Option(help="Frames remembered; the default is the model's.")] = None,
    memory_bits: Annotated[
        int | None, typer.Option(help="8 stores the memory in 8 bits; the default is the model's setting.")
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1, help="Frames of a recording that the encoder takes at once (4); a camera's come singly."
        ),
    ] = None,
    no_video: Annotated[
        bool, typer.Option("--no-video", help="Write no video, only what else is asked for.")
    ] = False,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Of a camera: drop no frame, even if slow.")
    ] = False,
    actions: Annotated[
        bool,
        typer.Option("--actions", help="Also recognise actions, in the same pass; needs a model for both."),
    ] = False,
    high: High = None,
    low: Low = None,
    init: Init = None,
    detections: Detections = None,
    scores: Scores = "keep",
    interpolate: Interpolate = False,
) -> int:
    """Track people: writes an annotated video and the tracks.

    Without -o, --mot, --jsonl or --sheet it writes NAME_tracks.mp4 and NAME_tracks.txt here.

    With --detections the tracker runs alone, without model and images, on MOTChallenge rows
    frame,-1,x,y,w,h,score; it writes NAME_tracks.txt. For a folder of sequences (SEQ/det/det.txt or SEQ.txt)
    --mot names a folder. Boxes without a score, or all with -1, count as certain.
    """
    given = {"high": high, "low": low, "init": init}
    thresholds = {name: value for name, value in given.items() if value is not None}
    if detections is not None:
        if source is not None:
            raise UsageError("SOURCE and --detections are two inputs; leave one of them away")
        _refuse_options(context, PICTURE_OPTIONS, "needs pictures, and --detections has none")
        return replay(detections, mot, ReplayOptions(scores, interpolate, thresholds))
    _refuse_options(context, REPLAY_OPTIONS, "goes with --detections only")
    if source is None:
        raise UsageError("nothing to track; name a SOURCE, or give boxes with --detections")
    outputs = _choose_outputs(source, Outputs(output, mot, jsonl, sheet), no_video)
    options = {
        "model": model, "device": device, "precision": precision, "memory_bits": memory_bits,
        "memory": memory, "chunk": chunk,
    }  # fmt: skip
    return _track(source, outputs, options | {"thresholds": thresholds}, every_frame, actions)


PICTURE_OPTIONS = {
    "output": "-o",
    "jsonl": "--jsonl",
    "sheet": "--sheet",
    "model": "--model",
    "device": "--device",
    "precision": "--precision",
    "memory": "--memory",
    "memory_bits": "--memory-bits",
    "chunk": "--chunk",
    "no_video": "--no-video",
    "every_frame": "--every-frame",
    "actions": "--actions",
}
REPLAY_OPTIONS = {"scores": "--scores", "interpolate": "--interpolate"}


def _refuse_options(context: typer.Context, options: dict[str, str], why: str) -> None:
    """Ends with an error where one of `options` was given."""
    for name, option in options.items():
        origin = context.get_parameter_source(name)
        if origin is not None and origin.name != "DEFAULT":
            raise UsageError(f"{option} {why}; leave it away")


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("demo"),
) -> int:
    """Track the people in the sample clip that comes with svit."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {output}: {error.strerror}; choose another with -o"
        ) from None
    outputs = Outputs(
        output / "tracks.mp4", output / "tracks.txt", output / "tracks.jsonl", output / "contact_sheet.png"
    )
    with resources.as_file(resources.files("svit") / "assets" / SAMPLE) as clip:
        return _track(str(clip), outputs, {}, every_frame=False)


def _choose_outputs(source: str, outputs: Outputs, no_video: bool) -> Outputs:
    if no_video and outputs.video:
        raise UsageError("-o asks for a video and --no-video for none; leave one of them away")
    if not outputs.named():
        stem = _stem(source)
        outputs = Outputs(None if no_video else Path(f"{stem}_tracks.mp4"), Path(f"{stem}_tracks.txt"))
    return outputs


def _stem(source: str) -> str:
    from svit.video.sources import without_password

    if source.isdecimal():
        return f"camera{source}"
    name = Path(without_password(source).rstrip("/").split("?")[0]).stem
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name) or "stream"


@dataclass
class Tally:
    """What a run has done so far."""

    pace: Pace = field(default_factory=Pace)
    ids: set[int] = field(default_factory=set)

    def add(self, result: FrameResult) -> None:
        """Counts one frame. Ids are counted one by one: a set of them grows with people, not with frames."""
        self.pace.frames += 1
        self.ids.update(() if result.tracks.tracker_id is None else result.tracks.tracker_id.tolist())

    def __str__(self) -> str:
        return f"{self.pace.frames} frames, {self.pace.rate:.1f} frames/s, {len(self.ids)} tracks"


def _track(
    source: str, outputs: Outputs, options: dict[str, Any], every_frame: bool, actions: bool = False
) -> int:
    """Tracks a source into files. Whatever ends it, what was written is finished and the summary printed."""
    from svit.stream import track as results
    from svit.tracking import ByteTracker
    from svit.video import BackgroundWriter, open_source, open_writers, read_ahead
    from svit.weights import load

    if "model" in options:
        loading = (options.pop(name) for name in ("device", "precision", "memory_bits"))
        model = load(options["model"], *loading)
        settings = model.config.tracker.model_dump() | options.pop("thresholds")
        options |= {"model": model, "tracker": ByteTracker(**settings)}
        _check_heads(model, actions)
    tally, status = Tally(), 0

    def written(result: FrameResult) -> None:
        tally.add(result)
        advance("")

    with open_source(source, every_frame=every_frame) as frames, StopSignals() as stop:
        options["chunk"] = _chunk(options.get("chunk"), frames)
        try:
            with (
                source_bar(frames) as advance,
                BackgroundWriter(open_writers(frames, **vars(outputs)), written) as writers,
                read_ahead(frames) as ahead,
            ):
                for result in stop.between(results(ahead, **options)):
                    writers.write(result if actions else replace(result, actions=None))
        except KeyboardInterrupt:
            # Ctrl-C is how a camera is stopped, but a file was cut short.
            status = 0 if frames.live else 1
            print("stopped; what was written so far is complete", file=sys.stderr)
        finally:
            if tally.pace.frames:
                _summarise(tally, outputs)
    return status


def _chunk(asked: int | None, source: Source) -> int:
    """How many frames the encoder takes at once: a camera's must not wait for each other."""
    from svit.stream import CHUNK

    if asked is not None and asked > 1 and source.live:
        raise UsageError(f"--chunk {asked} is for recordings; leave it away, a camera's frames come singly")
    return asked or (1 if source.live else CHUNK)


def _check_heads(model: VideoModel, actions: bool) -> None:
    """UsageError unless the model can do what is asked for."""
    if model.config.detector is None:
        raise UsageError(
            f"model '{model.config.name}' has no detector, so it cannot track; use svit classify"
        )
    if actions and model.config.action is None:
        raise UsageError(f"--actions: model '{model.config.name}' has no action head; leave it away")


def _summarise(tally: Tally, outputs: Outputs) -> None:
    stream = sys.stderr if outputs.jsonl == Path("-") else sys.stdout
    for name, path in outputs.named().items():
        if path.is_file():  # not where it failed, nor where it is no file
            print(f"{name + ':':<15}{path}", file=stream)
    print(f"{'summary:':<15}{tally}", file=stream)
