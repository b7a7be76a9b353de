"""Where a model runs and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from svit.config import nearest
from svit.errors import UsageError
from svit.processor import processor

Precision = Literal["fp32", "bf16", "fp16", "auto"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """A device by name; None or "auto" is the first CUDA device if there is one, else the CPU.

    Other kinds ("mps", "xpu") are taken when asked for, never by themselves.

    Raises:
        UsageError: no such device on this machine.
    """
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert name is not None
    try:
        device = torch.device(name)
        torch.empty(1, device=device)  # a name may be valid and the device not there
    except Exception as error:  # each kind of device has its own way to be absent, ImportError among them
        reason = (str(error).splitlines() or ["no reason given"])[0].split(". ")[0]
        raise UsageError(
            f"device '{name}' cannot be used here ({reason}); use 'auto', 'cpu' or 'cuda'"
        ) from None
    return device


def pick_dtype(precision: str | None = None, device: str | torch.device = "cpu") -> torch.dtype:
    """The tensor type of a precision's name; None is "fp32".

    "auto" is bf16 where the device multiplies it itself, else fp32: faster, and not the same on all machines.

    Raises:
        UsageError: unknown name.
    """
    if precision is None:
        return torch.float32
    if precision == "auto":
        return torch.bfloat16 if multiplies_bf16(device) else torch.float32
    if precision not in _DTYPES:
        raise UsageError(f"unknown precision '{precision}'; {nearest(precision, [*_DTYPES, 'auto'])}")
    return _DTYPES[precision]


def multiplies_bf16(device: str | torch.device = "cpu") -> bool:
    """Whether a device multiplies bf16 itself; without, bf16 saves memory and costs time."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(processor().flags & {"avx512_bf16", "amx_bf16", "bf16"})
