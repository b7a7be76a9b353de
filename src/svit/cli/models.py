"""`svit models` and `svit convert-checkpoint`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def models() -> None:
    """List the models: those with weights, and the presets to train."""
    from rich.console import Console
    from rich.table import Table

    from svit.weights import describe_models

    columns = ("model", "parameters", "input", "memory", "finds", "recognises", "weights")
    table = Table(*columns, box=None, pad_edge=False)
    for row in describe_models():
        size = f"{row.long_side}x{row.short_side}"
        weights = row.weights or "none: train them, or convert a checkpoint"
        heads = ", ".join(row.classes), ", ".join(row.actions)
        table.add_row(row.name, f"{row.parameters / 1e6:.1f} M", size, str(row.memory), *heads, weights)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def convert_checkpoint(
    source: Annotated[Path, typer.Argument(help="Official S-ViT .pth, or CLIP .pt / .bin / .safetensors.")],
    target: Annotated[Path, typer.Argument(help="The checkpoint to write, .safetensors.")],
    half: Annotated[bool, typer.Option("--half", help="Store in fp16: half the size.")] = False,
) -> None:
    """Rewrite an official checkpoint as one of svit."""
    from svit.weights import convert

    print(convert(source, target, half))
    print(f"checkpoint: {target}")
