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
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
}
ASKED = ".quick-input-widget .quick-input-box input"
"""Where one types what is asked for at the top of the window."""
OF_THE_MACHINE = {"pass-lsp.lookahead": "auto"}


class VsCode:
    """One running VS Code on `folder`. `install` runs shell commands in which `code` is this one."""

    def __init__(self, home: Home, folder: Path) -> None:
        node = need("tools/bin/node")
        self._entry = [str(node), str(need("vscode/node_modules/code-server/out/node/entry.js"))]
        playwright = need("browser/node_modules/playwright-core")
        chromium = shutil.which("chromium") or str(need("bin/chromium"))
        self.home, self.user = home, home.folder / "vscode"
        for where in ("User", "Machine"):
            (self.user / where).mkdir(parents=True)
        self._running: list[subprocess.Popen[str]] = []
        (self.user / "User" / "settings.json").write_text(json.dumps(SETTINGS))
        # Settings of scope `machine` live here, as the window is another machine's to VS Code.
        (self.user / "Machine" / "settings.json").write_text(json.dumps(OF_THE_MACHINE))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        (home.folder / "code-server.yaml").write_text(f"bind-addr: 127.0.0.1:{self._port}\nauth: none\ncert: false\n")
        self._env = home.env | {"PATH": f"{home.env['PATH']}:{node.parent}"}
        self._folder = folder
        url = f"http://127.0.0.1:{self._port}/?folder={folder}"
        self._driver = [str(node), str(Path(__file__).with_suffix(".cjs")), str(playwright), chromium, url]

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

    def seen(self, selector: str) -> list[str]:
        """The texts of what matches, from top to bottom."""
        return [text for _, _, text in self.do("seen", selector)]

    def status(self) -> str:
        """What the status bar says on hovering over it."""
        return self.do("attribute", '.statusbar-item[id$="pass-lsp.status"] a', "aria-label") or ""

    def ask(self, text: str) -> None:
        """Put `text` into the palette."""
        self.do("press", "F1")
        self.do("fill", ASKED, text)

    def command(self, title: str) -> None:
        """Run a command by its title, from the palette."""
        self.ask(f">{title}")
        self.choose(title)

    def choose(self, title: str) -> None:
        """Take the entry of a list that is offered, as soon as it is the first."""
        row = f'.quick-input-widget .monaco-list-row.focused[aria-label*="{title}"]'
        until(lambda: self.do("seen", row), f"the entry {title!r}")
        self.do("pressIn", ASKED, "Enter")

    def place(self) -> str:
        """Where the status bar says that the cursor is."""
        return " ".join(self.seen("#status\\.editor\\.selection"))

    def open(self, file: str) -> None:
        """Open a file of the folder."""
        self.do("click", f'.explorer-folders-view .monaco-list-row[aria-label*="{file}"]', 2)
        until(lambda: self.do("seen", ".monaco-editor .view-line"), f"{file} is open")

    def go_to(self, line: int) -> None:
        """The cursor at the end of a line, from 1."""
        self.ask(f":{line}")
        rows = ".quick-input-widget .monaco-list-row"
        until(lambda: f"line {line}" in " ".join(self.seen(rows)), "the line is found")
        self.do("pressIn", ASKED, "Enter")
        until(lambda: f"Ln {line}," in self.place(), f"line {line}")
        self.do("press", "End")

    def trust(self) -> None:
        """Trust the folder."""
        page = ".workspace-trust-editor"
        self.command("Workspaces: Manage Workspace Trust")
        until(lambda: self.seen(f"{page} .workspace-trust-buttons"), "the page about trust")
        self.do("press", "Control+Enter")
        until(lambda: not self.seen("#status\\.workspaceTrust"), "the folder is trusted")

        def is_closed() -> bool:
            self.do("press", "Escape")
            return not self.seen(page)

        until(is_closed, "the page, which lies over the workbench, is closed")

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
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/healthz", timeout=5):
                return True
        except OSError:
            return False
