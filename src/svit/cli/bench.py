"""`svit bench`: speed and memory on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svit.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from svit.bench.rows import Row


def bench(
    areas: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[AREA ...]",
            help="model, stream, tracker, train, end-to-end, start-up; all if none is named.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all numbers to this .json.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; the default is both, as far as they are there.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; the default is OMP_NUM_THREADS, else all cores.")
    ] = None,
    steps: Annotated[int, typer.Option(min=20, help="Of the endless stream.")] = 10_000,
    quick: Annotated[
        bool, typer.Option("--quick", help="The same rows at small sizes: a look, not a measurement.")
    ] = False,
) -> int:
    """Measure speed and memory, beside plain references and the hardware's floor.

    What each row means is in docs/performance.md. All areas take about a quarter of an hour on two cores;
    the model's needs 17 GiB of memory.
    """
    from svit.bench.alone import alone
    from svit.bench.machine import default_threads, describe_machine
    from svit.bench.rows import Settings
    from svit.bench.run import choose_areas, choose_devices, measure
    from svit.video.output import PartFile

    chosen, devices = choose_areas(areas or []), choose_devices(device)
    settings = Settings(quick, threads or default_threads(), steps)
    output = None if as_json is None else PartFile(as_json, (".json",))
    rows: list[Row] = []
    try:
        machine = alone(describe_machine, settings.threads).result
        print(_machine_line(machine))
        for row in measure(chosen, devices, settings, _say, _warn):
            rows.append(row)
        if not rows:
            raise UsageError("nothing of this can be measured here; name another area or device")
        _print(rows)
        if output is not None:
            _write(output, {"machine": machine, "quick": quick, "rows": [row.as_json() for row in rows]})
            print(f"json: {as_json}")
    except BaseException:
        if output is not None:
            output.discard()
        raise
    return 0


def _say(text: str) -> None:
    print(f"measuring: {text}", file=sys.stderr)


def _warn(text: str) -> None:
    print(f"svit: warning: {text}", file=sys.stderr)


def _write(output: object, document: Mapping[str, object]) -> None:
    from svit.video.output import PartFile, output_error

    assert isinstance(output, PartFile)
    try:
        output.part.write_text(json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise output_error(output.target, error) from error
    output.commit()


def _machine_line(machine: Mapping[str, object]) -> str:
    features = [name for name in ("avx512", "avx512_bf16", "amx_bf16", "amx_int8") if machine[name]]
    words = [
        f"{machine['cpu']}",
        f"{machine['cores']} cores",
        f"{machine['threads']} threads",
        *features,
        f"torch {machine['torch']}",
        *([f"{machine['gpu']}"] if machine["gpu"] else []),
    ]
    return ", ".join(words)


def _print(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("row", box=None, pad_edge=False)
    for column in ("median", "fastest-slowest", "reference", "speedup", "/ floor", "peak"):
        table.add_column(column, justify="right")
    for row in rows:
        _add(table, row)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(table)
    for row in rows:
        numbers = ", ".join(f"{name} {_number(value)}" for name, value in _flat(row.details))
        console.print(
            f"{row.name}: {row.what}" + (f"; {numbers}" if numbers else ""), soft_wrap=True, markup=False
        )


def _add(table: Table, row: Row) -> None:
    spread = "" if row.spread is None else f"{_time(row.spread[0])} - {_time(row.spread[1])}"
    table.add_row(
        row.name,
        _time(row.seconds),
        spread,
        _time(row.reference_seconds),
        "" if row.speedup is None else f"{row.speedup:.2f}x",
        "" if row.floor_ratio is None else f"{row.floor_ratio:.2f}",
        "" if row.peak_bytes is None else f"{row.peak_bytes / 1024**3:.2f} GiB",
    )


def _flat(details: Mapping[str, float | Mapping[str, float]]) -> list[tuple[str, float]]:
    """Names and numbers; those of parts as `encoder seconds`."""
    flat: list[tuple[str, float]] = []
    for name, value in details.items():
        if isinstance(value, Mapping):
            flat += [(f"{part} {name.removeprefix('part_')}", number) for part, number in value.items()]
        else:
            flat.append((name.replace("_", " "), value))
    return flat


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
