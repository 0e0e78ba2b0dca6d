"""`make picture`: the README's picture of VS Code, with what the embedded model says to the hole of `make demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pass_lsp.bench.demo import demo_hole
from tests.editors.conftest import ROOT, make_home, setup_in_readme, until
from tests.editors.vscode import VsCode

LOOKS = {
    "breadcrumbs.enabled": False,
    "editor.minimap.enabled": False,
    "security.workspace.trust.enabled": False,
    "window.commandCenter": False,
    "workbench.activityBar.location": "hidden",
    "workbench.colorTheme": "Dark Modern",
    "workbench.layoutControl.enabled": False,
}


def main(path: Path) -> None:
    """Type into a real VS Code until it shows a suggestion of several lines, and take the picture."""
    hole = demo_hole()
    folder = Path(tempfile.mkdtemp())
    (folder / "project").mkdir()
    (folder / "project" / hole.path).write_text(hole.prefix[:-1] + hole.suffix, "utf-8")
    home = make_home(folder / "home")
    vscode = VsCode(home, folder / "project", LOOKS)
    try:
        vscode.install(setup_in_readme("sh", "**VS Code**"), ROOT)
        vscode.start()
        vscode.open(hole.path)
        vscode.command("View: Toggle Primary Side Bar Visibility")
        until(home.wire.ready, "the model is loaded")
        vscode.go_to(hole.prefix.count("\n") + 1)
        vscode.do("type", hole.prefix[-1])
        until(lambda: "\n" in (vscode.ghost() or ""), "a suggestion of several lines")
        vscode.do("picture", str(path))
    finally:
        vscode.close()


if __name__ == "__main__":
    main(ROOT / "docs" / "vscode.png")
