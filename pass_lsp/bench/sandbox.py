"""Runs a program that a model has written, and says whether it passed.

A process of its own with an empty environment, a temporary folder as its place, limits of
time, memory, files and processes, and no network: a namespace without devices on Linux
where the kernel grants one, an audit hook that refuses sockets elsewhere. It keeps mistakes
from doing harm. It does not hold a program that is made to break out: other files of this
user can be read, and the audit hook is Python watching Python.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from pass_lsp.bench import confined

TIMEOUT_SECONDS = 10.0
MEMORY_BYTES = 1 << 30
_TAIL = 200
"""Bytes of output that hold its last line."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a program ended; `network` is what kept it from the network (unknown where it did not pass)."""

    outcome: Literal["passed", "failed", "timeout"]
    network: Literal["namespace", "audit hook", "unknown"] = "unknown"

    @property
    def passed(self) -> bool:
        """Whether the program ran to its end without an error."""
        return self.outcome == "passed"


def run_program(program: str, timeout: float = TIMEOUT_SECONDS, memory: int = MEMORY_BYTES) -> Verdict:
    """Run Python source for at most `timeout` seconds (wall clock and CPU) in `memory` bytes."""
    word = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="pass-lsp-", ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "program.py"
        source.write_text(program, encoding="utf-8", errors="replace")
        limits = [str(math.ceil(timeout)), str(memory)]
        command = [sys.executable, "-I", "-B", str(confined.__file__), str(source), *limits]
        place, environment = os.path.realpath(folder), _environment(folder)
        with (
            # A file, whose size is limited too: a pipe that is written to without end would fill our own memory.
            tempfile.TemporaryFile() as output,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.DEVNULL,
                cwd=place,
                env=environment,
                start_new_session=True,
                text=True,
            ) as child,
        ):
            try:
                child.communicate(word + "\n", timeout)
            except subprocess.TimeoutExpired:
                return Verdict("timeout")
            finally:
                _end(child)
            said = _tail(output)
    last = said.strip().rpartition("\n")[2].split()
    if child.returncode or len(last) != 2 or last[0] != word:
        return Verdict("failed")
    return Verdict("passed", "namespace" if last[1] == "1" else "audit hook")


def _environment(folder: str) -> dict[str, str]:
    # Windows finds its own libraries by SYSTEMROOT.
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    return kept | {"HOME": folder, "TMPDIR": folder, "TEMP": folder}


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL))
    return output.read().decode(errors="replace")


def _end(child: subprocess.Popen[str]) -> None:
    """Whatever ends our waiting (Ctrl-C too) ends the child; it does not get the terminal's signals."""
    if child.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
