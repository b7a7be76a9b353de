"""`svit prepare`: one command per data set."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _prepare(context: typer.Context) -> None:
    """Turn a downloaded data set into one COCO-video JSON file."""
    if context.invoked_subcommand is None:
        print(context.get_help())
