"""Settings from four places, in the order that `config` lays down: the command line wins over
the client, the client over the workspace's file, and that over the user's file.

Only the command line names folders from where it runs: the server runs in a repository, perhaps a cloned one, and what
lies there must not become the model. All other places name a folder by its whole path; the rest are hub ids. So does
the command line that an editor gives the server, unless the name begins with a dot, which no hub id does.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pass_lsp.config import KEYWORDS, OF_THE_ENGINE, Settings
from pass_lsp.documents.languages import language_of
from pass_lsp.documents.reading import read
from pass_lsp.server.folders import config_file

SECTION = "pass-lsp"
WORKSPACE_FILE = ".pass-lsp.toml"
_OF_THE_CLIENT = frozenset({"trace"})  # vscode-languageclient keeps its own switch in the server's section
_LARGEST_FILE = 1 << 16
_MOST_DOTS = 64
"""Of a line. What takes in a key of many parts takes the square of their number, and no setting of ours has two."""
_WHOLE = "name it by its whole path (or ~/…); the default is kept"


@dataclass
class Layers:
    """What each place says. `resolved` puts it together; `complaints` are for the user, each once.

    `workspace` holds what the file of each workspace folder says, in the client's order. `typed` says that a person
    has given the command line here, and no editor.
    """

    command_line: dict[str, Any]
    user: Mapping[str, Any] = field(default_factory=dict)
    workspace: dict[Path, Mapping[str, Any]] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    typed: bool = True

    @classmethod
    def of(cls, settings: Settings, pinned: Collection[str] | None = None) -> Layers:
        """`pinned` names what the command line set; without it, all that differs from the default."""
        if pinned is None:
            pinned = [key.name for key in fields(settings) if getattr(settings, key.name) != key.default]
        return cls({key: value for key, value in asdict(settings).items() if key in pinned}, typed=False)

    def read_files(self, folders: Iterable[Path], user_file: Path | None = None) -> None:
        """Take in the user's `config.toml` and the file of each workspace folder, where there are such."""
        self.user = self._read(user_file or config_file())
        self.workspace = {folder: self._read(folder / WORKSPACE_FILE) for folder in folders}

    def folder_of(self, path: str) -> Path | None:
        """The innermost workspace folder that holds `path`; the first one for a file outside all of them."""
        here = Path(path) if path else None
        holding = [folder for folder in self.workspace if here and here.is_relative_to(folder)]
        return max(holding, key=lambda folder: len(folder.parts), default=next(iter(self.workspace), None))

    def resolved(self, folder: Path | None = None) -> Settings:
        """The settings in force in a workspace folder."""
        settings = Settings()
        local = self.workspace.get(folder, {}) if folder else {}
        for values in (self._of_the_user(), local, self.client, self.command_line):
            settings, complaints = settings.updated(values, trusted=values is not local)
            self._complain(complaints)
        off = tuple(language_of("", name) for name in settings.disabled_languages)  # `Python`, `js`
        settings = replace(settings, disabled_languages=off)
        return settings if "://" in settings.engine else self._placed(settings)

    def _of_the_user(self) -> Mapping[str, Any]:
        """What the user's file says; not of an engine elsewhere, where the command line names a model instead."""
        named = "model" in self.command_line and "engine" not in self.command_line
        if named and "://" in str(self.user.get("engine")):
            return {key: value for key, value in self.user.items() if key != "engine"}
        return self.user

    def _placed(self, settings: Settings) -> Settings:
        """The same with folders by their whole paths; a name that is a folder's only where this runs is refused."""
        found: dict[str, Any] = {}
        for key, keywords in KEYWORDS.items():
            name = getattr(settings, key)
            if name in keywords:
                continue
            try:
                # On the command line too: a shell leaves `--model=~/…` as it is, and an editor has none.
                found[key] = os.path.expanduser(name)
            except ValueError:  # of a user whose name no system has
                found[key] = getattr(Settings(), key)
                self._complain([f"Setting {key!r} is {name!r}, which no path can be; the default is kept."])
                continue
            here = not os.path.isabs(found[key]) and os.path.exists(found[key])
            if here and not (key in self.command_line and (self.typed or name.startswith("."))):
                found[key] = getattr(Settings(), key)
                self._complain([f"Setting {key!r} is {name!r}, which is a folder of where this runs; {_WHOLE}."])
        return replace(settings, **found)

    def _complain(self, complaints: Iterable[str]) -> None:
        self.complaints += (new for new in complaints if new not in self.complaints)

    def _read(self, path: Path) -> Mapping[str, Any]:
        try:
            if path.is_dir() and path.name != WORKSPACE_FILE:
                raise ValueError("it is a folder")
            held = read(str(path), _LARGEST_FILE) or b""
            if len(held) > _LARGEST_FILE:
                raise ValueError("it is larger than 64 KiB")
            text = held.decode("utf-8-sig")
            if any(line.count(".") > _MOST_DOTS for line in text.split("\n") if not line.lstrip().startswith("#")):
                raise ValueError(f"a line of it has more than {_MOST_DOTS} dots")
            found = tomllib.loads(text)
            # The file is ours alone: what stands beside a table of our name is meant for us too.
            beside = {key: value for key, value in found.items() if key != SECTION}
            return {**section(beside), **section(found)}
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return {}
        except (OSError, ValueError, RecursionError) as error:
            self.complaints.append(f"The settings file {path} is ignored: {error}.")
            return {}


def section(settings: Any) -> Mapping[str, Any]:
    """Our part of what a client or a file holds: under the name of the section, or bare."""
    if isinstance(settings, dict) and isinstance(settings.get(SECTION, 0), dict | None):
        settings = settings[SECTION]
    if not isinstance(settings, dict):
        return {}
    return {key: value for key, value in settings.items() if key not in _OF_THE_CLIENT}


def pushed(settings: Any) -> Mapping[str, Any]:
    """`section` of what a client pushes: eglot sends to each server those of all. No setting of ours is an object."""
    ours = section(settings).items()
    return {key: value for key, value in ours if not isinstance(value, dict) or _letters(key) == _letters(SECTION)}


def _letters(key: str) -> str:
    return "".join(filter(str.isalpha, key)).lower()


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """The settings that choose the engine, as far as they differ."""
    return sorted(key for key in OF_THE_ENGINE if getattr(old, key) != getattr(new, key))
