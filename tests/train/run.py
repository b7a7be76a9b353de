"""A training in a process of its own: `python -m tests.train.run EXPERIMENT OUTPUT [STOP] [KEY=VALUE ...]`.

STOP is the step after which it stops as at a signal, 0 for none. With STALL_AT=N in the environment it hangs
when half of the checkpoint of step N is written.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tests.train.small import run_steps

from svit.train import checkpoint
from svit.train.experiment import load_experiment
from svit.train.loop import Training


def stall_at(step: int) -> None:
    """Replaces the writing of one checkpoint by half of it and an endless wait."""
    write = checkpoint._write

    def stalling(part: Path, trained: Any) -> None:
        write(part, trained)
        if part.name == f".step-{step:08d}.part":
            (part / ".metadata").unlink()
            shard = next(part.glob("*.distcp"))
            os.truncate(shard, shard.stat().st_size // 2)
            time.sleep(600)

    checkpoint._write = stalling


def main() -> None:
    """Trains."""
    torch.set_num_threads(1)
    stall_at(int(os.environ.get("STALL_AT", "-1")))
    name, output, stop, *changes = sys.argv[1:]
    training = Training(load_experiment(name, changes), Path(output))
    for event in run_steps(training, int(stop) or None):
        print(event, flush=True)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
