"""The plain implementations to compare with; they come with the source, not with the package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).resolve().parents[3]
"""The source checkout, where svit is imported from one."""

MISSING = "without references and their speedups: these come with the source (a checkout's benchmarks/)"


def has_references(source: Path = SOURCE) -> bool:
    """Whether svit is imported from a checkout that has the references."""
    return (source / "src" / "svit").is_dir() and (source / "benchmarks" / "reference.py").is_file()


def reference(name: str) -> ModuleType:
    """The module `benchmarks.<name>`.

    Raises:
        ModuleNotFoundError: it is not there; see `has_references`.
    """
    sys.path.append(str(SOURCE))  # last, so that nothing else there takes another's name
    try:
        return importlib.import_module(f"benchmarks.{name}")
    finally:
        sys.path.remove(str(SOURCE))
