"""Files behind imports: found in the open folders, read if nothing forbids it, and remembered until they change."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import PurePosixPath

from pass_lsp.context.exclusions import is_secret, refusal
from pass_lsp.context.ignored import is_ignored, root_of, stamp
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import Modules, language_of
from pass_lsp.documents.reading import read
from pass_lsp.documents.workspace import Workspace

_LARGEST = 200_000
_MOST_FOLDERS = 8
_MOST_IN_FOLDER = 8
_MOST_HANDED_ON = 16
_HEAD_LINES = 400
_SOURCE_FOLDERS = ("", "src", "lib", "include", "app")
_DEEPEST_BRACES = 16
_LINE_END = re.compile(r"\r\n|\n|\r")  # as documents have it; a form feed ends none
_CONTINUED = re.compile(r"\\\r?\n")
_COMMENT = re.compile(r"#|//")
_BRACED = re.compile(r"\{([^{}]*)\}")
_LISTING = re.compile(r"^(?:import|export)\b[\w\s,*]{0,1000}+\{[\w\s,]{0,10000}+\}", re.MULTILINE)
"""What stands before the path of a module, on several lines."""
_RENAMED = re.compile(
    r"(?<!\w)(\w++|\*)\s++as\s++(\w+)|\bimport\s++(?:type\s++)?(\w++)(?=,\s*[{*]|\s++from\b)"
    r"|(?<!\w)(\w++)\s*+=\s*+require\b"
)
"""A name that is imported or handed on under another one; what names a default export, and a whole module."""
_EXPORTED = re.compile(
    r"^export\s+(?:default\s+(?:(?:async|abstract|function|class)\b[\s*]*+)*+(?P<default>\w+)|\{[^{}]*\}(?!\s*from))",
    re.MULTILINE,
)
_LISTED = re.compile(r"[^\W\d][\w.]*(?:::\w+)*(?:::)?|[{},]")
"""A name, or what stands around names in a list."""


Said = Mapping[str, int]
"""Names that are said, and how far from the cursor; `shop.` where a member of `shop` is. The default export of a module
is called `default` in it, the module itself `*`."""


def imported(
    document: Document,
    path: str,
    modules: Modules,
    workspace: Workspace,
    said: Said,
    expired: Callable[[], bool],
) -> Iterator[tuple[Document, Said]]:
    """The documents that the imports in the head of `document` lead to, in their order, until time has `expired`; with
    each what is said of it, as it calls that.

    One that stands for its folder (`__init__.py`, `index.ts`) mostly hands on what others define: behind it come those
    that it has the names in `said` from.
    """
    return _Search(modules, workspace, expired, {path}).behind(document, path, said)


@dataclass(frozen=True, slots=True)
class _Search:
    """One search: how imports look, where it may lead, until when, and the files that it has come to."""

    modules: Modules
    workspace: Workspace
    expired: Callable[[], bool]
    seen: set[str]

    def behind(self, document: Document, path: str, said: Said, only: bool = False) -> Iterator[tuple[Document, Said]]:
        """What the imports of a document lead to, of all or `only` of those that what is said may come from."""
        for found, names in self._imported(document, path, said, only):
            yield found, names
            its_path = found.path.replace("\\", "/")
            if self._stands_for_folder(its_path):
                yield from islice(self.behind(found, its_path, names, True), _MOST_HANDED_ON)

    def _imported(self, document: Document, path: str, said: Said, only: bool) -> Iterator[tuple[Document, Said]]:
        root = root_of(path, self.workspace.roots)
        if root is None:
            return
        importer = _Importer(PurePosixPath(path).parent, root, self.modules)
        end = document.line_start(min(_HEAD_LINES, document.line_count - 1))
        head = _CONTINUED.sub(" ", document.text[: min(end or _LARGEST, _LARGEST)])
        head = _LISTING.sub(_in_one_line, head)
        for module, names in importer.named(iter(_LINE_END.split(head)), _renamed(head, said), only):
            for files in importer.candidates(module):
                known = not self.seen.isdisjoint(files)
                for file in files:
                    if self.expired():
                        return
                    found = self._document(file) if file not in self.seen else None
                    if found is not None:
                        known = True
                        self.seen.add(file)
                        yield found, _within(found, self._name(PurePosixPath(file)), names)
                if known:
                    break

    def _stands_for_folder(self, path: str) -> bool:
        return any("/" in file and path.endswith(file[2:]) for file in self.modules.files)

    def _name(self, file: PurePosixPath) -> str:
        """What code that imports a module calls it; "" where only the import itself tells."""
        if "*" in self.modules.files[0]:
            return file.parent.name
        if self.modules.separator == "/":
            return ""
        return file.parent.name if self._stands_for_folder(str(file)) else file.stem

    def _document(self, file: str) -> Document | None:
        return _opened(file, self.workspace) or _read(file, self.workspace)


@dataclass(frozen=True, slots=True)
class _Importer:
    """The folder of a file that imports, the open folder that it lies in, and how its language names modules."""

    folder: PurePosixPath
    root: str
    modules: Modules

    def named(self, lines: Iterator[str], said: Said, only: bool) -> Iterator[tuple[str, Said]]:
        """The modules that lines of code name, in their order, and how they call what is said; all modules, or `only`
        those that something of it may come from.
        """
        pattern, some = re.compile(self.modules.pattern), {name: said[name] for name in said if name != "*."}
        for match in filter(None, map(pattern.search, lines)):
            path, names = match["path"], _names(match, lines)
            handed = names or _spread(",".join(_BRACED.findall(match.string)))
            known = _renamed(match.string, some if handed else said, of_module=True)
            if only and handed and not any(name in known for name in handed):
                continue
            if not path:
                yield from ((name, known) for name in names)
                continue
            yield path, known
            # What is imported from a folder may be a module in it.
            if names and self._is_folder(path):
                separator = "" if path.endswith(self.modules.separator) else self.modules.separator
                yield from ((path + separator + name, known) for name in names)

    def candidates(self, module: str) -> Iterator[list[str]]:
        """The files that a module may be, most likely first, none outside the open folder."""
        for parts, bases in self._places(module):
            # The last part may be what is imported from the module.
            shorter = len(parts) > 1 and self.modules.separator != "/"
            for named in (parts, parts[:-1]) if shorter else (parts,):
                for base in bases:
                    yield from self._files(base, "/".join(named))

    def _files(self, base: PurePosixPath, named: str) -> Iterator[list[str]]:
        made_from = [named.removesuffix(made) + source for made, source in self.modules.sources if named.endswith(made)]
        for file, all_of in (*((file, "") for file in made_from), *map(_parted, self.modules.files)):
            path = _normal(base / file.format(named).lstrip("/"))
            if PurePosixPath(path).is_relative_to(self.root):
                yield _in_folder(path, all_of) if all_of else [path]

    def _is_folder(self, module: str) -> bool:
        places = ((base, parts) for parts, bases in self._places(module) for base in bases)
        return any(os.path.isdir(_normal(base.joinpath(*parts))) for base, parts in places)

    def _places(self, module: str) -> Iterator[tuple[list[str], list[PurePosixPath]]]:
        """The parts of a module's path, and the folders that it may begin in."""
        separator, dots = self.modules.separator, len(module) - len(module.lstrip("."))
        if separator == "." and dots:
            yield [part for part in module[dots:].split(".") if part], [self.folder.joinpath(*[".."] * (dots - 1))]
            return
        parts = [part for part in module.split(separator) if part]
        if separator == "/" and dots:
            yield parts, [self.folder]
            return
        above = [base for base in (self.folder, *self.folder.parents) if base.is_relative_to(self.root)][:_MOST_FOLDERS]
        bases = list(dict.fromkeys([*above, *(PurePosixPath(self.root, name) for name in _SOURCE_FOLDERS)]))
        # A Go import begins with the name of the module, which is no folder.
        for first in range(min(len(parts), 4 if separator == "/" else 1)):
            yield parts[first:], bases


