"""The heap of a process that runs all day: what the garbage collector looks at, and what the allocator keeps."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from functools import cache

_ARENA_MAX = -8  # mallopt(3)
_LOADING = 20_000
"""New objects until the youngest are looked through, while loading: all but a few are there to stay."""


@contextlib.contextmanager
def for_good() -> Iterator[None]:
    """What is made in here lives as long as the process, so the collector need not look at it ever again.

    Loading a model makes some 200,000 objects. Looking through them all takes 0.1 s, in which no key
    is answered, and would happen every now and then.
    """
    young, *older = gc.get_threshold()
    gc.set_threshold(_LOADING, *older)
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(young, *older)


def share_one_arena() -> None:
    """Have all threads allocate from one arena, from their first allocation on; on glibc alone.

    What one thread allocates and another frees leaves holes in an arena that only the first
    can fill; with an arena for each thread they grew for hours.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Return the allocator's free pages to the system, in some milliseconds; on glibc alone.

    It keeps free pages between those in use, after an hour of typing 25 MB (malloc_trim(3)).
    """
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    # A handle to this process: the C library that is loaded, whatever its file is called.
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "malloc_trim") else None
