"""Ignore files: what `.gitignore` and `.pass-lsp-ignore` exclude, in every folder from that of the repository down."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile
from pathlib import PurePosixPath

import pathspec

NAMES = (".gitignore", ".pass-lsp-ignore")
_LARGEST = 1 << 20
"""Of one that is larger nobody knows what it excludes, so it excludes all."""
_ALL = ((re.compile(""), True),)
_NONE = (0, 0)


def is_ignored(path: str, roots: tuple[str, ...]) -> bool:
    """Whether ignore files from the folder of `roots` that `path` lies in on exclude it; the deepest rule decides.

    What is open may be a part of a git repository, or a file alone: then from the folder of the repository on.
    As with git, nothing that lies in an excluded folder is brought back.
    """
    folder = _repository(path, root_of(path, roots))
    if folder is None:
        return False
    parts = PurePosixPath(path).relative_to(folder).parts
    files: list[tuple[int, str, tuple[int, int]]] = []
    for depth, part in enumerate(parts):
        for file in (f"{folder}/{name}" for name in NAMES):
            if (version := stamp(file)) != _NONE:
                files.append((depth, file, version))
        folder = f"{folder}/{part}"
    return bool(files) and _excluded(parts, tuple(files))


def root_of(path: str, roots: tuple[str, ...]) -> str | None:
    """The innermost of `roots` that `path` lies in."""
    inside = [root for root in roots if root and PurePosixPath(path).is_relative_to(root) and path != root]
    return max(inside, key=len, default=None)


def _repository(path: str, root: str | None) -> str | None:
    """The folder of the git repository that `root`, or a file outside all roots, lies in; `root` if in none.

    Whoever keeps a home folder in git ignores all that is no setting, which means nothing for what lies there.
    """
    if root is None and not os.path.isabs(path):
        return None
    inside = PurePosixPath(root or os.path.dirname(path))
    # Above the drive of Windows there is "."; that is where this process runs.
    above = (str(folder) for folder in (inside, *inside.parents) if folder.parts)
    home = os.path.expanduser("~").replace("\\", "/")
    ours = takewhile(lambda folder: folder == root or folder != home, above)
    return next((folder for folder in ours if stamp(f"{folder}/.git") != _NONE), root)


def stamp(path: str) -> tuple[int, int]:
    """Modification time (ns) and size of a file; zeros if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return _NONE
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1024)
def _excluded(parts: tuple[str, ...], files: tuple[tuple[int, str, tuple[int, int]], ...]) -> bool:
    """Whether ignore `files`, each with the depth of its folder, exclude a path or a folder above it."""
    for length in range(1, len(parts) + 1):
        for depth, file, version in reversed(files):
            inside = "/".join(parts[depth:length])
            found = _decided(_patterns(file, version), inside, length < len(parts)) if inside else None
            if found:
                return True
            if found is not None:
                break
    return False


def _decided(patterns: tuple[tuple[re.Pattern[str], bool], ...], path: str, folder: bool) -> bool | None:
    """Whether the last pattern that matches `path` itself, and not only a folder above it, excludes it."""
    return next((excludes for pattern, excludes in reversed(patterns) if _matches(pattern, path, folder)), None)


def _matches(pattern: re.Pattern[str], path: str, folder: bool) -> bool:
    # The only group of a pattern is the slash behind a folder's name.
    found = pattern.search(path)
    if found and not any(found.groups()):
        return True
    ends = (match.end(1) for match in pattern.finditer(path + "/") if match.groups()) if folder else ()
    return len(path) + 1 in ends


@lru_cache(maxsize=256)
def _patterns(path: str, version: tuple[int, int]) -> tuple[tuple[re.Pattern[str], bool], ...]:
    if version[1] > _LARGEST:
        return _ALL
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
            return tuple(_compiled(file.read()))
    except (OSError, ValueError):
        return ()


def _compiled(text: str) -> Iterator[tuple[re.Pattern[str], bool]]:
    """The patterns of an ignore file. A line that is none is left out, as git does; the others count."""
    for line in text.split("\n"):
        try:
            found = pathspec.GitIgnoreSpec.from_lines([line.removesuffix("\r")]).patterns
        except (ValueError, re.error):
            continue
        for pattern in found:
            if pattern.regex is not None and pattern.include is not None:
                yield pattern.regex, pattern.include