def _in_one_line(listing: re.Match[str]) -> str:
    return listing[0].replace("\n", " ").replace("\r", " ")


def _renamed(text: str, said: Said, of_module: bool = False) -> Said:
    """What is said, also under the names that imports have it from, or those that one import has for a module."""
    given: dict[str, int] = {}
    for name, called, default, module in _RENAMED.findall(text):
        own, its = called or default or module, name or ("default" if default else "*")
        if of_module is (its in ("default", "*")):
            given |= {its + dot: said[own + dot] for dot in ("", ".") if own + dot in said}
    return {**said, **given} if given else said


def _within(document: Document, name: str, said: Said) -> Said:
    """What is said of a module that is called `name`, by the names that its file has for it."""
    said = {**said, "*.": said[f"{name}."]} if f"{name}." in said else said
    exports = (f"{it['default']} as default" if it["default"] else it[0] for it in _EXPORTED.finditer(document.text))
    return _renamed("\n".join(exports), said)


def _names(match: re.Match[str], lines: Iterator[str]) -> list[str]:
    """The names that an import lists, up to the line that closes its bracket."""
    listed = [match.groupdict().get("names") or ""]
    opener, closer = "{}" if "{" in listed[0] else "()"
    depth = listed[0].count(opener) - listed[0].count(closer)
    while depth > 0 and (line := next(lines, None)) is not None:
        listed.append(_COMMENT.split(line, maxsplit=1)[0])
        depth += listed[-1].count(opener) - listed[-1].count(closer)
    return _spread("\n".join(listed))


