"""The extension in a real VS Code, built and installed as the README says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.editors.conftest import ROOT, SHOTS, Hole, Home, setup_in_readme, until
from tests.editors.vscode import VsCode

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def started(home: Home, hole: Hole) -> Iterator[VsCode]:
    """One VS Code with the file of the hole for all tests."""
    hole.path.write_text(hole.before + hole.after, "utf-8")
    vscode = VsCode(home, hole.path.parent)
    try:
        vscode.install(setup_in_readme("sh", "**VS Code**"), ROOT)
        vscode.start()
        vscode.open(hole.path.name)
        yield vscode
    finally:
        vscode.close()


@pytest.fixture
def vscode(started: VsCode, home: Home, project: Hole, request: pytest.FixtureRequest) -> Iterator[VsCode]:
    """VS Code at the hole, the server ready; at the end nothing must have popped up. Pictures of failures are kept."""
    failed = request.session.testsfailed
    try:
        until(home.wire.ready, "the model is loaded")
        started.do("press", "Escape")
        started.command("Revert File")
        started.go_to(project.line + 1)
        home.wire.forget()
    except AssertionError:
        picture(started, request.node.name)
        raise
    yield started
    if request.session.testsfailed > failed:
        picture(started, request.node.name)
    assert started.notifications() == []
    assert home.wire.complaints() == []


def picture(vscode: VsCode, name: str) -> None:
    """Keep what is on the screen."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    vscode.do("picture", str(SHOTS / f"{name}.png"))


def fill(vscode: VsCode, home: Home, project: Hole) -> str:
    """Type the blank; the suggestion that then stands there, whole."""
    vscode.do("type", " ")
    until(home.wire.items, "an answer")
    expected = after_cursor(home.wire.items()[-1], project)
    until(lambda: vscode.ghost() == expected, f"the ghost text {expected!r}")
    return expected


def after_cursor(item: dict, project: Hole) -> str:
    """What an item adds to the text left of the cursor."""
    start = item["range"]["start"]["character"] if item.get("range") else len(project.indent)
    return item["insertText"][len(project.indent) - start :]


def saved(vscode: VsCode, project: Hole) -> str:
    """The file, saved."""
    before = project.path.stat().st_mtime_ns
    vscode.do("press", "Control+s")
    until(lambda: project.path.stat().st_mtime_ns != before, "the file is saved")
    return project.path.read_text("utf-8")


def test_several_lines_are_shown_and_accepted_byte_for_byte(vscode: VsCode, home: Home, project: Hole) -> None:
    ghost = fill(vscode, home, project)
    assert "\n" in ghost
    item = home.wire.items()[-1]
    vscode.do("press", "Tab")
    until(lambda: vscode.ghost() != ghost, "the suggestion is taken")
    assert saved(vscode, project) == project.with_(ghost)
    if item.get("command"):
        [command] = until(
            lambda: home.wire.messages("client", "workspace/executeCommand"), "the accept reaches the server"
        )
        assert command["params"]["command"] == item["command"]["command"]


def test_typing_along_keeps_the_suggestion(vscode: VsCode, home: Home, project: Hole) -> None:
    ghost = fill(vscode, home, project)
    vscode.do("type", ghost[:3])
    until(lambda: vscode.ghost() == ghost[3:], "the rest stays")
    vscode.do("press", "Tab")
    until(lambda: vscode.ghost() != ghost[3:], "the rest is taken")
    assert saved(vscode, project).startswith(project.before + " " + ghost)


@pytest.mark.parametrize(("key", "part"), [("Control+ArrowRight", "word"), ("Control+Alt+ArrowRight", "line")])
def test_a_part_is_accepted_and_told(vscode: VsCode, home: Home, project: Hole, key: str, part: str) -> None:
    ghost = fill(vscode, home, project)
    item = home.wire.items()[-1]
    vscode.do("press", key)
    [note] = until(
        lambda: home.wire.messages("client", "textDocument/didPartiallyAcceptCompletion"), f"the {part} is told"
    )
    taken = note["params"]["acceptedLength"] - (len(item["insertText"]) - len(ghost))
    assert 0 < taken < len(ghost)
    assert part == "word" or ghost[:taken].strip() == ghost.split("\n")[0].strip()
    assert note["params"]["item"]["insertText"] == item["insertText"]
    assert saved(vscode, project) == project.with_(ghost[:taken])


