"""The command line, one file per command; `app` puts them together."""

from svit.cli.app import main, run

__all__ = ["main", "run"]
