"""The inner side of `sandbox`: shuts itself in, then runs one program. Standard library only, run as a script.

Arguments: the program's file, CPU seconds, bytes of memory. A line on stdin is the word
that the last line of stdout repeats if the program has ended by itself and well.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import sys
from typing import Any

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # unshare(2)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FILE_BYTES, _OPEN_FILES = 1 << 20, 64
_REFUSED = (
    *("socket.", "subprocess.", "ctypes.", "pty.", "signal.", "shutil.", "winreg.", "_winapi.", "syslog."),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.startfile"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.ch"),
    *("sqlite3.", "os.utime", "os.setxattr", "os.removexattr"),
)
"""Audit events, by how they begin. Nothing that a test of a function needs."""


def leave_network() -> bool:
    """Move into a network namespace of our own, which holds no device; False where the platform does not let us."""
    if sys.platform != "linux":
        return False
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    return unshare is not None and unshare(_NEW_USER | _NEW_NETWORK) == 0


def limit(seconds: int, memory: int) -> None:
    """Bound time, memory, files and processes, where the platform knows such limits."""
    with contextlib.suppress(AttributeError):
        signal.alarm(seconds + 1)  # the clock's time, should whoever waits for us be gone
    with contextlib.suppress(ImportError):
        import resource

        wanted = {"CPU": seconds, "AS": memory, "FSIZE": _FILE_BYTES, "NOFILE": _OPEN_FILES, "NPROC": 0, "CORE": 0}
        for name, value in wanted.items():
            with contextlib.suppress(AttributeError, ValueError, OSError):
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: no network, no processes, no changes to files outside the current folder."""
    if event.startswith(_REFUSED):
        raise PermissionError(f"{event} is not for programs under test")
    if event == "open" and isinstance(flags := arguments[2], int) and flags & _WRITES:
        path = arguments[0]
        if isinstance(path, int) or not os.path.realpath(os.fsdecode(path)).startswith(os.getcwd() + os.sep):
            raise PermissionError("programs under test write into their own folder only")


def main() -> None:
    """Shut in, run, and say so."""
    path, seconds, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(path, encoding="utf-8") as file:
        program = compile(file.read(), "program.py", "exec")
    word, answer = sys.stdin.readline().strip(), sys.stdout
    isolated = leave_network()
    limit(seconds, memory)
    sys.stdout = sys.stderr = io.StringIO()
    sys.addaudithook(refuse)
    exec(program, {"__name__": "__main__"})
    answer.write(f"\n{word} {int(isolated)}\n")
    answer.flush()


if __name__ == "__main__":
    main()
