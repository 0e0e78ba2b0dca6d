"""The extension in a real VS Code, built and installed as the README says."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from pass_lsp.reasons import Reason
from tests.editors.conftest import FAST_KEYS, ROOT, SHOTS, Hole, Home, setup_in_readme, until
from tests.editors.vscode import ASKED, VsCode
from tests.server.fake_server import SPELT

pytestmark = pytest.mark.timeout(600)


CHOSEN = {"lookahead": "auto"}
"""The server's settings as this user has set them, in `vscode.py`."""


@dataclass(frozen=True)
class Brought:
    """What a workspace brings along: settings, and an environment with a `pass-lsp` that leaves a mark when it runs."""

    program: Path
    mark: Path


@pytest.fixture(scope="module")
def brought(home: Home, hole: Hole) -> Brought:
    """A workspace that would like to choose the program and the model."""
    project = hole.path.parent
    brought = Brought(project / ".venv" / "bin" / "pass-lsp", home.folder / "mark")
    brought.program.parent.mkdir(parents=True)
    brought.program.with_name("python").symlink_to(sys.executable)
    write_marking(brought.program, brought.mark, home)
    (project / ".vscode").mkdir()
    wishes = {"pass-lsp.path": str(brought.program), "pass-lsp.model": str(project), "pass-lsp.ledger": False}
    (project / ".vscode" / "settings.json").write_text(json.dumps(wishes))
    hole.path.write_text(hole.before + hole.after, "utf-8")
    return brought


def write_marking(program: Path, mark: Path, home: Home) -> None:
    """A `pass-lsp` that leaves a mark when it runs."""
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\nexec '{home.folder}/.local/bin/pass-lsp' \"$@\"\n")
    program.chmod(0o755)


@pytest.fixture(scope="module")
def started(home: Home, hole: Hole, brought: Brought) -> Iterator[VsCode]:
    """One VS Code with the file of the hole for all tests."""
    vscode = VsCode(home, hole.path.parent)
    shutil.copytree(Path(__file__).with_name("python_extension"), chosen_python(home).parent)
    try:
        vscode.install(setup_in_readme("sh", "**VS Code**"), ROOT)
        vscode.start()
        vscode.open(hole.path.name)
        yield vscode
    finally:
        vscode.close()


def chosen_python(home: Home) -> Path:
    """The file that names the interpreter which the user has picked."""
    return home.folder / "extensions" / "ms-python.python-1.0.0" / "chosen"


@pytest.fixture(scope="module")
def trusted(started: VsCode, home: Home) -> VsCode:
    """The same, once the user trusts the folder; the server is then another."""
    until(home.wire.ready, "the model is loaded")
    starts = home.wire.starts()
    started.trust()
    until(lambda: home.wire.starts() > starts, "a new server")
    return started


