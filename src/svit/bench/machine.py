"""What a run was measured on."""

from __future__ import annotations

import os
import platform

from svit.processor import processor

FEATURES = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "avx512_bf16": "avx512_bf16",
    "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8",
}
"""Name in the description -> flag in Linux's /proc/cpuinfo."""


def describe_machine(threads: int) -> dict[str, object]:
    """Processor, memory, torch and what its kernels can use; imports torch, so call it in another process.

    Args:
        threads: of torch, as it is measured.
    """
    import torch

    model, _, flags = processor()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": model,
        "cores": usable_cores(),
        "threads": threads,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        **{name: flag in flags for name, flag in FEATURES.items()},
        "torch": torch.__version__,
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": gpu,
    }


def usable_cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def default_threads() -> int:
    """What OMP_NUM_THREADS says, else a thread per core, as torch itself would choose."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and int(said) > 0 else usable_cores()
