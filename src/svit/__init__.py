"""svit: one transformer reads a video frame by frame, remembers what it saw, and finds and tracks people."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svit.errors import OutputError, SourceError, SvitError, UsageError, WeightsError
    from svit.model.memory import StreamMemory
    from svit.model.video_model import VideoModel, build
    from svit.stream import Stream, track
    from svit.stream_batch import StreamBatch
    from svit.types import ActionScores, Frame, FrameResult
    from svit.weights import load

__version__ = "0.1.0"

_HOMES = {
    "ActionScores": "svit.types",
    "Frame": "svit.types",
    "FrameResult": "svit.types",
    "OutputError": "svit.errors",
    "SourceError": "svit.errors",
    "Stream": "svit.stream",
    "StreamBatch": "svit.stream_batch",
    "StreamMemory": "svit.model.memory",
    "SvitError": "svit.errors",
    "UsageError": "svit.errors",
    "VideoModel": "svit.model.video_model",
    "WeightsError": "svit.errors",
    "build": "svit.model.video_model",
    "load": "svit.weights",
    "track": "svit.stream",
}
_PARTS = ("data", "evaluate", "tracking", "video", "weights")
"""Packages whose names are public under their own: `svit.weights.load_official`."""

__all__ = [
    "ActionScores",
    "Frame",
    "FrameResult",
    "OutputError",
    "SourceError",
    "Stream",
    "StreamBatch",
    "StreamMemory",
    "SvitError",
    "UsageError",
    "VideoModel",
    "WeightsError",
    "build",
    "load",
    "track",
]

# supervision draws and computes without OpenCV; svit needs none, so the advice to install it is noise here.
warnings.filterwarnings("ignore", message="OpenCV .* is not installed", category=UserWarning)


def __getattr__(name: str) -> object:
    """Imports a public name on first use, so that `import svit` and `svit --help` do not wait for torch."""
    if name in _PARTS:
        return import_module(f"svit.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'svit' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_PARTS])