def test_ten_fast_keys_leave_one_running_decode(vscode: VsCode, home: Home, project: Hole) -> None:
    vscode.do("type", " if_the_xyz")

    def settled() -> list:
        answers = home.wire.answers("textDocument/inlineCompletion")
        position = answers[-1][0]["params"]["position"] if answers else {}
        done = position.get("character") == len(project.indent) + 10 and all(reply for _, reply in answers)
        return answers if done else []

    answers = until(settled, "every request is answered")
    served = [reply for _, reply in answers[:-1] if (reply.get("result") or {}).get("items")]
    assert len(served) <= 1, "what came before the last key was given up"
    assert "result" in answers[-1][1]


def test_the_status_bar_says_why_nothing_came(vscode: VsCode, home: Home, project: Hole) -> None:
    vscode.do("press", "Control+Home")
    vscode.do("press", "Control+ArrowRight")
    vscode.command("Trigger Inline Suggestion")
    said = until(lambda: home.wire.messages("server", "didChangeStatus"), "the server says why")[-1]["params"]
    assert said["reason"]
    until(lambda: said["message"] in vscode.status() and said["reason"] in vscode.status(), "so does the status bar")


def test_the_menu_switches_off_and_on(vscode: VsCode, home: Home, project: Hole) -> None:
    first = ".quick-input-widget .monaco-list-row.focused"
    for off in (True, False):
        vscode.do("click", '.statusbar-item[id$="pass-lsp.status"] a')
        until(lambda off=off: f"Switch {'off' if off else 'on'}" in " ".join(vscode.seen(first)), "the menu")
        vscode.do("press", "Enter")
        until(lambda off=off: ("switched off" in vscode.status()) is off, "the status bar")
    told = home.wire.messages("client", "workspace/didChangeConfiguration")
    assert [each["params"]["settings"]["pass-lsp"]["enabled"] for each in told] == [False, True]
    vscode.go_to(project.line + 1)
    home.wire.forget()
    assert fill(vscode, home, project)


def test_restart_brings_back_the_suggestions(vscode: VsCode, home: Home, project: Hole) -> None:
    starts = home.wire.starts()
    vscode.command("pass-lsp: Restart the Server")
    until(lambda: home.wire.starts() == starts + 1, "a new server")
    until(home.wire.ready, "the model is loaded again")
    vscode.go_to(project.line + 1)
    assert fill(vscode, home, project)


def test_only_what_the_user_set_is_sent(started: VsCode, home: Home) -> None:
    until(home.wire.ready, "the model is loaded")
    starts = home.wire.starts()
    started.command("pass-lsp: Restart the Server")
    until(lambda: home.wire.starts() == starts + 1, "a new server")
    until(home.wire.ready, "the model is loaded again")
    [initialize] = home.wire.messages("client", "initialize")
    sent = initialize["params"]["initializationOptions"]["pass-lsp"]
    # `enabled` was set by the menu, if its test ran before.
    assert sent | {"enabled": True} == {"enabled": True, "lookahead": "auto"}
    started.configure({"pass-lsp.strategy": "autoregressive"})
    told = until(lambda: home.wire.messages("client", "workspace/didChangeConfiguration"), "the change is told")
    assert told[-1]["params"]["settings"]["pass-lsp"]["strategy"] == "autoregressive"


def test_the_doctor_reports_beside_the_file(started: VsCode, home: Home) -> None:
    started.command("pass-lsp: Doctor")
    until(lambda: re.search(r"ok\s+python", " ".join(started.seen(".monaco-editor .view-line"))), "the report")


def test_a_missing_server_is_offered_with_its_command(started: VsCode, home: Home) -> None:
    (home.folder / ".local" / "bin" / "pass-lsp").unlink()
    started.command("pass-lsp: Restart the Server")
    [said] = until(started.notifications, "a notification")
    assert re.search(r"pass-lsp is not installed\. Run: (pipx|.*pip) install pass-lsp", said)
    assert {"Install", "Set its path"} <= set(started.seen(".notification-toast .monaco-button"))
