"""The sandbox: what passes, what fails, and what a program under test cannot do."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pass_lsp.bench import confined, sandbox
from pass_lsp.bench.sandbox import Verdict, run_program

GOOD = "def f(x):\n    return x + 1\n\ndef check(candidate):\n    assert candidate(1) == 2\n\ncheck(f)\n"


def test_a_program_that_ends_well_passes_whatever_it_prints() -> None:
    verdict = run_program(GOOD + "print('x' * 5000)\nimport sys; sys.stdout.write('tail')\n")
    assert verdict.passed
    assert verdict.network in ("namespace", "audit hook")


@pytest.mark.parametrize(
    "program",
    [
        GOOD.replace("+ 1", "+ 2"),
        "def f(:\n",
        "import sys\nsys.exit(0)\n",
        "import os\nos._exit(0)\n",
        "raise SystemExit\n",
        "def f():\n    return f()\nf()\n",
        "\x00",
        "\ud800",
        "import sys\nsys.stdin.readline()\n1 / 0\n",
    ],
    ids=range(9),
)
def test_whatever_ends_early_fails(program: str) -> None:
    assert run_program(program) == Verdict("failed")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its memory")
def test_memory_is_bounded() -> None:
    program = "x = bytearray(1 << 28)\n"
    assert run_program(program).passed and not run_program(program, memory=1 << 28).passed


@pytest.mark.parametrize("program", ["while True:\n    pass\n", "import time\ntime.sleep(60)\n"])
def test_whatever_does_not_end_is_ended(program: str) -> None:
    # Ended by the wall clock, or by the limit of CPU seconds where that comes first.
    assert run_program(program, timeout=1.0).outcome in ("timeout", "failed")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits the size of no file")
def test_output_without_end_fills_no_memory() -> None:
    # Beside print(), whose text is kept in the limited process itself.
    assert run_program("import os\nwhile True:\n    os.write(1, bytes(1 << 16))\n") == Verdict("failed")
    assert run_program(f"import os\nos.write(1, bytes(300000))\n{GOOD}").passed


def test_ctrl_c_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[str]] = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def communicate(self, input: Any = None, timeout: float | None = None) -> Any:
            children.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(sandbox.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_program("import time\ntime.sleep(60)\n")
    assert children and all(child.returncode for child in children)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no alarm")
def test_a_program_ends_by_itself_when_nobody_waits_for_it(tmp_path: Path) -> None:
    source = tmp_path / "program.py"
    source.write_text("import time\ntime.sleep(60)\n")
    command = [sys.executable, "-I", "-B", str(confined.__file__), str(source), "1", str(1 << 30)]
    assert subprocess.run(command, input="word\n", text=True, timeout=30).returncode == -signal.SIGALRM


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)\n"
        socket.create_connection(("127.0.0.1", port), 2).close()  # it does listen
        assert not run_program(program).passed
        swallowed = (
            f"import socket\ntry:\n    socket.socket().connect(('127.0.0.1', {port}))\nexcept OSError:\n    pass\n"
        )
        assert run_program(swallowed).passed


@pytest.mark.parametrize(
    "action",
    [
        "open({path!r}, 'w')",
        "open({path!r}, 'a')",
        "import os; os.open({path!r}, os.O_CREAT | os.O_RDWR)",
        "import os; os.remove({path!r})",
        "import pathlib; pathlib.Path({path!r}).rename({path!r} + 'x')",
        "import shutil; shutil.rmtree({folder!r})",
        "import os; os.utime({path!r}, (0, 0))",
        "import os; os.setxattr({path!r}, 'user.a', b'b')",
        "import sqlite3; sqlite3.connect({path!r} + 'x')",
        "import os; os.system('echo')",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])",
        "import os; os.fork()",
        "import os; os.kill(os.getppid(), 0)",
        "import ctypes; ctypes.CDLL(None)",
    ],
)
def test_nothing_outside_can_be_changed_and_nothing_started(tmp_path: Path, action: str) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("text")
    assert not run_program(action.format(path=str(kept), folder=str(tmp_path))).passed
    assert kept.read_text() == "text" and [*tmp_path.iterdir()] == [kept]


def test_its_own_folder_is_writable_and_gone_afterwards(tmp_path: Path) -> None:
    program = "import os\nopen('here.txt', 'w').write('x')\nassert open('here.txt').read() == 'x'\n"
    assert run_program(program).passed
    assert not Path("here.txt").exists()


def test_it_gets_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "value")
    assert run_program("import os\nassert 'SECRET_OF_THE_PARENT' not in os.environ\n").passed


def test_a_platform_without_namespaces_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not confined.leave_network()
    with pytest.raises(PermissionError):
        confined.refuse("socket.connect", ())
    confined.refuse("open", ("anything", "r", 0))
