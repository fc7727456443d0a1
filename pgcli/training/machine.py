"""The machine that a run is trained on, as its metadata name it."""

import contextlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pgcli.training.backend.layout import cores

CPU_INFO = Path("/proc/cpuinfo")


def describe() -> dict[str, Any]:
    """Operating system, model of the CPU, cores that may be used, and memory in bytes.

    The name of the host is left out: runs are passed on.
    """
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
        if named := re.search(r"^model name\s*: (.+)$", text, re.MULTILINE):
            model = named[1]
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": model,
        "cores": cores(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def facts(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, text) of a description; nothing of one that was not recorded."""
    if described:
        memory = f"{described['memory'] / 2**30:.0f} GiB"
        yield "CPU", f"{described['cpu']}, {described['cores']} cores, {memory}"
        yield "system", described["system"]