def _spread(listed: str) -> list[str]:
    """The first name of each part of a list, behind the name before the braces that it stands in."""
    found, outer, named = [], [""], False
    for part in _LISTED.findall(listed):
        if len(outer) > _DEEPEST_BRACES:  # each deeper name would be as long as all that are around it
            break
        if part == "{":
            outer.append(found.pop() if named else outer[-1])
        elif part == "}" and len(outer) > 1:
            outer.pop()
        elif part not in ",}" and not named:
            found.append(outer[-1] + part)
        named = part not in ",{"
    return found


def _parted(file: str) -> tuple[str, str]:
    """What a module is called, and the ending of its files if it is a folder."""
    name, _, ending = file.partition("/*")
    return name, ending


def _in_folder(folder: str, ending: str) -> list[str]:
    """The first files of a module that is a folder, less its tests, which would say nothing of it."""
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []
    files = [name for name in names if name.endswith(ending) and name[0] not in "._"]
    return [f"{folder}/{name}" for name in files if not name.endswith(f"_test{ending}")][:_MOST_IN_FOLDER]


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
    if not 0 < version[1] <= _LARGEST or is_ignored(path, workspace.roots) or _leads_away(path, workspace.roots):
        return None
    return _loaded(path, version)


def _leads_away(path: str, roots: tuple[str, ...]) -> bool:
    """Whether `path` is a link out of the open folders, or to what may not be shown there."""
    real, *real_roots = (os.path.realpath(each).replace("\\", "/") for each in (path, *roots))
    if real == path:
        return False
    return root_of(real, tuple(real_roots)) is None or is_ignored(real, tuple(real_roots)) or is_secret(real)


@lru_cache(maxsize=64)
def _loaded(path: str, version: tuple[int, int]) -> Document | None:
    try:
        held = read(path, _LARGEST)
    except (OSError, ValueError):
        return None
    if held is None:
        return None
    document = Document(path, held[:_LARGEST].decode("utf-8", "replace"), version[0], language_of(path), path)
    return document if refusal(document, None) is None else None
