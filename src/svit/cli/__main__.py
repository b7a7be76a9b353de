"""`python -m svit.cli`, where the `svit` command is not installed."""

from svit.cli.app import run

run()
