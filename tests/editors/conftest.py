"""Real editors, installed by `make editors`; the real `pass-lsp` with the embedded model behind them."""

from __future__ import annotations

import ast
import os
import re
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil
import pytest

from pass_lsp.completion import complete_document
from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.engines.embedded import measured_hopeless, user_cache
from tests.editors.wire import Wire

ROOT = Path(__file__).parents[2]
PREFIX = Path(os.environ.get("PASS_LSP_EDITORS", ROOT / ".cache" / "editors"))
SHOTS = PREFIX / "failed"
LIMIT_S = float(os.environ.get("PASS_LSP_PATIENCE_S", "120"))
"""How long to wait for anything at all; the machine may be busy."""
FAST_KEYS = "zqx_jvk_qz"
"""What no suggestion begins with: what one leads to is answered from memory, however fast the keys come."""


def need(name: str) -> Path:
    """A program that `make editors` installs. Without it the test is skipped, or fails where editors are a must."""
    path = PREFIX / name
    if path.exists():
        return path
    message = f"{name} is not installed; run `make editors`"
    if os.environ.get("PASS_LSP_REQUIRE_EDITORS"):
        pytest.fail(message)
    pytest.skip(message)


def until(holds: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """Wait for what `holds` returns to be true, and return it."""
    end = time.monotonic() + limit_s
    while not (value := holds()):
        assert time.monotonic() < end, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.05)
    return value


def keep(name: str, screen: str) -> None:
    """Keep what was on the screen of a failed test."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    (SHOTS / name).write_text(screen, "utf-8")


def setup_in_readme(language: str, heading: str) -> str:
    """The code block of `language` that follows `heading` in the README, with this checkout in place of its path."""
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.search(rf"{re.escape(heading)}.*?```{language}\n(.*?)```", text, re.DOTALL)
    assert found, f"the README has no {language} after {heading!r}"
    return found[1].replace("~/pass-lsp", str(ROOT))


@dataclass(frozen=True)
class Hole:
    """A real file without the body of one function; one blank, typed at the end of `before`, is what is missing."""

    path: Path
    before: str
    after: str

    @property
    def line(self) -> int:
        """The line of the hole, from 0."""
        return self.before.count("\n")

    @property
    def indent(self) -> str:
        """The hole's line once the blank is typed."""
        return self.before.rsplit("\n", 1)[1] + " "

    def with_(self, text: str) -> str:
        """The file with `text` in the hole."""
        return self.before + " " + text + self.after

    def saved(self) -> str:
        """What the file holds; nothing in the moment in which an editor puts another in its place."""
        try:
            return self.path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return ""


def holes(folder: Path) -> Iterator[Hole]:
    """Functions of the standard library, each without its body."""
    for name in ("textwrap.py", "shlex.py", "fnmatch.py", "copy.py", "quopri.py", "heapq.py", "shutil.py"):
        text = (Path(sysconfig.get_paths()["stdlib"]) / name).read_text("utf-8")
        lines = text.split("\n")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.col_offset == 0:
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                start, end = body[0].lineno - 1, node.end_lineno
                before = "\n".join([*lines[:start], " " * (body[0].col_offset - 1)])
                yield Hole(folder / name, before, "\n".join(["", *lines[end:]]))


@pytest.fixture(scope="session")
def hole(tmp_path_factory: pytest.TempPathFactory) -> Hole:
    """A hole that the embedded model fills with several lines, and is sure enough of to show them to a new user.

    Wherever the windows around it happen to stay while an editor's tests come and go: in rooms of several sizes.
    """
    import pass_lsp

    hopeless = measured_hopeless("embedded")
    engine = pass_lsp.load_engine()
    project = tmp_path_factory.mktemp("user") / "work" / "project"  # an open folder is named: the same in every run
    project.mkdir(parents=True)
    for each in holes(project):
        named = (str(each.path), f"{project.name}/{each.path.name}")  # as in a file by itself, and in an open folder
        asked = [Document("", each.with_(""), language="python", path=path) for path in named]
        rooms = [Settings(deadline_ms=0, prompt_tokens=tokens) for tokens in (2048, 740, 590)]
        items = (
            complete_document(it, len(each.before) + 1, engine, room, least_log_prob=hopeless).completion
            for it in asked
            for room in rooms
        )
        if all(item and "\n" in item.text.strip() and item.text.isascii() for item in items):
            return each
    raise AssertionError("the model fills no hole with more than one line")


@pytest.fixture
def project(hole: Hole) -> Hole:
    """The file on the disk, as it was."""
    hole.path.write_text(hole.before + hole.after, "utf-8")
    return hole


@dataclass(frozen=True)
class Home:
    """A user's own place: settings, and `pass-lsp` on the PATH with a wire before it."""

    folder: Path
    env: dict[str, str]
    wire: Wire

    def kill_server(self) -> None:
        """What no server comes back from by itself."""
        for process in psutil.process_iter(["cmdline"]):
            if str(self.wire.log) in (process.info["cmdline"] or ()):
                process.kill()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home for the tests of one module."""
    return make_home(tmp_path_factory.mktemp("home"))


def make_home(folder: Path) -> Home:
    """A home in which the model may take its time, so that the speed of this machine decides nothing."""
    log = folder / "wire.jsonl"
    config = folder / "config"
    (config / "pass-lsp").mkdir(parents=True)
    patient = {field.name: 60000 for field in fields(Settings) if field.name.endswith("_ms")} | {"debounce_ms": 0}
    known = {field.name for field in fields(Settings)}
    lines = [f"{key} = {value}" for key, value in patient.items() if key in known]
    (config / "pass-lsp" / "config.toml").write_text("\n".join(lines))
    programs = folder / ".local" / "bin"  # where pipx puts programs
    programs.mkdir(parents=True)
    wire = f"'{sys.executable}' '{Path(__file__).with_name('wire.py')}' '{log}'"
    script = programs / "pass-lsp"
    # Only the server has a wire; `pass-lsp --version` and the like are run as they are.
    real = f"'{Path(sys.executable).with_name('pass-lsp')}'"
    script.write_text(f'#!/bin/sh\n[ "$1" = serve ] && exec {wire} {real} "$@"\nexec {real} "$@"\n')
    script.chmod(0o755)
    # What the model is converted to is made once, not for every home.
    user_cache().mkdir(parents=True, exist_ok=True)
    (folder / "cache").mkdir()
    (folder / "cache" / "pass-lsp").symlink_to(user_cache())
    folders = {f"XDG_{name.upper()}_HOME": str(folder / name) for name in ("config", "data", "state", "cache")}
    path = f"{programs}:{os.environ['PATH']}"
    env = {**os.environ, **folders, "HOME": str(folder), "PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return Home(folder, env, Wire(log))
