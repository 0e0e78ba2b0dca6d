"""Notices that the editor is gone, and makes sure that this process goes as well."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
_STILL_ACTIVE = 259
_QUERY_LIMITED_INFORMATION = 0x1000


def watch(pid: int, gone: Callable[[], None]) -> None:
    """Call `gone` from a thread of its own soon after process `pid` ends.

    A process that cannot be seen to begin with is not watched: the editor may live
    in another container, and its id then says nothing here.
    """
    if not alive(pid):
        log.warning("The editor's process %d cannot be seen from here; only the end of its input ends the server.", pid)
        return
    threading.Thread(target=_poll, args=(pid, gone), name=f"watch-{pid}", daemon=True).start()


def exit_after(seconds: float, code: int) -> None:
    """End this process then, whatever its threads are doing (native code cannot be interrupted)."""
    timer = threading.Timer(seconds, os._exit, args=(code,))
    timer.daemon = True
    timer.start()


def alive(pid: int) -> bool:
    """Whether a process with this id runs; a zombie does not."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return not _zombie(pid)


def _poll(pid: int, gone: Callable[[], None]) -> None:
    while alive(pid):
        time.sleep(_PAUSE_S)
    log.warning("The editor (process %d) is gone; the server ends.", pid)
    gone()


def _zombie(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:  # no /proc on macOS
        return False
    return status.rpartition(")")[2].split()[:1] == ["Z"]


def _alive_on_windows(pid: int) -> bool:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
    if not handle:
        return ctypes.get_last_error() == 5  # type: ignore[attr-defined]  # 5: access denied, so it is there
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not known or code.value == _STILL_ACTIVE