@pytest.fixture(autouse=True)
def pictured(started: VsCode, request: pytest.FixtureRequest) -> Iterator[None]:
    """A picture of what is on the screen is kept of every failure."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        SHOTS.mkdir(parents=True, exist_ok=True)
        started.do("picture", str(SHOTS / f"{request.node.name}.png"))


@pytest.fixture
def watched(started: VsCode, home: Home) -> Iterator[VsCode]:
    """At the end nothing must have popped up, and nobody have complained."""
    started.notifications()
    yield started
    assert started.notifications() == []
    assert home.wire.complaints() == []


@pytest.fixture
def vscode(watched: VsCode, trusted: VsCode, home: Home, project: Hole) -> VsCode:
    """VS Code at the hole, the server ready."""
    to_the_hole(trusted, home, project)
    return trusted


def to_the_hole(vscode: VsCode, home: Home, project: Hole) -> None:
    """Wait for the server, and go to where something is missing."""
    until(home.wire.ready, "the model is loaded")

    def is_there() -> bool:
        vscode.escape()
        vscode.open(project.path.name)
        vscode.command("File: Revert File")
        vscode.go_to(project.line + 1)
        return vscode.is_at(project.line + 1, len(project.indent))

    until(is_there, "the text is as it was, and the cursor in the hole")
    home.wire.forget()


def fill(vscode: VsCode, home: Home, project: Hole) -> tuple[str, dict]:
    """Type the blank; the suggestion that then stands there, whole, and the item that it is."""
    vscode.do("type", " ")
    place = (project.line, len(project.indent))

    def shown() -> dict | None:
        item = home.wire.offered(*place)
        return item if item and vscode.ghost() == after_cursor(item, project) else None

    item = until(shown, "the answer as ghost text")
    return after_cursor(item, project), item


def after_cursor(item: dict, project: Hole) -> str:
    """What an item adds to the text left of the cursor."""
    start = item["range"]["start"]["character"] if item.get("range") else len(project.indent)
    return item["insertText"][len(project.indent) - start :]


def becomes(vscode: VsCode, project: Hole, text: str) -> None:
    """The file, saved once, is `text`. A second save might come after the next test has put the file back."""
    vscode.do("press", "Control+s")
    until(lambda: project.saved() == text, f"the file is {text!r}")


def test_a_folder_that_is_not_trusted_gets_suggestions_and_chooses_nothing(
    started: VsCode, watched: VsCode, home: Home, project: Hole, brought: Brought
) -> None:
    to_the_hole(started, home, project)
    [initialize] = [sent for sent in home.wire.everything("client") if sent.get("method") == "initialize"]
    assert initialize["params"]["initializationOptions"] == {"pass-lsp": CHOSEN}
    assert fill(started, home, project)
    assert not brought.mark.exists()


def test_a_trusted_folder_brings_its_environment_and_still_chooses_no_model(
    vscode: VsCode, home: Home, brought: Brought
) -> None:
    assert brought.mark.exists()
    sent = [sent for sent in home.wire.everything("client") if sent.get("method") == "initialize"][-1]
    assert sent["params"]["initializationOptions"] == {"pass-lsp": CHOSEN}


def test_several_lines_are_shown_and_accepted_byte_for_byte(vscode: VsCode, home: Home, project: Hole) -> None:
    ghost, item = fill(vscode, home, project)
    assert "\n" in ghost
    vscode.do("press", "Tab")
    [command] = until(lambda: home.wire.messages("client", "workspace/executeCommand"), "the accept reaches the server")
    assert command["params"]["command"] == item["command"]["command"]
    assert command["params"]["arguments"] == item["command"]["arguments"]
    becomes(vscode, project, project.with_(ghost))


def test_typing_along_keeps_the_suggestion(vscode: VsCode, home: Home, project: Hole) -> None:
    ghost, _ = fill(vscode, home, project)
    vscode.do("type", ghost[:3])
    until(lambda: vscode.ghost() == ghost[3:], "the rest stays")
    vscode.do("press", "Tab")
    until(lambda: home.wire.messages("client", "workspace/executeCommand"), "the accept reaches the server")
    becomes(vscode, project, project.with_(ghost))


def test_what_is_missing_amid_a_line_is_shown_and_accepted_there(vscode: VsCode, home: Home, project: Hole) -> None:
    amid = project.path.with_name("amid.py")
    before, after = "import os\n\n\ndef joined(folder, name):\n    return os.path.join(", ", name)\n"
    amid.write_text(before + after, "utf-8")
    vscode.open(amid.name)

    def is_there() -> bool:
        vscode.go_to(5)
        for _ in after.strip():
            vscode.do("press", "ArrowLeft")
        return vscode.is_at(5, 25)

    until(is_there, "the cursor is where something is missing")
    vscode.do("type", "f")
    until(lambda: vscode.ghost() == "older", "what is missing")
    vscode.do("press", "Tab")
    until(lambda: home.wire.messages("client", "workspace/executeCommand"), "the accept reaches the server")
    vscode.do("press", "Control+s")
    until(lambda: amid.read_text("utf-8") == before + "folder" + after, "the rest of the line stays")
    vscode.command("View: Revert and Close Editor")


@pytest.mark.parametrize(("key", "part"), [("Control+ArrowRight", "word"), ("Control+Alt+ArrowRight", "line")])
def test_a_part_is_accepted_and_told(vscode: VsCode, home: Home, project: Hole, key: str, part: str) -> None:
    ghost, item = fill(vscode, home, project)
    vscode.do("press", key)
    told = partial(home.wire.messages, "client", "textDocument/didPartiallyAcceptCompletion")
    [note] = until(told, f"the {part} is told")
    taken = note["params"]["acceptedLength"] - (len(item["insertText"]) - len(ghost))
    assert 0 < taken < len(ghost)
    assert part == "word" or ghost[:taken].strip() == ghost.split("\n")[0].strip()
    assert note["params"]["item"]["insertText"] == item["insertText"]
    becomes(vscode, project, project.with_(ghost[:taken]))


def test_another_suggestion_is_shown_and_accepted(vscode: VsCode, home: Home, project: Hole) -> None:
    fill(vscode, home, project)
    vscode.do("press", "Alt+BracketRight")

    def manual() -> list[dict]:
        asked = home.wire.answers("textDocument/inlineCompletion")
        replies = [reply for ask, reply in asked if ask["params"]["context"]["triggerKind"] == 1 and reply]
        return replies[-1]["result"]["items"] if replies else []

    items = until(manual, "the server is asked by hand")
    item = items[1 % len(items)]
    text = after_cursor(item, project)
    until(lambda: vscode.ghost() == text, "the second is shown")
    vscode.do("press", "Tab")
    [command] = until(lambda: home.wire.messages("client", "workspace/executeCommand"), "the accept reaches the server")
    assert command["params"]["arguments"] == item["command"]["arguments"]
    becomes(vscode, project, project.with_(text))


def test_ten_fast_keys_leave_one_running_decode(vscode: VsCode, home: Home, project: Hole) -> None:
    def asked_at() -> int:
        answers = home.wire.answers("textDocument/inlineCompletion")
        return answers[-1][0]["params"]["position"]["character"] if answers else 0

    def settled() -> list:
        replies = [reply for _, reply in home.wire.answers("textDocument/inlineCompletion")]
        return replies if all(replies) else []

    with home.wire.hold():
        for at, key in enumerate(" " + FAST_KEYS, len(project.indent)):
            vscode.do("type", key)
            until(lambda at=at: asked_at() == at, f"a request after {key!r}")
    replies = until(settled, "every request is answered")
    served = [reply for reply in replies[:-1] if (reply.get("result") or {}).get("items")]
    assert len(served) <= 1, "what came before the last key was given up"
    assert "result" in replies[-1]


def test_the_status_bar_says_why_nothing_came(vscode: VsCode, home: Home, project: Hole) -> None:
    vscode.do("press", "Control+Home")
    vscode.do("press", "Control+ArrowRight")
    vscode.command("Trigger Inline Suggestion")

    def said() -> dict | None:
        states = [state["params"] for state in home.wire.messages("server", "didChangeStatus")]
        return states[-1] if states and states[-1]["reason"] else None

    why = until(said, "the server says why")
    assert why["message"] == f"No suggestion. {Reason(why['reason']).meaning}"
    until(lambda: why["message"] in vscode.status(), "so does the status bar")


def told(home: Home) -> list[dict]:
    """The settings that were sent since."""
    sent = home.wire.messages("client", "workspace/didChangeConfiguration")
    return [each["params"]["settings"]["pass-lsp"] for each in sent]


def test_the_menu_switches_off_and_on(vscode: VsCode, home: Home, project: Hole) -> None:
    vscode.pick("Switch off")
    until(lambda: "switched off" in vscode.status(), "the status bar")
    vscode.pick("Switch on")
    until(lambda: vscode.status() == "pass-lsp: Ready.", "the status bar, and no icon's name")
    assert told(home) == [CHOSEN | {"enabled": False}, CHOSEN | {"enabled": True}]
    vscode.go_to(project.line + 1)
    assert fill(vscode, home, project)


def test_the_menu_switches_off_and_on_for_a_language(vscode: VsCode, home: Home, project: Hole) -> None:
    vscode.pick("Switch off for python")
    until(lambda: "off for python" in vscode.status(), "the status bar, at once")
    for language in ("JavaScript", "Python"):
        vscode.choose(language, opened_by=lambda: vscode.command("Change Language Mode"))
        until(lambda of=language: ("off for python" in vscode.status()) == (of == "Python"), f"the bar for {language}")
    vscode.go_to(project.line + 1)
    vscode.do("type", " ")
    until(lambda: home.wire.answers("textDocument/inlineCompletion"), "a request")
    until(lambda: home.wire.answers("textDocument/inlineCompletion")[-1][1], "its answer")
    assert not home.wire.items() and vscode.ghost() is None
    vscode.pick("Switch on for python")
    until(lambda: "Ready" in vscode.status(), "the status bar")
    assert [each["disabled_languages"] for each in told(home)] == [["python"], []]
    to_the_hole(vscode, home, project)
    assert fill(vscode, home, project)


def test_restart_brings_back_the_suggestions(vscode: VsCode, home: Home, project: Hole) -> None:
    starts = home.wire.starts()
    vscode.pick("Restart the server")
    until(lambda: home.wire.starts() == starts + 1, "a new server")
    until(home.wire.ready, "the model is loaded again")
    vscode.go_to(project.line + 1)
    assert fill(vscode, home, project)


def test_a_server_that_dies_comes_back_by_itself(vscode: VsCode, home: Home, project: Hole) -> None:
    starts = home.wire.starts()
    home.kill_server()
    until(lambda: home.wire.starts() == starts + 1, "a new server")
    until(home.wire.ready, "the model is loaded again")
    vscode.go_to(project.line + 1)
    assert fill(vscode, home, project)


def test_what_was_chosen_holds_for_a_server_that_comes_back(vscode: VsCode, home: Home, project: Hole) -> None:
    vscode.pick("Switch off")
    until(lambda: "switched off" in vscode.status(), "the status bar")
    starts = home.wire.starts()
    home.kill_server()
    until(lambda: home.wire.starts() == starts + 1, "a new server")
    [initialize] = home.wire.messages("client", "initialize")
    assert initialize["params"]["initializationOptions"]["pass-lsp"]["enabled"] is False
    until(lambda: "switched off" in vscode.status(), "the status bar")
    with home.wire.hold():
        home.kill_server()
        until(lambda: home.wire.starts() == starts + 2, "another")
        vscode.pick("Switch on")  # while that is starting
    until(lambda: "Ready" in vscode.status(), "the status bar")
    assert [each["enabled"] for each in told(home)] == [True]
    vscode.go_to(project.line + 1)
    assert fill(vscode, home, project)


def test_restart_while_it_comes_back_leaves_one_server(vscode: VsCode, home: Home, project: Hole) -> None:
    starts = home.wire.starts()
    with home.wire.hold():
        home.kill_server()
        until(lambda: home.wire.starts() == starts + 1, "a server that is starting")
        vscode.pick("Restart the server")
        until(lambda: "not running" in vscode.status(), "it is given up")
    until(lambda: home.wire.starts() == starts + 2, "a new server")
    until(home.wire.ready, "the model is loaded")
    vscode.go_to(project.line + 1)
    assert fill(vscode, home, project)
    assert home.wire.starts() == starts + 2


def test_a_picked_model_is_used_at_once(vscode: VsCode, home: Home, project: Hole) -> None:
    model, starts = str(ROOT / "models" / "pass-cpu"), home.wire.starts()
    vscode.pick("Pick a model", "A folder")
    vscode.name_folder(model, "lookahead")
    until(lambda: home.wire.starts() == starts + 1, "a new server")
    [initialize] = home.wire.messages("client", "initialize")
    assert initialize["params"]["initializationOptions"]["pass-lsp"]["model"] == model
    until(home.wire.ready, "the model is loaded")
    vscode.go_to(project.line + 1)
    assert fill(vscode, home, project)


def test_the_log_is_shown(vscode: VsCode) -> None:
    vscode.pick("Show the log")
    until(lambda: "pass-lsp" in " ".join(vscode.seen(".part.panel select")), "the log")
    vscode.command("View: Hide Panel")


def test_a_model_that_is_not_there_is_told_in_the_status_bar(vscode: VsCode, home: Home, project: Hole) -> None:
    vscode.pick("Pick a model", "A name")
    vscode.sure("appears", '.quick-input-title:has-text("hub id")')
    vscode.sure("fill", ASKED, "no-such/model")
    vscode.sure("pressIn", ASKED, "Enter")
    until(lambda: "no-such/model" in vscode.status(), "the status bar names it")
    assert "Reason code: model-failed" in vscode.status()
    starts = home.wire.starts()
    vscode.pick("Pick a model", "embedded")
    until(lambda: home.wire.starts() == starts + 1, "a new server")
    until(home.wire.ready, "the model is loaded")
    vscode.go_to(project.line + 1)
    assert fill(vscode, home, project)


def test_what_the_program_prints_is_shown_in_one_place_beside_the_editor(vscode: VsCode) -> None:
    pages = {"Statistics": r"accepted|Nothing is recorded", "Doctor": r"ok\s+python"}
    for entry, words in pages.items():
        vscode.pick(entry)
        until(lambda of=words: re.search(of, " ".join(vscode.seen(".monaco-editor .view-line"))), f"what {entry} says")
        assert len(vscode.seen(".editor-group-container")) == 2
    vscode.command("View: Revert and Close Editor")


def test_the_menu_leads_to_the_settings(vscode: VsCode) -> None:
    vscode.pick("Settings")
    until(lambda: "Disabled_languages" in " ".join(vscode.seen(".settings-editor")), "our settings")
    vscode.leave(".settings-editor")


def test_the_walkthrough_leads_to_the_doctor(vscode: VsCode) -> None:
    vscode.choose("Start with pass-lsp", opened_by=lambda: vscode.command("Welcome: Open Walkthrough..."))
    steps = ("Install the server", "Take a suggestion", "Pick a model", "When nothing comes")
    page = ".gettingStartedContainer"
    until(lambda: all(step in " ".join(vscode.seen(page)) for step in steps), "the steps")
    vscode.sure("click", f'{page} >> text="When nothing comes"')
    vscode.sure("click", f'{page} >> text="Run the doctor"')
    until(lambda: re.search(r"ok\s+python", " ".join(vscode.seen(".monaco-editor .view-line"))), "the report")


def test_a_cell_of_a_notebook_is_completed(vscode: VsCode, home: Home, project: Hole) -> None:
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [empty | {"source": text.splitlines(keepends=True)} for text in (project.before, project.after)]
    notebook = {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    project.path.with_name("cells.ipynb").write_text(json.dumps(notebook))
    vscode.choose("cells.ipynb", opened_by=lambda: vscode.do("press", "Control+p"))
    vscode.sure("click", ".notebook-editor .monaco-editor .view-line")
    vscode.do("press", "Control+End")
    vscode.do("type", " ")
    item = until(home.wire.items, "an answer")[-1]
    asked = home.wire.messages("client", "textDocument/inlineCompletion")[-1]
    assert asked["params"]["textDocument"]["uri"].startswith("vscode-notebook-cell:")
    until(lambda: vscode.ghost() and vscode.ghost() in item["insertText"], "the ghost text")
    vscode.do("press", "Tab")
    [command] = until(lambda: home.wire.messages("client", "workspace/executeCommand"), "the accept reaches the server")
    assert command["params"]["arguments"] == item["command"]["arguments"]
    vscode.command("View: Revert and Close Editor")


def test_a_server_that_dies_for_good_is_told_in_the_status_bar(trusted: VsCode, home: Home) -> None:
    starts = home.wire.starts()
    trusted.pick("Restart the server")  # whose crashes are counted anew
    trusted.notifications()
    for crashes in range(1, 6):
        until(lambda crashes=crashes: home.wire.starts() == starts + crashes, "a server")
        until(home.wire.ready, "it is up, and all is said")
        home.kill_server()
    until(lambda: "has ended. Click to restart it" in trusted.status(), "the status bar says what to do")
    assert "crashed 5 times" in " ".join(until(trusted.notifications, "so does the client"))
    trusted.command("Notifications: Clear All Notifications")
    trusted.pick("Restart the server")
    until(lambda: "Ready" in trusted.status(), "the status bar")


def test_a_path_that_names_nothing_is_told(trusted: VsCode, home: Home) -> None:
    trusted.notifications()
    trusted.set_for_the_machine({"pass-lsp.path": "~/nowhere/pass-lsp"})
    said = until(trusted.notifications, "a notification")
    assert said == ["pass-lsp.path: there is no program ~/nowhere/pass-lsp."]
    starts = home.wire.starts()
    trusted.command("Notifications: Clear All Notifications")
    trusted.set_for_the_machine({})
    until(lambda: home.wire.starts() == starts + 1, "the server is started again")


def test_a_program_that_ends_at_once_or_cannot_be_run_is_told_once(trusted: VsCode, home: Home) -> None:
    broken, gone, tries = (home.folder / name for name in ("broken", "gone", "tries"))
    broken.write_text(f"#!/bin/sh\necho >> '{tries}'\nhead -c 9 >&2\nexit 1\n")
    gone.write_text("#!/no/such/python\n")
    remedy = "cannot be started; the log says why. If it is broken, as after an update of Python, install it anew."
    for program in (broken, gone):
        program.chmod(0o755)
        trusted.notifications()
        trusted.set_for_the_machine({"pass-lsp.path": str(program)})
        said = until(trusted.notifications, "a notification")
        until(lambda: len(tries.read_text()) == 5, "the client has given up")
        until(lambda: "has ended. Click to restart it" in trusted.status(), "the status bar says so")
        assert {*said, *trusted.notifications()} == {f"{program} {remedy}"}  # one that stays is seen again
        trusted.command("Notifications: Clear All Notifications")
    starts = home.wire.starts()
    trusted.set_for_the_machine({})
    until(lambda: home.wire.starts() == starts + 1, "the server is started again")


def test_a_program_that_never_answers_can_be_replaced(trusted: VsCode, home: Home) -> None:
    silent = home.folder / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 6000 6000\n")
    silent.chmod(0o755)

    def runs() -> bool:
        return ["sleep", "6000", "6000"] in [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]

    trusted.set_for_the_machine({"pass-lsp.path": str(silent)})
    until(runs, "it is started")
    until(lambda: "starting" in trusted.status(), "the status bar says that it is waited for")
    starts = home.wire.starts()
    trusted.set_for_the_machine({})
    until(lambda: home.wire.starts() == starts + 1, "another is started")
    until(home.wire.ready, "the model is loaded")
    until(lambda: not runs(), "the first has ended")


def test_a_decode_under_way_is_joined_by_who_types_what_it_says(
    trusted: VsCode, home: Home, project: Hole, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    gate, counts, program = tmp_path / "gate", tmp_path / "counts", tmp_path / "pass-lsp"
    gate.write_text("")
    wire = f"'{sys.executable}' '{ROOT / 'tests' / 'editors' / 'wire.py'}' '{home.wire.log}'"
    program.write_text(
        f"#!/bin/sh\ncd '{ROOT}'\nexport FAKE_GATE='{gate}' FAKE_COUNTS='{counts}'\n"
        f"exec {wire} '{sys.executable}' -m tests.server.fake_server\n"
    )
    program.chmod(0o755)
    slow = project.path.with_name("slow.py")
    slow.write_text("# do: spell\nx =", "utf-8")

    def count(name: str) -> int:
        return json.loads(counts.read_text()).get(name, 0) if counts.exists() else 0

    def is_there() -> bool:
        trusted.escape()
        trusted.open(slow.name)
        trusted.go_to(2)
        return trusted.is_at(2, 4)

    starts = home.wire.starts()
    trusted.set_for_the_machine({"pass-lsp.path": str(program)})
    request.addfinalizer(lambda: trusted.set_for_the_machine({}))
    until(lambda: home.wire.starts() == starts + 1, "the scripted server is started")
    until(home.wire.ready, "it is ready")
    until(is_there, "the cursor is where something is missing")
    home.wire.forget()
    trusted.do("type", " ")
    until(lambda: count("spelling"), "a decode is under way")
    cancelled = count("cancelled")
    gate.write_text("." * 3)
    until(lambda: count("said") == 3, "a part of it is there")
    for typed, key in enumerate("alp", 1):
        trusted.do("type", key)
        until(lambda typed=typed: len(home.wire.messages("client", "textDocument/didChange")) == 1 + typed, "the key")
    assert home.wire.messages("client", "$/cancelRequest")
    gate.write_text("." * len(SPELT) + "!")
    until(lambda: trusted.ghost() == SPELT[3:], "the rest is shown")
    assert count("cancelled") == cancelled


def test_the_program_of_the_python_that_the_user_picks_is_used(trusted: VsCode, home: Home, brought: Brought) -> None:
    chosen, mark = chosen_python(home), home.folder / "mark of another"
    python, program = (home.folder / "other" / "bin" / name for name in ("python", "pass-lsp"))
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    write_marking(program, mark, home)
    brought.mark.unlink()
    starts = home.wire.starts()
    for picked, left in ((python, mark), (brought.program.with_name("python"), brought.mark), (python, mark)):
        starts += 1
        chosen.write_text(str(picked))
        until(left.exists, "its program is started")
        until(lambda: home.wire.starts() == starts, "it is asked to begin")  # noqa: B023
        until(home.wire.ready, "the model is loaded")
        left.unlink()
        chosen.write_text(str(picked))  # the same again, which starts nothing
    chosen.unlink()
    until(lambda: home.wire.starts() == starts + 1, "the environment of the folder is the active one again")
    until(home.wire.ready, "the model is loaded")
    assert brought.mark.exists() and not mark.exists()


def test_a_missing_server_is_installed_by_one_command(
    trusted: VsCode, home: Home, project: Hole, brought: Brought
) -> None:
    program = home.folder / ".local" / "bin" / "pass-lsp"
    program.rename(program.with_name("away"))
    brought.program.unlink()
    python = brought.program.with_name("python")
    python.unlink()
    script = f"mv '{program.with_name('away')}' '{program}'"
    python.write_text(f'#!/bin/sh\n[ "$*" = "-m pip install pass-lsp" ] && {script}\n')
    python.chmod(0o755)
    trusted.notifications()
    trusted.command("pass-lsp: Restart the Server")
    said = until(trusted.notifications, "a notification")
    assert said == [f"pass-lsp is not installed. Run: {python} -m pip install pass-lsp"]
    starts = home.wire.starts()
    trusted.sure("click", '.notification-toast .monaco-button:has-text("Install")')
    until(lambda: home.wire.starts() == starts + 1, "the command has brought it, and it is started")
    until(home.wire.ready, "the model is loaded")
    to_the_hole(trusted, home, project)
    assert fill(trusted, home, project)
