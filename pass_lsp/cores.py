"""How many cores this process may use, which on machines of several users are not all there are."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """Cores for this process; at least one.

    A scheduler (Slurm, `taskset`) leaves it some of them, a container or a login node a share of their time. More
    threads than that wait for each other, or are all stopped for the rest of each tenth of a second.
    """
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _shares())]))


def _shares() -> Iterator[float]:
    """The shares of its groups, in cores (cgroup v2: `cpu.max`, microseconds of each period); none outside Linux."""
    try:
        own = _OWN.read_text()
    except OSError:
        return
    innermost = _GROUPS / own.rpartition("0::/")[2].strip()
    for group in (innermost, *innermost.parents):
        with contextlib.suppress(OSError, ValueError):  # the outermost has no such file; "max" is no number
            quota, period = map(int, (group / "cpu.max").read_text().split())
            yield quota / period
