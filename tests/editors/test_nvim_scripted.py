"""The plugin in Neovim before a server that says what the test wants, so that no model's mood decides anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.editors.conftest import Home, make_home, need, setup_in_readme, until
from tests.editors.nvim import SPACES, Nvim

INLINE = "textDocument/inlineCompletion"
SERVER = Path(__file__).with_name("scripted.lua")
pytestmark = pytest.mark.timeout(600)
own_ghost = pytest.mark.parametrize("version", ["nvim-0.11"], indirect=True, scope="module")
"""What Neovim does by itself from 0.12 on."""
native_ghost = pytest.mark.parametrize("version", ["nvim-0.12"], indirect=True, scope="module")


@pytest.fixture(scope="module", params=SPACES)
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def home(version: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp(version))


@pytest.fixture(scope="module")
def started(version: str, home: Home) -> Iterator[Nvim]:
    """One Neovim for all tests of a version."""
    script = f"dofile('{SERVER}')\n" + setup_in_readme("lua", "**Neovim**")
    maps = ["('i', '<C-l>', '<Plug>(pass-lsp-accept-line)')", "('i', '<C-n>', '<Plug>(pass-lsp-next)')"]
    nvim = Nvim(need(f"bin/{version}"), home, script + "\n".join(f"vim.keymap.set{each}" for each in maps))
    yield nvim
    nvim.close()


@pytest.fixture
def nvim(started: Nvim) -> Iterator[Nvim]:
    """It, with nothing open; at the end it must not have complained."""
    started.keys("<Esc>")
    started.command("silent! %bwipeout! | messages clear")
    started.lua("sent, answer = {}, function() return {} end")
    yield started
    assert "rror" not in started.messages()


def edit(nvim: Nvim, path: Path, text: str) -> None:
    """Open a file with `text`; the server is attached."""
    path.write_bytes(text.encode())
    nvim.command(f"edit {path}")
    until(lambda: nvim.lua("return require('pass_lsp').client() ~= nil"), "the server is attached")


def came(nvim: Nvim, method: str) -> list[Any]:
    """What the server was sent by one method."""
    return [message["params"] for message in nvim.lua("return came(...)", method)]


def silence(nvim: Nvim) -> None:
    """Nothing is answered from now on."""
    nvim.lua("answer = function() end")


@own_ghost
def test_a_key_is_one_request(nvim: Nvim, tmp_path: Path) -> None:
    edit(nvim, tmp_path / "a.py", "\n")
    nvim.keys("ix")
    last = {"line": 0, "character": 1}
    until(lambda: [each["position"] for each in came(nvim, INLINE)][-1:] == [last], "a request behind it")
    nvim.keys("y")
    until(lambda: came(nvim, INLINE)[-1]["position"]["character"] == 2, "another")
    assert [each["position"]["character"] for each in came(nvim, INLINE)] == [0, 1, 2]


@own_ghost
def test_what_replaces_a_bracket_still_does_after_a_line_of_it_was_taken(nvim: Nvim, tmp_path: Path) -> None:
    nvim.lua("offer('\\n  a,\\n)', 1)")
    edit(nvim, tmp_path / "a.py", "call()\n")
    nvim.keys("A<Left>")
    nvim.wait_for_ghost()
    silence(nvim)
    nvim.keys("<C-l>")
    until(lambda: nvim.text() == "call(\n  a,)", "a line is in")
    nvim.keys("<Tab>")
    until(lambda: nvim.text() == "call(\n  a,\n)", "the bracket is closed once")


def test_a_bracket_is_closed_once_after_typing_along(nvim: Nvim, tmp_path: Path) -> None:
    nvim.lua("offer('a, b)', 1)")
    edit(nvim, tmp_path / "a.py", "call()\n")
    nvim.keys("A<Left>")
    nvim.wait_for_ghost()
    silence(nvim)
    nvim.keys("a<Tab>")
    until(lambda: nvim.text() == "call(a, b)", "the bracket is closed once")


def test_in_a_file_with_crlf_an_answer_has_the_lines_of_a_buffer(nvim: Nvim, version: str, tmp_path: Path) -> None:
    nvim.lua("offer('a = 1\\r\\n    b = 2')")
    path = tmp_path / "a.py"
    edit(nvim, path, "def f():\r\n    \r\n    return\r\n")
    nvim.keys("jA")
    assert nvim.wait_for_ghost() == "a = 1\n    b = 2"
    nvim.keys("<Tab>")
    until(lambda: "b = 2" in nvim.text(), "the text is in")
    nvim.keys("<Esc>:write<CR>")
    saved = b"def f():\r\n    a = 1\r\n    b = 2\r\n    return\r\n"
    until(lambda: path.read_bytes() == saved, "the file has no other ends")


@own_ghost
def test_a_part_is_told_in_the_units_of_the_answer(nvim: Nvim, tmp_path: Path) -> None:
    edit(nvim, tmp_path / "a.py", "def f():\r\n    \r\n")
    nvim.lua("offer('a = 1\\r\\n    größe = 2\\r\\n    c = 3')")
    nvim.keys("jA")
    nvim.wait_for_ghost()
    told = "textDocument/didPartiallyAcceptCompletion"
    for lines, length in enumerate((5, 5 + 2 + 13), 1):
        nvim.keys("<C-l>")
        until(lambda lines=lines: len(came(nvim, told)) == lines, "a line is told")
        assert came(nvim, told)[-1]["acceptedLength"] == length


def test_a_line_end_that_is_taken_counts_as_it_was_answered(nvim: Nvim, version: str, tmp_path: Path) -> None:
    edit(nvim, tmp_path / "a.py", "def f():\r\n    pass\r\n")
    nvim.lua("offer('\\r\\n    größe = 2\\r\\n    c = 3')")
    nvim.keys("jA")
    nvim.wait_for_ghost()
    nvim.keys("<C-l>")
    told = "textDocument/didPartiallyAcceptCompletion"
    until(lambda: came(nvim, told), "a line is told")
    assert came(nvim, told)[0]["acceptedLength"] == 2 + 13
    assert "größe = 2" in nvim.text() and "c = 3" not in nvim.text()


def test_the_server_counts_for_itself_where_neovim_draws(nvim: Nvim, version: str, tmp_path: Path) -> None:
    """It stops counting what stands for a while at the first `didShowCompletion`."""
    nvim.lua("answer = function(params) return { item(params, 'one'), item(params, 'two') } end")
    edit(nvim, tmp_path / "a.py", "\n")
    nvim.keys("i")
    nvim.wait_for_ghost()
    nvim.keys("<C-n>")
    until(lambda: nvim.ghost("pass_lsp") == "two (2/2)", "the second is shown")
    told = [params["item"]["insertText"] for params in came(nvim, "textDocument/didShowCompletion")]
    assert told == (["one", "two"] if version == "nvim-0.11" else [])


@native_ghost
def test_an_alternative_stands_alone_until_it_is_taken(nvim: Nvim, tmp_path: Path) -> None:
    nvim.lua("answer = function(params) return { item(params, 'one'), item(params, 'two') } end")
    edit(nvim, tmp_path / "a.py", "\n")
    nvim.keys("i")
    nvim.wait_for_ghost()
    nvim.keys("<C-n>")
    until(lambda: nvim.ghost("pass_lsp") == "two (2/2)", "the second is shown")
    asked = len(came(nvim, INLINE))
    nvim.keys("t")
    until(lambda: nvim.ghost("pass_lsp") == "wo (2/2)", "it is typed along")
    enabled = "return vim.lsp.inline_completion.is_enabled({ bufnr = 0 })"
    assert nvim.ghost() is None and not nvim.lua(enabled)
    nvim.keys("<Tab>")
    until(lambda: nvim.line() == "two" and nvim.lua(enabled), "it is taken, and Neovim goes on")
    nvim.lua("offer('!')")
    nvim.keys("x")
    until(lambda: nvim.ghost() == "!", "Neovim's own is shown again")
    assert len(came(nvim, INLINE)) == asked + 1


def test_a_server_that_is_gone_takes_its_suggestion_along(nvim: Nvim, tmp_path: Path) -> None:
    nvim.lua("offer('one')")
    edit(nvim, tmp_path / "a.py", "\n")
    nvim.keys("i")
    nvim.wait_for_ghost()
    nvim.lua("require('pass_lsp').client():stop(true)")
    until(lambda: nvim.ghost() is None, "it is gone")
    asked = len(came(nvim, INLINE))
    nvim.keys("xy")
    until(lambda: nvim.line() == "xy", "the keys are in")
    assert len(came(nvim, INLINE)) == asked


def test_alternatives_are_not_asked_for_in_a_buffer_that_was_left_or_wiped(nvim: Nvim, tmp_path: Path) -> None:
    for leave in ("enew!", "bwipeout!"):
        edit(nvim, tmp_path / "a.py", "\n")
        nvim.lua("left = false; require('pass_lsp').cycle(1); vim.cmd(...)", leave)
        nvim.lua("vim.schedule(function() left = true end)")
        until(lambda: nvim.lua("return left"), f"what was scheduled before {leave} is done")
    assert not came(nvim, INLINE) and "Invalid buffer" not in nvim.messages()


def test_a_buffer_that_gets_its_name_keeps_its_suggestions(nvim: Nvim, tmp_path: Path) -> None:
    nvim.lua("offer('one')")
    path = tmp_path / "a.py"
    nvim.command(f"cd {tmp_path}")  # outside of any root, as the files of the other tests
    for end in (f"write {path}", "bwipeout!"):
        nvim.command("enew | set filetype=python")
        until(lambda: nvim.lua("return require('pass_lsp').client() ~= nil"), "the server is attached")
        nvim.command(end)
        if end.startswith("write"):
            until(lambda: came(nvim, "textDocument/didOpen")[-1]["textDocument"]["uri"] == path.as_uri(), "its name")
            nvim.lua("attached = false; vim.schedule(function() attached = true end)")
            until(lambda: nvim.lua("return attached"), "what Neovim schedules for that is done")
            nvim.keys("ix")
            assert nvim.wait_for_ghost() == "one"
            assert came(nvim, INLINE)[-1]["textDocument"]["uri"] == path.as_uri()
            nvim.keys("<Esc>")
    assert [each["textDocument"]["uri"] for each in came(nvim, "textDocument/didClose")][:1] == ["file://"]
    assert "not attached" not in nvim.messages()
    nvim.command("cd -")


def test_tab_still_jumps_in_a_snippet(nvim: Nvim, tmp_path: Path) -> None:
    edit(nvim, tmp_path / "a.py", "\n")
    nvim.keys("i")
    until(lambda: nvim.call("get_mode")["mode"] == "i", "Insert mode")
    nvim.lua("vim.snippet.expand('f(${1:a}, ${2:b})')")
    nvim.keys("x<Tab>y")
    until(lambda: nvim.line().startswith("f(x, y"), "the second place is reached")
    nvim.lua("vim.snippet.stop()")


def test_a_status_line_is_drawn_anew_for_a_status(nvim: Nvim, tmp_path: Path) -> None:
    nvim.lua("drawn = {} function draw() table.insert(drawn, require('pass_lsp').statusline()) return '' end")
    nvim.lua("vim.o.laststatus, vim.o.statusline = 2, '%{v:lua.draw()}'")
    edit(nvim, tmp_path / "a.py", "\n")
    for busy, word in {True: "pass …", False: "pass ✓"}.items():
        nvim.lua("tell('didChangeStatus', { busy = ..., kind = 'Normal', message = '', reason = '' })", busy)
        until(lambda word=word: nvim.lua("return drawn[#drawn]") == word, f"{word} is drawn")
    nvim.command("set statusline&")


@pytest.fixture
def fresh(version: str, tmp_path: Path) -> Iterator[Nvim]:
    """A Neovim of its own whose user has set nothing, and whose server has been told all."""
    script = f"dofile('{SERVER}')\nvim.lsp.config('pass_lsp', {{ settings = {{ ['pass-lsp'] = {{}} }} }})\n"
    nvim = Nvim(need(f"bin/{version}"), make_home(tmp_path), script + setup_in_readme("lua", "**Neovim**"))
    edit(nvim, tmp_path / "a.py", "\n")
    until(lambda: came(nvim, "workspace/didChangeConfiguration"), "all is said")
    yield nvim
    nvim.close()


def test_empty_settings_go_out_as_an_object(fresh: Nvim) -> None:
    assert came(fresh, "initialize")[0]["initializationOptions"] == {"pass-lsp": {}}
    assert [each["settings"] for each in came(fresh, "workspace/didChangeConfiguration")] == [{"pass-lsp": {}}]


def test_the_server_is_told_that_suggestions_are_drawn(fresh: Nvim) -> None:
    """Or it has them for menus, too, whose requests then take the place of ours."""
    can = came(fresh, "initialize")[0]["capabilities"]["textDocument"]
    assert can["inlineCompletion"] == {"dynamicRegistration": False}


@pytest.fixture
def other(version: str, tmp_path: Path) -> Iterator[Nvim]:
    """A Neovim of its own, in which a test may choose the program."""
    nvim = Nvim(need(f"bin/{version}"), make_home(tmp_path), setup_in_readme("lua", "**Neovim**"))
    yield nvim
    nvim.close()


def choose(nvim: Nvim, *cmd: str) -> None:
    nvim.lua("vim.lsp.config('pass_lsp', { cmd = ... })", cmd)


def test_a_program_that_does_not_start_is_named_with_its_remedy(other: Nvim, tmp_path: Path) -> None:
    broken = tmp_path / "pass-lsp"
    broken.write_text("#!/no/such/python\n")
    broken.chmod(0o755)
    choose(other, str(broken), "serve")
    said = f"`{broken}` cannot be run: ENOENT: no such file or directory."
    other.command("PassLsp stats")
    until(lambda: f"{said} Install it anew" in other.messages(), "an explanation")
    other.command("checkhealth pass_lsp")
    assert said in other.text() and "Install it anew" in other.text() and "Exception" not in other.text()


def test_the_doctor_is_asked_in_the_words_that_start_the_server(other: Nvim, tmp_path: Path) -> None:
    log, program = tmp_path / "asked", tmp_path / "runner"
    program.write_text(f'#!/bin/sh\necho "$*" >> {log}\n[ "$3" = --version ] && echo pass-lsp 9\nexit 0\n')
    program.chmod(0o755)
    choose(other, str(program), "-m", "pass_lsp", "serve", "--stdio")
    settings = {"model": "org/name", "trust_remote_code": True, "engine": "http://box"}
    for given in (settings, {"model": "embedded", "trust_remote_code": False, "engine": ""}):
        other.lua("vim.lsp.config('pass_lsp', { settings = { ['pass-lsp'] = ... } })", given)
        other.command("checkhealth pass_lsp")
    asked = [line for line in log.read_text().splitlines() if "--version" not in line]
    assert asked == [
        "-m pass_lsp doctor --json --model org/name --trust-remote-code --engine http://box",
        # What is set to nothing stands over a file, for the server too.
        "-m pass_lsp doctor --json --model embedded --no-trust-remote-code --engine ",
    ]
