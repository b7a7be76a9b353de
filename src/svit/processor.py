"""What this machine's processor is and can do."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Processor(NamedTuple):
    """A processor.

    Attributes:
        name: as its maker calls it.
        vendor: "AuthenticAMD", "GenuineIntel", ...; empty where the system does not tell.
        flags: what it can do, in Linux's words ("avx512_bf16"); none where the system does not tell.
    """

    name: str
    vendor: str
    flags: frozenset[str]


@cache
def processor() -> Processor:
    """That of this machine."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        name = platform.processor() or platform.machine()  # on Windows "..., AuthenticAMD"
        return Processor(name, name.partition(", ")[2], frozenset())
    pairs = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    name = facts.get("model name") or facts.get("Model") or platform.machine()
    flags = facts.get("flags", facts.get("Features", "")).split()
    return Processor(name, facts.get("vendor_id", ""), frozenset(flags))
