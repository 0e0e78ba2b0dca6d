"""Which place wins, and what is said about values that cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pass_lsp.config import Settings
from pass_lsp.server.settings import Layers, needs_restart, pushed, section
from tests.server.conftest import Start
from tests.server.rawlsp import RawClient


def layers(tmp_path: Path, user: str = "", workspace: str = "", command_line: Settings | None = None) -> Layers:
    (tmp_path / "config.toml").write_text(user)
    root = tmp_path / "root"
    root.mkdir()
    (root / ".pass-lsp.toml").write_text(workspace)
    made = Layers.of(command_line or Settings())
    made.read_files([root], tmp_path / "config.toml")
    return made


def test_the_command_line_wins_over_client_over_workspace_over_user(tmp_path: Path) -> None:
    made = layers(
        tmp_path,
        "prompt_tokens = 1\nsingle-line-tokens = 1\nmultiLineTokens = 1\ndeadline_ms = 1\n",
        "[pass-lsp]\nsingle_line_tokens = 2\nmulti_line_tokens = 2\ndeadline_ms = 2\n",
        Settings(deadline_ms=4),
    )
    made.client = {"multiLineTokens": 3, "deadlineMs": 3}
    found = made.resolved(tmp_path / "root")
    assert (found.prompt_tokens, found.single_line_tokens, found.multi_line_tokens, found.deadline_ms) == (1, 2, 3, 4)
    assert made.complaints == []


def test_the_command_line_may_pin_a_default() -> None:
    made = Layers.of(Settings(), pinned=["device"])
    made.client = {"device": "cuda", "dtype": "int8"}
    assert (made.resolved().device, made.resolved().dtype) == ("auto", "int8")


@pytest.mark.parametrize(
    ("command_line", "engine"),
    [({"model": "m"}, ""), ({"model": "m", "engine": "http://b"}, "http://b"), ({"engine": ""}, ""), ({}, "http://a")],
)
def test_a_model_of_the_command_line_stands_over_an_engine_of_the_file(
    tmp_path: Path, command_line: dict[str, Any], engine: str
) -> None:
    made = layers(tmp_path, 'engine = "http://a"')
    made.command_line = command_line
    assert made.resolved().engine == engine
    made.client = {"engine": "http://c"}  # not over what the client says, for which it may be the name there
    assert made.resolved().engine == command_line.get("engine", "http://c")
    made.client, made.user = {}, {"engine": "shared"}  # which loads that model
    assert made.resolved().engine == command_line.get("engine", "shared")


def test_a_workspace_cannot_choose_what_runs(tmp_path: Path) -> None:
    workspace = 'model = "evil"\nengine = "http://evil"\ntrust_remote_code = true\nlookahead = "x"\ndeadline_ms = 9'
    made = layers(tmp_path, 'model = "mine"', workspace)
    assert made.resolved(tmp_path / "root") == Settings(model="mine", deadline_ms=9)
    assert len(made.complaints) == 4


@pytest.mark.parametrize("engine", ["", "shared"])
@pytest.mark.parametrize("name", ["acme/coder", "./acme/coder", "acme"])
@pytest.mark.parametrize("place", ["user", "client"])
def test_a_folder_of_where_the_server_runs_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str, engine: str
) -> None:
    (tmp_path / "clone" / "acme" / "coder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "clone")
    wanted = {"model": name, "lookahead": name, "engine": engine}
    made = layers(tmp_path, "".join(f"{key} = {json.dumps(value)}\n" for key, value in wanted.items()))
    if place == "client":
        made.user, made.client = {}, wanted
    assert made.resolved() == Settings(engine=engine)
    assert made.resolved() == Settings(engine=engine) and len(made.complaints) == 2
    assert "'model'" in made.complaints[0] and "whole path" in made.complaints[0]


@pytest.mark.parametrize("engine", ["", "shared"])
@pytest.mark.parametrize("name", ["acme/coder", "acme"])
def test_what_an_editor_gives_the_command_is_no_folder_of_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, engine: str
) -> None:
    (tmp_path / "clone" / "acme" / "coder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "clone")
    given = Settings(model=name, trust_remote_code=True, engine=engine)
    made = layers(tmp_path, command_line=given)
    assert made.resolved().model == "embedded"
    assert len(made.complaints) == 1 and "whole path" in made.complaints[0]


def test_other_names_of_models_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("embedded", "auto", "none", "mine"):
        (tmp_path / "clone" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "clone")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    made = layers(tmp_path, 'model = "acme/coder"\nlookahead = "~/artifact"')
    assert made.resolved() == Settings(model="acme/coder", lookahead=str(tmp_path / "artifact"))
    made.client = {"model": str(tmp_path / "clone"), "lookahead": "none"}
    assert made.resolved() == Settings(model=str(tmp_path / "clone"), lookahead="none")
    made.client = {"model": "embedded", "lookahead": "auto"}
    assert made.resolved() == Settings()
    made.client = {"model": "mine", "engine": "http://localhost:1"}  # a name that the server there knows
    assert made.resolved().model == "mine"
    made.client = {}
    made.command_line = {"model": "./mine", "lookahead": "./mine"}
    assert made.resolved() == Settings(model="./mine", lookahead="./mine")
    typed = Layers({"model": "mine", "lookahead": "./mine"})
    assert typed.resolved() == Settings(model="mine", lookahead="./mine") and typed.complaints == []
    made.command_line = {"model": "~/artifact"}  # as `--model=~/artifact` leaves a shell, and settings an editor
    assert made.resolved().model == str(tmp_path / "artifact")
    assert made.complaints == []


@pytest.mark.parametrize("content", ["x = ", "\x00", "[" * 5000, "a = 1\na = 2", "#" * (1 << 21)])
def test_a_broken_file_is_named_and_ignored(tmp_path: Path, content: str) -> None:
    made = layers(tmp_path, content)
    assert made.resolved() == Settings()
    assert len(made.complaints) == 1 and "config.toml" in made.complaints[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a." * 30_000 + "a = 1", "a line of it has more than 64 dots"),
        ("deadline_ms = 1\r\n[" + ".".join("a" * 66) + "]\r\n", "a line of it has more than 64 dots"),
        ("# ...\n" * 20_000, "it is larger than 64 KiB"),
    ],
)
@pytest.mark.timeout(20)
def test_a_file_that_would_take_long_is_ignored(tmp_path: Path, content: str, why: str) -> None:
    made = layers(tmp_path, content)
    assert made.resolved() == Settings()
    assert made.complaints == [f"The settings file {tmp_path / 'config.toml'} is ignored: {why}."]


def test_dots_in_a_remark_and_in_some_names_are_taken(tmp_path: Path) -> None:
    made = layers(tmp_path, f"# {'.' * 80}\n  # {'.' * 80}\ndeadline_ms = 1\nmodel = 'a{'.' * 60}'\n")
    assert made.resolved().deadline_ms == 1 and made.complaints == []


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and devices that have names")
@pytest.mark.timeout(20)
def test_what_is_no_file_says_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".pass-lsp.toml")
    (tmp_path / "config.toml").symlink_to("/dev/zero")
    made = Layers.of(Settings())
    made.read_files([tmp_path], tmp_path / "config.toml")
    assert made.resolved(tmp_path) == Settings() and made.complaints == []


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="needs a file that says it is empty, and is not")
def test_a_file_that_does_not_say_how_long_it_is_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "config.toml").symlink_to("/proc/self/pagemap")
    made = Layers.of(Settings())
    made.read_files([], tmp_path / "config.toml")
    assert len(made.complaints) == 1 and "64 KiB" in made.complaints[0]


@pytest.mark.skipif(os.name == "nt", reason="needs users who are looked up")
@pytest.mark.parametrize("name", ["~\0x/y", "~\ud800/y"])
def test_a_name_that_no_path_can_be_is_refused(tmp_path: Path, name: str) -> None:
    made = layers(tmp_path)
    made.client = {"model": name, "deadline_ms": 1}
    assert made.resolved() == Settings(deadline_ms=1)
    assert made.complaints == [f"Setting 'model' is {name!r}, which no path can be; the default is kept."]


def test_missing_files_folders_in_their_place_and_bad_bytes(tmp_path: Path) -> None:
    made = Layers.of(Settings())
    made.read_files([], tmp_path / "nowhere" / "config.toml")
    (tmp_path / ".pass-lsp.toml").mkdir()
    made.read_files([tmp_path], tmp_path / "config.toml")
    assert made.complaints == []
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    made.read_files([tmp_path], tmp_path / "config.toml")
    assert len(made.complaints) == 1
    (tmp_path / "folder" / "config.toml").mkdir(parents=True)
    made.read_files([], tmp_path / "folder" / "config.toml")
    assert made.complaints[1].endswith("config.toml is ignored: it is a folder.")


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ({"pass-lsp": {"model": "m"}}, {"model": "m"}),
        ({"pass-lsp": {"trace": {"server": "off"}, "model": "m"}}, {"model": "m"}),
        ({"model": "m"}, {"model": "m"}),
        ({"pass-lsp": None}, {}),
        ({"pass-lsp": 3}, {"pass-lsp": 3}),  # of which the user is told
        (None, {}),
        ([1], {}),
        ("x", {}),
    ],
)
def test_a_section_may_be_named_or_bare(sent: Any, taken: Any) -> None:
    assert section(sent) == taken


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ({"pylsp": {"plugins": {}}}, {}),
        ({"pylsp": {"plugins": {}}, "pass-lsp": {"model": "m"}}, {"model": "m"}),
        ({"pylsp": {"plugins": {}}, "model": "m"}, {"model": "m"}),
        ({"pass_lsp": {"model": "m"}}, {"pass_lsp": {"model": "m"}}),  # of which the user is told
    ],
)
def test_what_a_client_pushes_may_be_for_other_servers(sent: Any, taken: Any) -> None:
    assert pushed(sent) == taken


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    made = layers(tmp_path, "\ufeffdeadline_ms = 1", "\ufeffprompt_tokens = 2")
    assert made.resolved(tmp_path / "root") == Settings(deadline_ms=1, prompt_tokens=2)
    assert made.complaints == []


def test_what_stands_beside_a_table_of_our_name_in_a_file_is_taken(tmp_path: Path) -> None:
    made = layers(tmp_path, "deadline_ms = 1\nprompt_tokens = 2\n[pass-lsp]\nprompt_tokens = 3\n[other]\nkey = 1", "")
    assert made.resolved() == Settings(deadline_ms=1, prompt_tokens=3)
    [complaint] = made.complaints
    assert complaint.startswith("Unknown setting 'other'")


def test_languages_are_switched_off_by_any_of_their_names() -> None:
    made = Layers({})
    made.client = {"disabledLanguages": ["Python", "js", "bash", "text", "unheard-of"]}
    found = made.resolved()
    assert all(found.off_for(name) for name in ("python", "javascript", "shellscript", "", "unheard-of"))
    assert not any(found.off_for(name) for name in ("go", "typescript", "plaintext"))


def test_settings_that_need_a_restart() -> None:
    assert needs_restart(Settings(), Settings(deadline_ms=1, enabled=False)) == []
    assert needs_restart(Settings(), Settings(model="x", device="cuda")) == ["device", "model"]


def seen(client: RawClient) -> dict[str, Any]:
    return json.loads(client.complete()["items"][0]["insertText"])


def configure(client: RawClient, **settings: Any) -> None:
    client.notify("workspace/didChangeConfiguration", {"settings": {"pass-lsp": settings}})


def said(client: RawClient) -> list[str]:
    client.call("pass-lsp/status")  # whatever was to be said has been said
    return [note["message"] for note in client.noted("window/showMessage")]


def test_settings_live(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pass-lsp").mkdir()
    (tmp_path / "pass-lsp" / "config.toml").write_text("multi_line_tokens = 77\nprompt_tokens = 1")
    (tmp_path / ".pass-lsp.toml").write_text('model = "evil"\nprompt_tokens = 2')
    client = start("--tokens", "999")
    client.initialize(rootUri=tmp_path.as_uri(), initializationOptions={"model": "mine", "promptTokens": 3, "nope": 1})
    client.ready()
    client.open("x")
    assert {key: seen(client)[key] for key in ("lines", "tokens", "model")} == {
        "lines": 77,
        "tokens": 999,
        "model": "mine",
    }
    assert len(said(client)) == 2  # the workspace's model, the unknown key
    configure(client, multiLineTokens=88, enabled="yes")
    assert seen(client)["lines"] == 88 and len(said(client)) == 3
    configure(client, enabled="yes")
    client.notify("workspace/didChangeConfiguration", {"settings": {"pylsp": {"plugins": {}}}})
    assert len(said(client)) == 3
    configure(client, enabled=False)
    assert client.call("pass-lsp/status")["result"]["reason"] == "disabled"
    assert client.complete() == {"items": []}
    assert client.call("pass-lsp/status")["result"]["reason"] == "disabled"
    configure(client, enabled=True)
    assert client.call("pass-lsp/status")["result"]["message"] == "Ready."
    configure(client, disabledLanguages=["python"])
    assert client.complete() == {"items": []}
    assert client.noted("didChangeStatus")[-1]["kind"] == "Inactive"
    configure(client, disabledLanguages=[])
    assert client.call("pass-lsp/status")["result"]["message"] == "Ready."
    configure(client, disabledLanguages=["python"])
    client.open("x", language="lua")
    assert seen(client)["language"] == "lua"
    before = len(said(client))
    configure(client, device="cuda", model="other")
    assert [text for text in said(client)[before:] if "Restart" in text] == [
        "Restart the language server to use the new setting of device, model."
    ]
    client.close()


def test_a_strategy_that_the_model_does_not_bear_is_told_once_and_auto_is_used(start: Start) -> None:
    client = start()
    client.initialize(initializationOptions={"strategy": "pass"})
    client.open("x")
    client.ready()
    assert [seen(client)["strategy"] for _ in range(2)] == ["auto", "auto"]
    configure(client, multiLineTokens=88)
    assert seen(client)["strategy"] == "auto"
    assert [text.partition(",")[0] for text in said(client)] == ["The strategy 'pass' needs a look-ahead artifact"]
    configure(client, strategy="merged")
    assert seen(client)["strategy"] == "merged"
    client.close()
    client = start(FAKE_LOOKAHEAD="there")
    client.initialize(initializationOptions={"strategy": "pass"})
    client.ready()
    client.open("x")
    assert seen(client)["strategy"] == "pass" and said(client) == []
    client.close()


def test_a_server_that_is_switched_off_loads_nothing(start: Start) -> None:
    client = start(FAKE_LOAD="model-error")
    client.initialize(initializationOptions={"enabled": False})
    assert client.call("pass-lsp/status")["result"]["kind"] == "Inactive"
    configure(client, enabled=True)
    client.until(lambda: client.noted("didChangeStatus")[-1]["reason"] == "model-failed")
    client.close()
