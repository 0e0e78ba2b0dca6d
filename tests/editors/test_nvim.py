"""The plugin in Neovim 0.11 (its own ghost text) and 0.12 (Neovim's), set up as the README says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pass_lsp.reasons import Reason
from tests.editors.conftest import FAST_KEYS, ROOT, Hole, Home, keep, make_home, need, setup_in_readme, until
from tests.editors.nvim import Nvim

VERSIONS = ("nvim-0.11", "nvim-0.12")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def home(version: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp(version))


@pytest.fixture(scope="module")
def started(version: str, home: Home) -> Iterator[Nvim]:
    """One Neovim for all tests of a version."""
    started = Nvim(need(f"bin/{version}"), home, setup_in_readme("lua", "**Neovim**"))
    yield started
    started.close()


@pytest.fixture
def nvim(started: Nvim, home: Home, project: Hole, request: pytest.FixtureRequest) -> Iterator[Nvim]:
    """Neovim with the file of the hole, the server ready; at the end nobody must have complained. Failures are kept."""
    failed = request.session.testsfailed
    started.keys("<Esc>")
    started.command(f"silent! %bwipeout! | messages clear | edit {project.path}")
    until(home.wire.ready, "the model is loaded")
    until(lambda: started.lua("return require('pass_lsp').client() ~= nil"), "the server is attached")
    home.wire.forget()
    yield started
    if request.session.testsfailed > failed:
        keep(f"{request.node.name}.txt", started.screen())
        return
    assert home.wire.complaints() == []
    assert "rror" not in started.messages()
    log = home.folder / "state" / "nvim" / "lsp.log"
    lines = log.read_text().splitlines() if log.exists() else []
    # Neovim files a server's whole stderr, which is where logs belong, under this heading.
    assert [line for line in lines if line.startswith("[ERROR]") and '"stderr"' not in line] == []


def fill(nvim: Nvim, home: Home, project: Hole) -> tuple[str, dict]:
    """Type the blank; the suggestion that then stands there, whole, and the item that it is."""
    nvim.keys(f"{project.line + 1}GA<Space>")
    place = (project.line, len(project.indent))

    def shown() -> dict | None:
        item = home.wire.offered(*place)
        return item if item and nvim.ghost() == after_cursor(item, project) else None

    item = until(shown, "the answer as ghost text")
    return after_cursor(item, project), item


def after_cursor(item: dict, project: Hole) -> str:
    """What an item adds to the text left of the cursor."""
    start = item["range"]["start"]["character"] if item.get("range") else len(project.indent)
    return item["insertText"][len(project.indent) - start :]


def told(home: Home, method: str) -> Callable[[], list[dict]]:
    return lambda: home.wire.messages("client", method)


def test_several_lines_are_shown_and_accepted_byte_for_byte(nvim: Nvim, home: Home, project: Hole) -> None:
    ghost, item = fill(nvim, home, project)
    assert "\n" in ghost
    nvim.keys("<Tab>")
    until(lambda: nvim.text() + "\n" == project.with_(ghost), "the text is in")
    row, column = nvim.call("win_get_cursor", 0)
    assert row == project.line + 1 + ghost.count("\n")
    assert column == len(ghost.rsplit("\n", 1)[1])
    [command] = until(told(home, "workspace/executeCommand"), "the accept reaches the server")
    assert command["params"]["command"] == item["command"]["command"]
    assert command["params"]["arguments"] == item["command"]["arguments"]
    nvim.keys("<Esc>u")
    until(lambda: nvim.text() + "\n" == project.with_(""), "one undo takes the suggestion back")


@pytest.mark.parametrize("menu", [False, True], ids=["alone", "menu"])
def test_the_key_behind_an_accept_comes_behind_its_text(nvim: Nvim, home: Home, project: Hole, menu: bool) -> None:
    nvim.lua("vim.opt.completeopt = { 'menuone', 'noselect' }")
    nvim.lua("vim.keymap.set('i', '<F2>', function() vim.fn.complete(vim.fn.col('.'), { 'one', 'two' }) end)")
    ghost, _ = fill(nvim, home, project)
    if menu:
        nvim.keys("<F2>")
        until(lambda: nvim.call("call_function", "pumvisible", []), "the menu")
    nvim.keys("<Tab>z")
    until(lambda: nvim.text() + "\n" == project.with_(ghost + "z"), "both are in")


def test_tab_is_a_tab_where_nothing_is_shown(nvim: Nvim, project: Hole) -> None:
    nvim.keys("ggO<Tab>x")
    until(lambda: nvim.text().startswith(("\tx\n", " ")), "the key has its own meaning")


def test_typing_along_keeps_the_suggestion(nvim: Nvim, home: Home, project: Hole) -> None:
    ghost, _ = fill(nvim, home, project)
    for typed in range(1, 4):
        nvim.keys(ghost[typed - 1].replace("<", "<lt>"))
        until(lambda typed=typed: nvim.ghost() == ghost[typed:], "the rest stays")
    nvim.keys("<Tab>")
    until(lambda: nvim.text().startswith(project.before + " " + ghost + project.after[:20]), "the whole is in")


@pytest.mark.parametrize(("plug", "part"), [("word", "first word"), ("line", "first line")])
def test_a_part_is_accepted_and_told(nvim: Nvim, home: Home, project: Hole, plug: str, part: str) -> None:
    nvim.lua("vim.keymap.set('i', '<C-l>', ('<Plug>(pass-lsp-accept-%s)'):format(...))", plug)
    ghost, item = fill(nvim, home, project)
    nvim.keys("<C-l>")
    [note] = until(told(home, "textDocument/didPartiallyAcceptCompletion"), f"the {part} is told")
    taken = ghost.split("\n")[0] if plug == "line" else nvim.line()[len(project.indent) :]
    assert nvim.line() == project.indent + taken
    assert ghost.startswith(taken) and taken
    ahead = len(item["insertText"]) - len(ghost)
    assert note["params"]["acceptedLength"] == ahead + len(taken)
    assert note["params"]["item"]["insertText"] == item["insertText"]
    until(lambda: nvim.ghost() == ghost[len(taken) :], "the rest is shown")


def test_dismiss_takes_it_away(nvim: Nvim, home: Home, project: Hole) -> None:
    nvim.lua("vim.keymap.set('i', '<C-e>', '<Plug>(pass-lsp-dismiss)')")
    fill(nvim, home, project)
    nvim.keys("<C-e>")
    until(lambda: nvim.ghost() is None, "it is gone")
    assert nvim.call("get_mode")["mode"] == "i"


def test_control_c_takes_it_away(nvim: Nvim, home: Home, project: Hole) -> None:
    fill(nvim, home, project)
    nvim.keys("<C-c>")
    until(lambda: nvim.call("get_mode")["mode"] == "n", "Normal mode")
    until(lambda: nvim.ghost() is None, "it is gone")


@pytest.mark.parametrize(("plug", "index"), [("next", 1), ("previous", -1)])
def test_another_suggestion_is_shown_and_accepted(nvim: Nvim, home: Home, project: Hole, plug: str, index: int) -> None:
    nvim.lua("vim.keymap.set('i', '<C-n>', ('<Plug>(pass-lsp-%s)'):format(...))", plug)
    nvim.lua("vim.keymap.set('i', '<C-y>', '<Plug>(pass-lsp-accept)')")
    fill(nvim, home, project)
    nvim.keys("<C-n>")

    def manual() -> list[dict]:
        asked = home.wire.answers("textDocument/inlineCompletion")
        return [reply for ask, reply in asked if ask["params"]["context"]["triggerKind"] == 1 and reply]

    [reply] = until(manual, "the server is asked by hand")
    items = reply["result"]["items"]
    at = index % len(items)
    number = f" ({at + 1}/{len(items)})" if at else ""
    text = after_cursor(items[at], project)
    until(lambda: nvim.ghost("pass_lsp") == text + number, "it is shown, with its number")
    nvim.keys("<C-y>")
    until(lambda: nvim.text() + "\n" == project.with_(text), "and accepted")
    told_of = until(told(home, "workspace/executeCommand"), "the accept reaches the server")
    assert told_of[-1]["params"]["arguments"] == items[at]["command"]["arguments"]


def test_ten_fast_keys_leave_one_running_decode(nvim: Nvim, home: Home, project: Hole) -> None:
    last = {"line": project.line, "character": len(project.indent) + 10}

    def asked() -> list:
        answers = home.wire.answers("textDocument/inlineCompletion")
        return answers if answers and answers[-1][0]["params"]["position"] == last else []

    def settled() -> list:
        return [reply for _, reply in asked()] if all(reply for _, reply in asked()) else []

    with home.wire.hold():
        nvim.keys(f"{project.line + 1}GA<Space>")
        for key in FAST_KEYS:
            nvim.keys(key)
        until(asked, "the last key is asked about")
    replies = until(settled, "every request is answered")
    served = [reply for reply in replies[:-1] if (reply.get("result") or {}).get("items")]
    assert len(served) <= 1, "what came before the last key was given up"
    assert "result" in replies[-1]


@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
def test_restart_brings_back_the_suggestions(nvim: Nvim, home: Home, project: Hole, dead: bool) -> None:
    starts = home.wire.starts()
    if dead:
        home.kill_server()
        until(lambda: nvim.lua("return #vim.lsp.get_clients()") == 0, "Neovim has noticed")
        nvim.command("messages clear")  # it says so, as it should
    nvim.command("PassLsp restart")
    until(lambda: home.wire.starts() == starts + 1, "a new server")
    until(home.wire.ready, "the model is loaded again")
    assert fill(nvim, home, project)


def test_toggle_silences_it(nvim: Nvim, home: Home, project: Hole) -> None:
    nvim.command("PassLsp toggle")
    until(lambda: nvim.lua("return require('pass_lsp').statusline()") == "pass off", "off in the status line")
    nvim.keys(f"{project.line + 1}GA<Space>")
    until(lambda: home.wire.answers("textDocument/inlineCompletion"), "a request")
    assert nvim.ghost() is None
    starts = home.wire.starts()
    nvim.keys("<Esc>:PassLsp restart<CR>")
    until(lambda: home.wire.starts() > starts and home.wire.messages("server", "didChangeStatus"), "a new server")
    until(lambda: nvim.lua("return require('pass_lsp').statusline()") == "pass off", "which is off too")
    nvim.keys(":PassLsp toggle<CR>")
    until(lambda: nvim.lua("return require('pass_lsp').statusline()") != "pass off", "on again")
    until(home.wire.ready, "the model is loaded")
    nvim.keys("A<BS><Space>")
    assert nvim.wait_for_ghost()


def test_status_says_what_the_server_says(nvim: Nvim) -> None:
    nvim.command("PassLsp status")
    until(lambda: "pass-lsp: Ready." in nvim.messages(), "a message")


def test_its_words_are_completed_and_others_explained(nvim: Nvim) -> None:
    assert nvim.call("exec_lua", "return vim.fn.getcompletion('PassLsp ', 'cmdline')", []) == [
        "restart",
        "stats",
        "status",
        "toggle",
    ]
    nvim.keys(":PassLsp tidy<CR>")
    until(lambda: 'unknown command "tidy"; use restart, stats, status, toggle.' in nvim.messages(), "an explanation")


def test_a_status_line_hears_of_changes(nvim: Nvim, home: Home, project: Hole) -> None:
    nvim.lua("""heard = {}
    vim.api.nvim_create_autocmd('User', { pattern = 'PassLspStatus', callback = function(event)
      table.insert(heard, event.data.message)
    end })""")
    nvim.keys("gg0i<Space><BS>")  # before everything: nothing belongs there
    until(lambda: any(said.startswith("No suggestion. ") for said in nvim.lua("return heard")), "the reason")
    assert nvim.lua("return require('pass_lsp').status().reason") in {reason.value for reason in Reason}
    assert nvim.lua("return require('pass_lsp').statusline()") == "pass ✓"


def test_checkhealth_finds_nothing_wrong(nvim: Nvim) -> None:
    nvim.command("checkhealth pass_lsp")
    report = nvim.text()
    assert "ERROR" not in report, report
    assert "Running, 1 buffers" in report, report
    assert "pass-lsp: doctor" in report and "model" in report, report


@pytest.fixture
def without(version: str, tmp_path: Path) -> Iterator[Nvim]:
    """A Neovim whose server is a program that there is not."""
    init = setup_in_readme("lua", "**Neovim**") + "\nvim.lsp.config('pass_lsp', { cmd = { 'no-such-program' } })"
    nvim = Nvim(need(f"bin/{version}"), make_home(tmp_path), init)
    yield nvim
    nvim.close()


def test_a_missing_program_is_named_with_its_remedy(without: Nvim) -> None:
    without.command("checkhealth pass_lsp")
    assert "`no-such-program` cannot be run." in without.text()
    assert "pipx install pass-lsp" in without.text()


def test_checkhealth_runs_where_neovim_does_not_tell_what_is_enabled(without: Nvim) -> None:
    without.lua("vim.lsp.is_enabled = nil")
    without.command("checkhealth pass_lsp")
    assert "The server is not running" in without.text() and "Failed to run" not in without.text()


def test_no_command_stumbles_over_a_missing_program(without: Nvim) -> None:
    remedy = "`no-such-program` cannot be run. Install it with `pipx"
    for command, said in {"stats": remedy, "restart": remedy, "status": "not running", "toggle": "not running"}.items():
        without.command("messages clear")
        without.command(f"PassLsp {command}")
        until(lambda said=said: said in without.messages(), f"what is wrong with {command}")
        assert "stack traceback" not in without.messages()
    without.lua("vim.lsp.config('pass_lsp', { cmd = function() end })")
    without.command("PassLsp stats")
    until(lambda: "a function of yours. Run `pass-lsp stats` in a terminal." in without.messages(), "the remedy")


def test_settings_reach_the_server_before_its_model(version: str, tmp_path: Path, project: Hole) -> None:
    home = make_home(tmp_path)
    values = {"strategy": "autoregressive", "disabled_languages": ["lua"]}
    settings = f"{{ settings = {{ ['pass-lsp'] = vim.json.decode({json.dumps(json.dumps(values))}) }} }}"
    init = f"vim.lsp.config('pass_lsp', {settings})\n" + setup_in_readme("lua", "**Neovim**")
    nvim = Nvim(need(f"bin/{version}"), home, init)
    try:
        nvim.command(f"edit {project.path}")
        [initialize] = until(told(home, "initialize"), "the server starts")
        assert initialize["params"]["initializationOptions"] == {"pass-lsp": values}
        until(home.wire.ready, "the model is loaded")
        assert home.wire.complaints() == []
    finally:
        nvim.close()


@pytest.mark.parametrize(
    ("rest", "part", "taken"),
    [
        ("return a + b", "word", "return"),
        (" a + b", "word", " a"),
        (" += 1", "word", " +="),
        ("\n    größe = 1", "word", "\n    größe"),
        ("日本(x)", "word", "日本"),
        ("   ", "word", "   "),
        ("one\ntwo", "line", "one"),
        ("\n  two\nthree", "line", "\n  two"),
        ("\n\n  three\n", "line", "\n\n  three"),
        ("one\ntwo", "all", "one\ntwo"),
    ],
)
def test_a_word_and_a_line_end_where_a_user_expects(started: Nvim, rest: str, part: str, taken: str) -> None:
    assert started.lua("return require('pass_lsp.text').part(...)", rest, part) == taken


@pytest.mark.parametrize(
    ("line", "column", "rest"),
    [
        ("  ", 2, "foo(x)"),  # as it was answered
        ("  fo", 4, "o(x)"),  # typed along
        ("  foo()", 6, "x)"),  # a bracket was closed by itself
        ("  bar", 5, None),  # something else was typed
        ("  fo # note", 4, None),  # what stood behind is another
        (" ", 1, None),  # gone back beyond its beginning
    ],
)
def test_what_is_left_of_a_suggestion(started: Nvim, line: str, column: int, rest: str | None) -> None:
    offer = {"text": "foo(x)", "row": 0, "first": 2, "tail": ""}
    assert started.lua("return (require('pass_lsp.text').rest(...))", offer, line, column) == rest


def test_the_help_has_its_tags(started: Nvim, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "editors" / "nvim", tmp_path / "editors" / "nvim")
    [said] = re.findall(r"`:(helptags [^`]*)`", (ROOT / "README.md").read_text("utf-8"))
    started.command(said.replace("~/pass-lsp", str(tmp_path)))
    started.lua("vim.opt.runtimepath:append(...)", str(tmp_path / "editors" / "nvim"))
    for tag in ("pass_lsp", ":PassLsp", "pass_lsp.accept()", "pass_lsp.multi_line_tokens"):
        started.command(f"help {tag}")
    started.lua("vim.opt.runtimepath:remove(...)", str(tmp_path / "editors" / "nvim"))


def test_stats_shows_what_the_ledger_holds(nvim: Nvim) -> None:
    nvim.command("PassLsp stats")
    windows = """return vim.iter(vim.api.nvim_list_wins()):filter(function(window)
      return vim.api.nvim_win_get_config(window).relative ~= ''  -- the file may hold these words, too
    end):map(function(window)
      return table.concat(vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(window), 0, -1, false), '\\n')
    end):join('\\n')"""
    until(lambda: "Nothing is recorded" in (seen := nvim.lua(windows)) or "accepted" in seen, "the figures")
