"""Scores of detections and tracks; `score_tracking` has the numbers of TrackEval without its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svit.evaluate.mot import score_tracking

__all__ = ["score_tracking"]


def __getattr__(name: str) -> object:
    """Imports the scorer on first use, so that tables and reports do not wait for scipy."""
    if name not in __all__:
        raise AttributeError(f"module 'svit.evaluate' has no attribute '{name}'")
    from svit.evaluate import mot

    return getattr(mot, name)
