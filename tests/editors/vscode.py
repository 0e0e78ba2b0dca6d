"""Drives a real VS Code: its server, a headless Chromium, and a user's hands and eyes in it (`vscode.cjs`)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.editors.conftest import Home, need, until

SETTINGS = {
    # What would come between the test and the editor; nothing of the extension's.
    "chat.disableAIFeatures": True,
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.autoClosingBrackets": "never",
    "editor.autoClosingQuotes": "never",
    "extensions.autoUpdate": False,
    "files.autoSave": "off",
    "remote.autoForwardPorts": False,
    "security.workspace.trust.startupPrompt": "never",
    "telemetry.telemetryLevel": "off",
    # It copies what is saved; a copy of a file that gets shorter meanwhile never ends, and neither does the saving.
    "workbench.localHistory.enabled": False,
    "workbench.quickOpen.closeOnFocusLost": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
}
ASKED = ".quick-input-widget .quick-input-box input"
"""Where one types what is asked for at the top of the window."""
ROWS = ".quick-input-widget .monaco-list-row"
STATUS = '.statusbar-item[id$="pass-lsp.status"] a'
PLACE = "#status\\.editor\\.selection"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without a proxy of the environment, which does not know this machine."""
OF_THE_MACHINE = {"pass-lsp.lookahead": "auto"}


