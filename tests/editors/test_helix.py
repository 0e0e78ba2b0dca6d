"""The recipe for Helix, in a real Helix in a terminal: the menu has the suggestion, and Enter takes it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.editors.conftest import Hole, Home, keep, need, until
from tests.editors.recipes import recipe

pytestmark = pytest.mark.timeout(600)


class Terminal:
    """A program in a tmux of its own."""

    def __init__(self, home: Home, *command: str) -> None:
        self._tmux = [str(shutil.which("tmux") or need("bin/tmux")), "-S", str(home.folder / "tmux.sock")]
        self._run("-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "40", *command, env=home.env)

    def keys(self, *keys: str) -> None:
        """Press keys, by tmux's names for them, or type text."""
        self._run("send-keys", *keys)

    def screen(self) -> str:
        """What a user sees."""
        return self._run("capture-pane", "-p")

    def close(self) -> None:
        """End it."""
        self._run("kill-server")

    def _run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], env=env, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout


@pytest.fixture
def helix(home: Home, project: Hole, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """Helix with the file of the hole, set up by the recipe. The screen of a failure is kept."""
    program = need("bin/hx")
    config = home.folder / "config" / "helix"
    config.mkdir(parents=True)
    (config / "languages.toml").write_text(recipe("Helix", "toml"))
    (config / "config.toml").write_text("[editor]\nauto-pairs = false\n")
    terminal = Terminal(home, str(program), f"{project.path}:{project.line + 1}")
    failed = request.session.testsfailed
    try:
        yield terminal
    finally:
        if request.session.testsfailed > failed:
            keep("helix.txt", terminal.screen())
        terminal.close()


def test_the_menu_has_the_suggestion_and_enter_takes_it(helix: Terminal, home: Home, project: Hole) -> None:
    until(home.wire.ready, "the model is loaded")
    [initialize] = home.wire.messages("client", "initialize")
    assert initialize["params"]["initializationOptions"] == {"pass-lsp": {"disabled_languages": ["markdown"]}}
    helix.keys("A", "Space")
    helix.keys("C-x")
    item = until(lambda: home.wire.items("textDocument/completion"), "an answer")[-1]
    until(lambda: item["label"][:20] in helix.screen(), "the menu")
    helix.keys("Tab")
    helix.keys("Enter")
    last = item["textEdit"]["newText"].rsplit("\n", 1)[1]
    until(lambda: last in helix.screen(), "the text is in")
    helix.keys("Escape")  # alone: with what follows at once it would be another key
    until(lambda: " NOR " in helix.screen(), "normal mode")
    helix.keys(":w", "Enter")
    edit = item["textEdit"]
    keep = project.indent[: edit["range"]["start"]["character"]]
    whole = project.before.removesuffix(project.indent[:-1]) + keep + edit["newText"] + project.after
    until(lambda: project.saved() == whole, "the file holds what was offered, byte for byte")
    assert home.wire.complaints() == []
