"""The recipe for Emacs, in a real Emacs with eglot: `completion-at-point` puts the suggestion in."""

from __future__ import annotations

import subprocess

import pytest

from tests.editors.conftest import LIMIT_S, Hole, Home, need
from tests.editors.recipes import recipe

pytestmark = pytest.mark.timeout(600)

STEPS = """
(setq eglot-sync-connect 60 make-backup-files nil)
(find-file (getenv "HOLE_FILE"))
(goto-char (point-min))
(forward-line (string-to-number (getenv "HOLE_LINE")))
(end-of-line)
(call-interactively #'eglot)
(insert " ")
(let ((before (buffer-string)) (end (+ (float-time) (string-to-number (getenv "PATIENCE")))))
  (while (and (equal before (buffer-string)) (< (float-time) end))
    (accept-process-output nil 0.3)
    (completion-at-point)))
(save-buffer)
(eglot-shutdown (eglot-current-server))
"""


def test_completion_at_point_puts_the_suggestion_in(home: Home, project: Hole) -> None:
    init = home.folder / "init.el"
    init.write_text(recipe("Emacs", "elisp") + "\n(require 'eglot)\n" + STEPS)
    hole = {"HOLE_FILE": str(project.path), "HOLE_LINE": str(project.line), "PATIENCE": str(int(LIMIT_S))}
    command = [str(need("bin/emacs")), "--batch", "-l", str(init)]
    done = subprocess.run(command, env=home.env | hole, capture_output=True, text=True, timeout=3 * LIMIT_S)
    assert done.returncode == 0, done.stderr
    item = home.wire.items("textDocument/completion")[-1]
    edit = item["textEdit"]
    keep = project.indent[: edit["range"]["start"]["character"]]
    whole = project.before.removesuffix(project.indent[:-1]) + keep + edit["newText"] + project.after
    assert "\n" in edit["newText"]
    assert project.path.read_text("utf-8") == whole
    [told] = home.wire.messages("client", "workspace/didChangeConfiguration")
    assert told["params"]["settings"] == {"pass-lsp": {"disabled_languages": ["markdown"]}}
    assert home.wire.complaints() == []
