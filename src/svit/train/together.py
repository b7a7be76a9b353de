"""How one of several processes ends."""

from __future__ import annotations

import os
import sys

import torch.distributed as dist


def leave_together(code: int = 0) -> None:
    """Ends this process at once, if it is one of several; all that it wrote must be closed.

    torch's process groups are taken down by destructors. Those of gloo wait for threads of their own, which
    may in turn wait for Python's lock: now and then, most of all on a busy machine, a finished process never
    ends. The operating system takes everything down without waiting.

    Args:
        code: the exit status.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
