"""The areas of `svit bench`, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from svit.bench.alone import alone
from svit.bench.references import MISSING, has_references
from svit.bench.rows import CannotMeasureError, Row, Say, Settings
from svit.config import nearest
from svit.errors import UsageError

AREAS = ("model", "stream", "tracker", "train", "end-to-end", "start-up")
GPU_AREAS = ("model", "stream", "train")

DEVICES = ("cpu", "cuda")

Rows = Callable[[Settings, Say], Iterator[Row]]


def choose_areas(names: Sequence[str]) -> list[str]:
    """The areas that are asked for, all if none, in the usual order.

    Raises:
        UsageError: one of them does not exist.
    """
    for name in names:
        if name not in AREAS:
            raise UsageError(f"unknown area '{name}'; {nearest(name, list(AREAS))}")
    return [area for area in AREAS if not names or area in names]


def choose_devices(name: str | None) -> list[str]:
    """The devices that are asked for, both if none.

    Raises:
        UsageError: it is neither "cpu" nor "cuda".
    """
    if name is None:
        return list(DEVICES)
    if name not in DEVICES:
        raise UsageError(f"unknown device '{name}'; use cpu or cuda")
    return [name]


def measure(
    areas: Sequence[str], devices: Sequence[str], settings: Settings, say: Say, warn: Say
) -> Iterator[Row]:
    """Measures area by area; what cannot be measured here is told to `warn` and skipped.

    Args:
        areas: from `choose_areas`.
        devices: from `choose_devices`.
        settings: see there.
        say: told what is measured next.
        warn: told what is left out, one line each.
    """
    if not has_references():
        warn(MISSING)
    if "cuda" in devices and not alone(has_gpu).result:
        warn("without GPU rows: torch sees no GPU")
        devices = [device for device in devices if device != "cuda"]
    for device in devices:
        for area in areas if device == "cpu" else [area for area in areas if area in GPU_AREAS]:
            try:
                for row in find_rows(area, device)(settings, say):
                    if row.note:
                        warn(f"{row.name}: {row.note}")
                    yield row
            except CannotMeasureError as error:
                warn(f"{area}: {error}")


def has_gpu() -> bool:
    """Whether torch can compute on a GPU."""
    import torch

    return torch.cuda.is_available()


def find_rows(area: str, device: str) -> Rows:
    """What measures an area; only its own imports are made.

    Raises:
        CannotMeasureError: a package that it needs is not installed.
    """
    from svit.bench import gpu, model, stream

    if area == "model":
        return model.rows if device == "cpu" else gpu.model_rows
    if area == "stream":
        return stream.rows if device == "cpu" else gpu.stream_rows
    if area == "train":
        try:
            from svit.bench import training
        except UsageError as missing:  # OpenCV, which training says itself
            raise CannotMeasureError(str(missing)) from None
        except ModuleNotFoundError as missing:
            raise CannotMeasureError(
                f"needs {missing.name}: pip install 'streaming-video-model[train]'"
            ) from None
        return training.rows if device == "cpu" else gpu.train_rows
    if area == "tracker":
        from svit.bench import tracker

        return tracker.rows
    from svit.bench import end_to_end, startup

    return end_to_end.rows if area == "end-to-end" else startup.rows
