"""How much of a machine this process may use: on those of several users, and in containers, not all there is."""

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


def memory() -> Iterator[int]:
    """The most bytes that each of this process's groups may hold, where that is bounded."""
    for group in _groups_of("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                yield int((group / name).read_text())


def _shares() -> Iterator[float]:
    """The shares of its groups, in cores: microseconds of each period."""
    for group in _groups_of("cpu"):
        with contextlib.suppress(OSError, ValueError):  # the outermost has no such file; "max" is no number
            quota, period = map(int, (group / "cpu.max").read_text().split())
            yield quota / period
        with contextlib.suppress(OSError, ValueError):
            quota, period = (int((group / f"cpu.cfs_{each}_us").read_text()) for each in ("quota", "period"))
            if quota > 0:  # -1 is no bound
                yield quota / period


def _groups_of(controller: str) -> Iterator[Path]:
    """The groups that bound this process, innermost first; none outside Linux.

    Of the second version there is one tree, and its line names no controller; of the first one for each. In a
    container the path may be one of the machine, whose root is then the container's own group.
    """
    try:
        own = _OWN.read_text().splitlines()
    except OSError:
        return
    for line in own:
        names, _, path = line.partition(":")[2].partition(":")
        if not names or controller in names.split(","):
            innermost = _GROUPS / (controller if names else "") / path.strip("/")
            yield from (innermost, *innermost.parents)
