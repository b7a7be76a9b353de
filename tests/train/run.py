"""A training in a process of its own: `python -m tests.train.run EXPERIMENT OUTPUT [STOP] [KEY=VALUE ...]`.

STOP is the step after which it stops as at a signal, 0 for none. With STALL_AT=N in the environment it hangs
when half of the checkpoint of step N is written; with ACCELERATE_USE_FSDP=true it shards the model.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from tests.train.small import run_steps

from svit.train import checkpoint, loop
from svit.train.experiment import Experiment, load_experiment
from svit.train.loop import Training
from svit.train.together import leave_together


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


def shard_on_cpus() -> None:
    """Accelerate knows FSDP2 on GPUs only; torch's own works between CPUs as well."""
    make = loop._engine

    def sharded(experiment: Experiment) -> Accelerator:
        engine = make(experiment)
        engine.state.fsdp_plugin = loop.sharding()
        engine.state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        assert engine.is_fsdp2
        return engine

    loop._engine = sharded


def main() -> None:
    """Trains."""
    torch.set_num_threads(1)
    if os.environ.get("ACCELERATE_USE_FSDP"):
        shard_on_cpus()
    stall_at(int(os.environ.get("STALL_AT", "-1")))
    name, output, stop, *changes = sys.argv[1:]
    training = Training(load_experiment(name, changes), Path(output))
    for event in run_steps(training, int(stop) or None):
        print(event, flush=True)
    leave_together()


if __name__ == "__main__":
    main()
