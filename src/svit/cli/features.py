"""`svit features`: what the encoder makes of a video, as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svit.cli.options import PRECISIONS
from svit.cli.progress import Pace, source_bar
from svit.cli.signals import StopSignals
from svit.errors import OutputError, SourceError

if TYPE_CHECKING:
    from svit.features import FeatureFile, FeatureStream
    from svit.video import Source


def features(
    source: Annotated[
        str, typer.Argument(help="Video file, folder of images, camera number (0), rtsp:// or http://.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write, .safetensors.")],
    stages: Annotated[
        bool, typer.Option("--stages", help="Also the encoder's maps: large, see docs/actions.md.")
    ] = False,
    model: Annotated[
        str, typer.Option(help="Bundled weights or a checkpoint; see `svit models`.")
    ] = "tiny-person",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 ...; the default is a GPU if there is one.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help=f"{PRECISIONS} The file's too.")] = None,
    memory: Annotated[
        int | None, typer.Option(min=1, help="Frames remembered; the default is the model's.")
    ] = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Of a camera: drop no frame, even if slow.")
    ] = False,
) -> int:
    """Write the frame tokens of a video, and its feature maps, with timestamps."""
    from svit.features import FeatureStream
    from svit.video import open_source
    from svit.weights import load

    stream = FeatureStream(load(model, device, precision), memory)  # type: ignore[arg-type]
    with open_source(source, every_frame=every_frame) as frames:
        return _write(frames, stream, output, stages)


def _write(frames: Source, stream: FeatureStream, output: Path, stages: bool) -> int:
    """Writes the features of a source; what was computed before it broke off is kept and marked."""
    from svit.features import FeatureFile
    from svit.video import read_ahead

    if frames.reads(output):
        raise OutputError(f"{output}: is the input; choose another name for the output")
    file, pace, status = FeatureFile(output, stream, stages), Pace(), 0
    try:
        with StopSignals() as stop, source_bar(frames) as advance, read_ahead(frames) as ahead:
            for frame in stop.between(ahead):
                file.write(frame)
                pace.frames += 1
                advance("")
        _finish(file, frames, output, pace, complete=True)
    except KeyboardInterrupt:
        # Ctrl-C is how a camera is stopped, but a file was cut short.
        status = 0 if frames.live else 1
        print("stopped; what was computed so far is kept", file=sys.stderr)
        _finish(file, frames, output, pace, complete=frames.live)
    except SourceError:
        _finish(file, frames, output, pace, complete=False)
        raise
    finally:
        file.discard()
    return status


def _finish(file: FeatureFile, frames: Source, output: Path, pace: Pace, complete: bool) -> None:
    file.close(frames.name, complete)
    if pace.frames:
        cut = "" if complete else "; not seen to its end"
        print(f"{'features:':<15}{output}")
        print(f"{'summary:':<15}{pace.frames} frames, {pace.rate:.1f} frames/s{cut}")
