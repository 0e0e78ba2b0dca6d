"""Ignore files: what `.gitignore` and `.pass-lsp-ignore` exclude, in every folder from the root down."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import PurePosixPath

import pathspec

NAMES = (".gitignore", ".pass-lsp-ignore")


def is_ignored(path: str, roots: tuple[str, ...]) -> bool:
    """Whether ignore files of the folder of `roots` that `path` lies in exclude it; the deepest rule decides."""
    root = root_of(path, roots)
    if root is None:
        return False
    parts, verdict = PurePosixPath(path).relative_to(root).parts, False
    for depth in range(len(parts)):
        folder = PurePosixPath(root, *parts[:depth])
        for name in NAMES:
            spec = _spec(str(folder / name))
            found = spec.check_file("/".join(parts[depth:])).include if spec else None
            verdict = verdict if found is None else found
    return verdict


def root_of(path: str, roots: tuple[str, ...]) -> str | None:
    """The innermost of `roots` that `path` lies in."""
    inside = [root for root in roots if root and PurePosixPath(path).is_relative_to(root) and path != root]
    return max(inside, key=len, default=None)


def _spec(path: str) -> pathspec.GitIgnoreSpec | None:
    return _read(path, stamp(path))


def stamp(path: str) -> tuple[int, int]:
    """Modification time (ns) and size of a file; zeros if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=256)
def _read(path: str, version: tuple[int, int]) -> pathspec.GitIgnoreSpec | None:
    if version == (0, 0):
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return pathspec.GitIgnoreSpec.from_lines(file.read(1 << 20).splitlines())
    except (OSError, ValueError):
        return None
