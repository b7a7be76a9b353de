"""What the C library does with memory that was freed. Other libraries than glibc are left as they are."""

from __future__ import annotations

import ctypes

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Lets this process keep the memory of tensors that are freed, for those of the next step.

    Else glibc hands large blocks back to the system, which clears each page anew when it is touched again: a
    tenth of the time of a step on whole clips.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option in (_TRIM, _MMAP):
            set_option(option, _NEVER)


def give_back_freed_memory() -> None:
    """Hands the memory of tensors that were freed back to the system, as far as whole pages are free."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