class VsCode:
    """One running VS Code on `folder`. `install` runs shell commands in which `code` is this one."""

    def __init__(self, home: Home, folder: Path, settings: dict[str, Any] | None = None) -> None:
        node = need("tools/bin/node")
        self._entry = [str(node), str(need("vscode/node_modules/code-server/out/node/entry.js"))]
        playwright = need("browser/node_modules/playwright-core")
        chromium = shutil.which("chromium") or str(need("bin/chromium"))
        self.home, self.user = home, home.folder / "vscode"
        for where in ("User", "Machine"):
            (self.user / where).mkdir(parents=True)
        self._running: list[subprocess.Popen[str]] = []
        (self.user / "User" / "settings.json").write_text(json.dumps(SETTINGS | (settings or {})))
        self.set_for_the_machine({})
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        (home.folder / "code-server.yaml").write_text(f"bind-addr: 127.0.0.1:{self._port}\nauth: none\ncert: false\n")
        self._env = home.env | {"PATH": f"{home.env['PATH']}:{node.parent}"}
        self._folder = folder
        url = f"http://127.0.0.1:{self._port}/?folder={folder}"
        self._driver = [str(node), str(Path(__file__).with_suffix(".cjs")), str(playwright), chromium, url]

    def set_for_the_machine(self, settings: dict[str, Any]) -> None:
        """Settings of scope `machine`, in a file of their own: the window is another machine's to VS Code."""
        (self.user / "Machine" / "settings.json").write_text(json.dumps(OF_THE_MACHINE | settings))

    def install(self, commands: str, cwd: Path) -> None:
        """Run what the README says, with `code` on the PATH."""
        script = self.home.folder / ".local" / "bin" / "code"
        script.write_text("#!/bin/sh\nexec " + " ".join(f"'{part}'" for part in self._command()) + ' "$@"\n')
        script.chmod(0o755)
        env = self._env | {"npm_config_prefer_offline": "true", "HOME": os.environ["HOME"]}
        done = subprocess.run(["bash", "-ec", commands], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Open the folder."""
        quiet = ["--disable-telemetry", "--disable-update-check"]
        command = [*self._command(), *quiet, "--disable-getting-started-override", str(self._folder)]
        log = (self.home.folder / "vscode.log").open("w")
        with log:
            options: dict[str, Any] = {"stderr": log, "text": True, "start_new_session": True, "env": self._env}
            self._running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, **options))
            until(self._healthy, "VS Code's server answers")
            pipe = subprocess.PIPE
            self._running.append(subprocess.Popen(self._driver, stdin=pipe, stdout=pipe, **options))
        self.do("open")
        self.sure("appears", ".monaco-workbench")

    def do(self, act: str, *arguments: Any) -> Any:
        """One act of `vscode.cjs`. Raises `RuntimeError` with what the browser says."""
        driver = self._running[-1]
        assert driver.stdin and driver.stdout
        driver.stdin.write(json.dumps([act, *arguments]) + "\n")
        driver.stdin.flush()
        answer = json.loads(driver.stdout.readline() or '{"error": "the browser has ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def sure(self, act: str, *arguments: Any) -> None:
        """The same until it succeeds: a busy window may be slow to show something, or close it again."""
        until(lambda: self.do(act, *arguments), f"{act} {arguments}")

    def seen(self, selector: str) -> list[str]:
        """The texts of what matches, from top to bottom."""
        return [text for _, _, text in self.do("seen", selector)]

    def status(self) -> str:
        """What the status bar says on hovering over it."""
        return self.do("attribute", STATUS, "aria-label") or ""

    def command(self, title: str) -> None:
        """Run a command by its title, from the palette."""
        self.choose(title, f">{title}")

    def choose(self, title: str, text: str = "", opened_by: Callable[[], Any] | None = None) -> None:
        """Take the entry `title` of a list in which `text` finds it first, once `opened_by` (F1) has opened that."""
        self._answer(text or title, f'{ROWS}.focused[aria-label*="{title}"]', opened_by)

    def pick(self, *entries: str) -> None:
        """Click the status bar and choose from the menu, and from what opens then."""
        for at, entry in enumerate(entries):
            self.choose(entry, opened_by=(lambda: None) if at else lambda: self.sure("click", STATUS))

    def _answer(self, text: str, row: str, opened_by: Callable[[], Any] | None = None) -> None:
        """Type `text` where something is asked for, and press Enter when `row` is there.

        A busy window may miss the key that opens it, and may still close the last one: what is missed is done again.
        """

        def is_taken() -> bool:
            if not self.do("visible", ASKED):
                opened_by() if opened_by else self.do("press", "F1")
            return self.do("fill", ASKED, text) and self.do("appears", row) and self.do("pressIn", ASKED, "Enter")

        until(is_taken, f"{text!r} is found")

    def open(self, file: str) -> None:
        """Open a file of the folder."""
        self.sure("click", f'.explorer-folders-view .monaco-list-row[aria-label*="{file}"]', 2)
        self.sure("appears", ".monaco-editor .view-line")

    def go_to(self, line: int) -> None:
        """The cursor at the end of a line, from 1."""
        self._answer(f":{line}", f'{ROWS}:has-text("line {line}")')
        self.sure("appears", f'{PLACE}:has-text("Ln {line},")')
        self.do("press", "End")

    def is_at(self, line: int, column: int) -> bool:
        """Whether the status bar soon says that the cursor is there, both from 1."""
        return self.do("appears", f'{PLACE}:has(:text-is("Ln {line}, Col {column}"))')

    def escape(self) -> None:
        """Away with what is asked for, and with a suggestion."""
        if self.do("visible", ASKED):
            self.do("pressIn", ASKED, "Escape")
        self.do("press", "Escape")

    def trust(self) -> None:
        """Trust the folder."""
        page = ".workspace-trust-editor"
        self.command("Workspaces: Manage Workspace Trust")
        self.sure("appears", f"{page} .workspace-trust-buttons")
        self.do("press", "Control+Enter")
        until(lambda: not self.seen("#status\\.workspaceTrust"), "the folder is trusted")
        self.leave(page)

    def leave(self, page: str) -> None:
        """Close a page that lies over the workbench."""

        def is_closed() -> bool:
            self.do("press", "Escape")
            return not self.do("visible", page)

        until(is_closed, f"{page} is closed")

    def name_folder(self, folder: str, inside: str) -> None:
        """Answer the question for a folder, once the list below it has what is `inside`."""
        row = f'{ROWS}:has-text("{inside}")'
        until(lambda: self.do("fill", ASKED, f"{folder}/") and self.do("appears", row), "the folder is found")
        self.sure("click", ".quick-input-widget .quick-input-action .monaco-button")

    def ghost(self) -> str | None:
        """The suggestion on the screen, if there is one."""
        first = "".join(self.seen(".view-lines .ghost-text-decoration"))
        more = self.seen(".suggest-preview-text .view-line")
        return "\n".join([first, *more]) if first or more else None

    def notifications(self) -> list[str]:
        """What has popped up since the last look."""
        return self.do("popups")

    def close(self) -> None:
        """End browser and server, whatever state they are in."""
        for process in reversed(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    with contextlib.suppress(OSError):
                        stream.close()

    def _command(self) -> list[str]:
        folder = self.home.folder
        places = ["--config", folder / "code-server.yaml", "--user-data-dir", self.user]
        return [*self._entry, *map(str, places), "--extensions-dir", str(folder / "extensions")]

    def _healthy(self) -> bool:
        try:
            with DIRECT.open(f"http://127.0.0.1:{self._port}/healthz", timeout=5):
                return True
        except OSError:
            return False
