"""One recognition trained with several seeds: mean and spread of its scores, and all answers by class.

    python runs/fight.py outputs/fight/memory-8 outputs/fight/memory-1

Each folder holds one folder per seed, with the results of `svit eval` in `scores`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS = ("top-1", "mean class", "AUC")


def main() -> None:
    """Prints two tables in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("series", type=Path, nargs="+", help="folders of one folder per seed")
    series = {folder.name: results_of(folder) for folder in parser.parse_args().series}
    print(f"| | seeds | {' | '.join(NUMBERS)} |\n|{' --- |' * (2 + len(NUMBERS))}")
    for name, results in series.items():
        found = np.array([[result["views"][number] for number in NUMBERS] for result in results])
        spread = found.std(0, ddof=1) if len(found) > 1 else np.zeros(len(NUMBERS))
        cells = [f"{mean:.1f} ± {around:.1f}" for mean, around in zip(found.mean(0), spread, strict=True)]
        print(f"| {name} | {len(found)} | {' | '.join(cells)} |")
    for name, results in series.items():
        classes = list(results[0]["classes"])
        answers = np.sum([result["confusion"] for result in results], axis=0)
        print(f"\n| {name}, answers of all seeds | {' | '.join(classes)} |\n|{' --- |' * (1 + len(classes))}")
        for right, row in zip(classes, answers, strict=True):
            print(f"| {right} | {' | '.join(map(str, row))} |")


def results_of(folder: Path) -> list[dict[str, Any]]:
    """Of each seed."""
    paths = sorted(folder.glob("*/scores/results.json"))
    if not paths:
        raise SystemExit(f"{folder}: no SEED/scores/results.json")
    return [json.loads(path.read_text()) for path in paths]


if __name__ == "__main__":
    main()
