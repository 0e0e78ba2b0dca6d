"""Ignore files: what `.gitignore` and `.pass-lsp-ignore` exclude, in every folder from that of the repository down."""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import takewhile
from pathlib import PurePosixPath

from pass_lsp.context.globs import EVERYTHING, Rule, decided, rules_of
from pass_lsp.documents.reading import read

NAMES = (".gitignore", ".pass-lsp-ignore")
LARGEST = 1 << 18
"""Bytes of all that count for a path. Of more nobody waits to know what they exclude, so they exclude all."""
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
    return sum(size for *_, (_, size) in files) > LARGEST or _excluded(parts, tuple(files))


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
    excluded, undecided = 0, (2 << len(parts)) - 2
    for depth, file, version in reversed(files):
        hidden, shown = decided(_rules(file, version), parts[depth:])
        excluded |= hidden << depth & undecided
        undecided &= ~((hidden | shown) << depth)
    return excluded > 0


@lru_cache(maxsize=64)
def _rules(path: str, version: tuple[int, int]) -> tuple[Rule, ...]:
    """What an ignore file of that `version` says; nothing if it is no file."""
    try:
        held = read(path, LARGEST) or b""
    except (OSError, ValueError):
        return ()
    return (EVERYTHING,) if len(held) > LARGEST else rules_of(held.decode("utf-8-sig", "replace"))
