"""One source of settings: what `config.py` has, VS Code's `package.json` and the Neovim help have too."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields
from typing import Any

import pytest

from pass_lsp.cli.doctor import doctor
from pass_lsp.config import MOST, MOST_OF_ANY, OF_THE_ENGINE, USER_ONLY, Settings
from pass_lsp.domain import STRATEGIES
from pass_lsp.engines.remote.adapters import ADAPTERS
from tests.editors.conftest import ROOT

MANIFEST = json.loads((ROOT / "editors" / "vscode" / "package.json").read_text("utf-8"))
PROPERTIES: dict[str, dict[str, Any]] = MANIFEST["contributes"]["configuration"]["properties"]
OF_THE_CLIENT = {"pass-lsp.path", "pass-lsp.trace.server"}
TYPES = {str: "string", bool: "boolean", int: "integer", tuple: "array"}
NAMES = [field.name for field in fields(Settings)]


def default_of(name: str) -> Any:
    """The default, as JSON has it."""
    value = getattr(Settings(), name)
    return list(value) if isinstance(value, tuple) else value


def in_lua(value: Any) -> str:
    """A value as the help writes it."""
    if isinstance(value, list):
        return "{ " + ", ".join(f"'{each}'" for each in value) + " }" if value else "{}"
    return json.dumps(value).replace('"', "'")


def test_vs_code_has_the_same_keys_in_the_same_order() -> None:
    ours = [key for key in PROPERTIES if key not in OF_THE_CLIENT]
    assert ours == [f"pass-lsp.{name}" for name in NAMES]
    assert set(PROPERTIES) > OF_THE_CLIENT


@pytest.mark.parametrize("name", NAMES)
def test_vs_code_has_the_same_type_default_and_scope(name: str) -> None:
    declared = PROPERTIES[f"pass-lsp.{name}"]
    assert declared["type"] == TYPES[type(getattr(Settings(), name))]
    assert declared["default"] == default_of(name)
    bounds = (0, MOST.get(name, MOST_OF_ANY)) if declared["type"] == "integer" else (None, None)
    assert (declared.get("minimum"), declared.get("maximum")) == bounds
    # A workspace's settings.json comes with a cloned repository, as `.pass-lsp.toml` does.
    assert declared["scope"] == ("machine" if name in USER_ONLY else "window")
    assert declared["markdownDescription"].endswith(".")


def test_what_a_workspace_may_not_choose_is_restricted_until_it_is_trusted() -> None:
    capability = MANIFEST["capabilities"]["untrustedWorkspaces"]
    assert capability["supported"] == "limited"
    assert set(capability["restrictedConfigurations"]) == {"pass-lsp.path", *(f"pass-lsp.{key}" for key in USER_ONLY)}
    assert PROPERTIES["pass-lsp.path"]["scope"] == "machine"


def test_vs_code_offers_the_strategies_and_kinds_of_engines_there_are() -> None:
    assert sorted(PROPERTIES["pass-lsp.strategy"]["enum"]) == sorted(STRATEGIES)
    assert sorted(PROPERTIES["pass-lsp.engine_kind"]["enum"]) == sorted(["auto", *ADAPTERS])


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_vs_code_takes_every_device(name: str) -> None:
    declared = PROPERTIES["pass-lsp.device"]
    assert "enum" not in declared and re.search(declared["pattern"], name)
    assert not re.search(declared["pattern"], f"{name}x")


def test_vs_code_restarts_the_server_for_the_settings_of_the_engine() -> None:
    source = (ROOT / "editors" / "vscode" / "src" / "settings.ts").read_text("utf-8")
    listed = re.search(r"OF_THE_ENGINE = \[(.*?)\]", source, re.DOTALL)
    assert listed and set(re.findall(r"'(\w+)'", listed[1])) == OF_THE_ENGINE


def test_both_clients_let_the_doctor_examine_the_engine_that_is_set() -> None:
    source = (ROOT / "editors" / "nvim" / "lua" / "pass_lsp" / "health.lua").read_text("utf-8")
    listed = re.search(r"OF_THE_ENGINE =\s*\{(.*?)\}", source, re.DOTALL)
    assert listed and set(re.findall(r"'(\w+)'", listed[1])) == OF_THE_ENGINE
    assert set(inspect.signature(doctor).parameters) >= OF_THE_ENGINE


def test_the_pages_say_what_a_workspace_file_cannot_set() -> None:
    """By number, as the table and the list begin with those."""
    assert set(NAMES[: len(OF_THE_ENGINE)]) == OF_THE_ENGINE
    numbers = {8: "eight"}
    assert {"ledger"} == USER_ONLY - OF_THE_ENGINE
    for page in ("README.md", "editors/nvim/doc/pass_lsp.txt"):
        assert f"the first {numbers[len(OF_THE_ENGINE)]}" in " ".join((ROOT / page).read_text("utf-8").split())


def test_the_help_of_neovim_has_the_same_keys_defaults_and_words() -> None:
    text = (ROOT / "editors" / "nvim" / "doc" / "pass_lsp.txt").read_text("utf-8")
    listed = re.findall(r"^(\w+)  \(default `(.*)`\).*\n((?:    .+\n)+)", text, re.MULTILINE)
    assert [name for name, _, _ in listed] == NAMES
    for name, default, words in listed:
        assert default == in_lua(default_of(name)), name
        assert " ".join(words.split()) == PROPERTIES[f"pass-lsp.{name}"]["markdownDescription"], name
        assert f"*pass_lsp.{name}*" in text


def test_the_readme_lists_every_key() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    table = text[text.index("## Settings") :].split("\n## ")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(NAMES)
