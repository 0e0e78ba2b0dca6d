"""Ctrl-C reaches every process of a terminal; one of them is enough to say so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Processes that are started meanwhile never see Ctrl-C; each would print a traceback of its own.

    They end with the one that started them.
    """
    if threading.current_thread() is not threading.main_thread():  # others may not choose
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
