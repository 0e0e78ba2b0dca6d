"""Files behind imports: found in the open folders, read if nothing forbids it, and remembered until they change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from glob import escape, iglob
from itertools import islice
from pathlib import PurePosixPath

from pass_lsp.context.exclusions import refusal
from pass_lsp.context.ignored import is_ignored, root_of, stamp
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import Modules, language_of
from pass_lsp.documents.workspace import Workspace

_LARGEST = 200_000
_MOST_FOLDERS = 8
_MOST_IN_FOLDER = 8
_HEAD_LINES = 400
_SOURCE_FOLDERS = ("", "src", "lib", "include", "app")


def imported(
    document: Document, path: str, modules: Modules, workspace: Workspace, expired: Callable[[], bool]
) -> Iterator[Document]:
    """The documents that the imports in the head of `document` lead to, in their order, until time has `expired`."""
    pattern, seen = re.compile(modules.pattern), {path}
    end = document.line_start(min(_HEAD_LINES, document.line_count - 1))
    for line in (document.text[:end] or document.text).splitlines():
        match = pattern.search(line)
        if match and expired():
            return
        for candidate in _candidates(match["path"], path, modules, workspace) if match else ():
            if candidate in seen:
                break
            found = _opened(candidate, workspace) or _read(candidate, workspace)
            if found is not None:
                seen.add(candidate)
                yield found
                break


def _candidates(module: str, path: str, modules: Modules, workspace: Workspace) -> Iterator[str]:
    """Paths that a module may have, most likely first, none outside the open folders."""
    folder, root = PurePosixPath(path).parent, root_of(path, workspace.roots)
    if root is None:
        return
    for parts, bases in _places(module, folder, root, modules.separator):
        # The last part may be what is imported from the module.
        for named in (parts, parts[:-1]):
            for base in bases if named else ():
                for pattern in modules.files:
                    yield from _expanded(base, pattern.format("/".join(named)), root)


def _places(
    module: str, folder: PurePosixPath, root: str, separator: str
) -> Iterator[tuple[list[str], list[PurePosixPath]]]:
    dots = len(module) - len(module.lstrip("."))
    if separator == "." and dots:
        yield [part for part in module[dots:].split(".") if part], [folder.joinpath(*[".."] * (dots - 1))]
        return
    parts = [part for part in module.split(separator) if part]
    if separator == "/" and dots:
        yield parts, [folder]
        return
    above = [base for base in (folder, *folder.parents) if base.is_relative_to(root)][:_MOST_FOLDERS]
    bases = list(dict.fromkeys([*above, *(PurePosixPath(root, name) for name in _SOURCE_FOLDERS)]))
    # A Go import begins with the name of the module, which is no folder.
    for first in range(min(len(parts), 4) if separator == "/" else 1):
        yield parts[first:], bases


def _expanded(base: PurePosixPath, name: str, root: str) -> Iterator[str]:
    path = _normal(base / name)
    if not PurePosixPath(path).is_relative_to(root):
        return
    if "*" not in name:
        yield path
        return
    before, _, after = path.partition("*")
    yield from sorted(islice(iglob(f"{escape(before)}*{after}"), _MOST_IN_FOLDER))


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return str(PurePosixPath(*parts))


def _opened(path: str, workspace: Workspace) -> Document | None:
    found = next((document for document in workspace.documents if document.path.replace("\\", "/") == path), None)
    return found if found is not None and may_show(found, workspace) else None


def may_show(document: Document, workspace: Workspace) -> bool:
    """Whether nothing forbids to show parts of `document` in a prompt."""
    path = document.path.replace("\\", "/")
    return refusal(document, None) is None and not is_ignored(path, workspace.roots)


def _read(path: str, workspace: Workspace) -> Document | None:
    version = stamp(path)
    if not 0 < version[1] <= _LARGEST or is_ignored(path, workspace.roots):
        return None
    return _loaded(path, version)


@lru_cache(maxsize=64)
def _loaded(path: str, version: tuple[int, int]) -> Document | None:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            text = file.read(_LARGEST)
    except (OSError, ValueError):
        return None
    document = Document(path, text, version[0], language_of(path), path)
    return document if refusal(document, None) is None else None
