"""Reading what a repository brings along, in which any name may be a link to a device, a pipe or an endless file."""

from __future__ import annotations

import os
import stat


def read(path: str, limit: int) -> bytes | None:
    """What a regular file holds, cut one byte behind `limit`; None if it is something else.

    Raises OSError or ValueError for what cannot be opened.
    """
    # Only what is open is known to be the file that is read.
    with open(path, "rb", opener=_opened) as file:
        return file.read(limit + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


def _opened(path: str, flags: int) -> int:
    # A pipe that nobody writes to would be waited for, a terminal would become ours. Windows has neither flag.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
