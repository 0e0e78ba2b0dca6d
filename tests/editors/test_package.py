"""The clients by themselves: form, lint, types and units; the package from what the lock file names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile

import pytest

from tests.editors.conftest import PREFIX, ROOT, need

CLIENT = ROOT / "editors" / "vscode"
pytestmark = pytest.mark.timeout(600)


def npm(*arguments: str, **more: str) -> str:
    """Run npm in the extension's folder, with Node as installed by `make editors`."""
    need("tools/bin/node")
    need(str(CLIENT / "node_modules"))
    env = os.environ | {"PATH": f"{PREFIX / 'tools' / 'bin'}:{os.environ['PATH']}"} | more
    done = subprocess.run(["npm", *arguments], cwd=CLIENT, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_form_lint_and_types_of_both_clients() -> None:
    npm("run", "check")


def test_units_of_the_extension() -> None:
    assert "fail 0" in npm("test")


def test_the_package_is_made_offline_and_holds_what_it_needs() -> None:
    npm("run", "package", npm_config_offline="true")
    with zipfile.ZipFile(CLIENT / "pass-lsp.vsix") as package:
        names = {name.removeprefix("extension/").lower() for name in package.namelist()}
        notices = package.read("extension/ThirdPartyNotices.txt").decode()
        page = package.read("extension/readme.md").decode()
    assert {"dist/extension.js", "package.json", "license.txt", "readme.md", "icon.png", "screenshot.png"} <= names
    assert not [name for name in names if "node_modules" in name or "test" in name]
    for name in ("vscode-languageclient", "vscode-jsonrpc", "semver"):
        assert re.search(rf"^{name} [\d.]+\n\n(?:.+\n+){{0,6}}.*Copyright", notices, re.MULTILINE), name
    assert "Permission is hereby granted" in notices and "](../" not in page


def test_the_lock_file_records_no_download_addresses() -> None:
    packages = json.loads((CLIENT / "package-lock.json").read_text("utf-8"))["packages"]
    assert len(packages) > 50
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if name and "integrity" not in entry] == []


def test_every_function_of_the_plugin_says_the_types_of_its_parameters() -> None:
    files = sorted((ROOT / "editors" / "nvim" / "lua").rglob("*.lua"))
    written = re.compile(r"((?:^---.*\n)*)^(?:local )?function ([\w.]+)\(([^)]*)\)", re.MULTILINE)
    functions = [found for file in files for found in written.findall(file.read_text("utf-8"))]
    assert len(functions) > 30
    for words, name, parameters in functions:
        for parameter in re.findall(r"\w+", parameters):
            assert re.search(rf"^---@param {parameter}\??\s\S", words, re.MULTILINE), f"{name}: {parameter}"
