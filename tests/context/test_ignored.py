"""Ignore files say what they say to git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pass_lsp.context.ignored import LARGEST, NAMES, is_ignored

RULES = [
    # What cannot be a pattern is left out alone.
    ({"": "build\\\nlocal.py\n"}, {"local.py": True, "build/x.py": False}),
    ({"": "!\nlocal.py\n"}, {"local.py": True, "x.py": False}),
    ({"": "[z-a].txt\nlocal.py\n"}, {"local.py": True, "x.txt": False}),
    # Lines end where git ends them.
    ({"": "\ufefflocal.py\n*.log\n"}, {"local.py": True, "x.log": True}),
    ({"": "local.py\r\n*.log\r\n"}, {"local.py": True, "x.log": True}),
    ({"": "*.py\n#\f!x.py\n# \u2028!x.py\n#\r!x.py\n"}, {"x.py": True}),
    # Nothing below an excluded folder is brought back, unless the folder is.
    ({"": "private/\n*.py[cod]\n!*.py\n"}, {"private/keys.py": True, "private/a/b.py": True, "keys.py": False}),
    ({"": "*\n!*.py\n"}, {"private/keys.py": True, "keys.py": False}),
    ({"": "*\n!*/\n!*.py\n"}, {"public/keys.py": False, "public/keys.txt": True}),
    ({"": "private/\n", "private/": "*.tmp\n!*.py\n"}, {"private/keys.py": True}),
    ({"": "private/\n!private/\n"}, {"private/keys.py": False}),
    ({"": "private/*\n!private/shown/\n"}, {"private/keys.py": True, "private/shown/keys.py": False}),
    ({"": "private/**\n!private/keys.py\n"}, {"private/keys.py": False, "private/other.py": True}),
    # A folder that is brought back brings back no file that a pattern names.
    ({"": "*.py\n!private/\n"}, {"private/keys.py": True, "private/keys.txt": False}),
    ({"": "shared/\n", "a/": "!shared\n"}, {"a/shared/keys.py": False, "b/shared/keys.py": True}),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("files", "ignored"), RULES)
def test_rules_are_those_of_git(files: dict[str, str], ignored: dict[str, bool], name: str, tmp_path: Path) -> None:
    written(tmp_path, files, name)
    assert {path: is_ignored(f"{tmp_path}/{path}", (str(tmp_path),)) for path in ignored} == ignored


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize(("files", "ignored"), RULES)
def test_git_says_the_same(files: dict[str, str], ignored: dict[str, bool], tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    written(tmp_path, files, ".gitignore")
    for path, expected in ignored.items():
        asked = subprocess.run(["git", "-C", tmp_path, "check-ignore", "-q", "--no-index", path])
        assert (asked.returncode == 0) is expected, path


def test_what_is_open_may_be_a_part_of_a_repository(tmp_path: Path) -> None:
    repository, opened = tmp_path / "repository", tmp_path / "repository" / "apps" / "web"
    opened.mkdir(parents=True)
    written(tmp_path, {"": "*.py\n"}, ".gitignore")  # git does not look there
    written(repository, {"": "*.local.py\n/apps/web/private/\n", "apps": "!shown.local.py\n"}, ".gitignore")
    paths = [f"{opened}/{name}" for name in ("x.py", "x.local.py", "shown.local.py", "private/x.py")]
    for roots in ((), (str(opened),)):
        assert not any(is_ignored(path, roots) for path in paths)
    (repository / ".git").mkdir()
    for roots in ((), (str(opened),), (str(repository),)):
        assert [is_ignored(path, roots) for path in paths] == [False, True, False, True]
    (opened / ".git").write_text("gitdir: elsewhere\n")
    assert not any(is_ignored(path, (str(opened),)) for path in paths)  # a repository of its own


def test_a_home_folder_kept_in_git_ignores_nothing_of_the_projects_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "work" / "project"
    project.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    written(tmp_path, {"": "*\n"}, ".gitignore")
    paths = (f"{project}/x.py", f"{tmp_path}/x.py")
    assert all(is_ignored(path, roots) for path in paths for roots in ((), (str(tmp_path),)))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert not any(is_ignored(path, roots) for path in paths for roots in ((), (str(project),)))
    assert all(is_ignored(path, (str(tmp_path),)) for path in paths)  # it is what is open


def test_a_drive_does_not_lie_in_the_folder_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, {"": "*.py\n"}, ".gitignore")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_ignored("C:/open/x.py", ("C:/open",)) and not is_ignored("x.py", ())


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and devices that have names")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(20)
def test_what_is_no_file_excludes_nothing(name: str, tmp_path: Path) -> None:
    for folder in ("", "pipe", "zero", "folder"):
        (tmp_path / folder).mkdir(exist_ok=True)
    os.mkfifo(tmp_path / "pipe" / name)
    (tmp_path / "zero" / name).symlink_to("/dev/zero")
    (tmp_path / "folder" / name).mkdir()
    written(tmp_path, {"": "local.py\n"}, name)
    paths = [f"{tmp_path}/{folder}/{file}" for folder in ("pipe", "zero", "folder") for file in ("x.py", "local.py")]
    assert [is_ignored(path, (str(tmp_path),)) for path in paths] == [False, True] * 3


def test_ignore_files_that_are_too_large_together_exclude_all(tmp_path: Path) -> None:
    half = "#" * (LARGEST // 2) + "\nlocal.py\n"
    written(tmp_path, {"": half, "a": half}, ".gitignore")
    paths = [f"{tmp_path}/{path}" for path in ("x.py", "local.py", "a/x.py")]
    assert [is_ignored(path, (str(tmp_path),)) for path in paths] == [False, True, True]


def written(root: Path, files: dict[str, str], name: str) -> None:
    for folder, text in files.items():
        (root / folder).mkdir(exist_ok=True)
        (root / folder / name).write_text(text, encoding="utf-8", newline="")
