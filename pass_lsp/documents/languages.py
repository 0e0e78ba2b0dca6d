"""Languages: which one a file is written in, and what its strings, comments and brackets look like.

`scan` is a small lexer that can be resumed. It answers what a parser of broken
code cannot answer reliably: which brackets, which string and which comment are
still open at the end of a piece of text. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath

_EXTENSIONS = {
    "py": "python", "pyi": "python", "pyw": "python", "js": "javascript", "mjs": "javascript", "cjs": "javascript",
    "jsx": "javascriptreact", "ts": "typescript", "mts": "typescript", "cts": "typescript", "tsx": "typescriptreact",
    "go": "go", "rs": "rust", "java": "java", "c": "c", "h": "c", "cc": "cpp", "cpp": "cpp", "cxx": "cpp", "hpp": "cpp",
    "hh": "cpp", "cs": "csharp", "rb": "ruby", "php": "php", "lua": "lua", "sh": "shellscript", "bash": "shellscript",
    "zsh": "shellscript", "html": "html", "htm": "html", "css": "css", "scss": "scss", "sql": "sql", "json": "json",
    "yaml": "yaml", "yml": "yaml", "toml": "toml", "md": "markdown", "rst": "restructuredtext", "txt": "plaintext",
    "kt": "kotlin", "swift": "swift", "scala": "scala", "zig": "zig", "r": "r", "jl": "julia", "hs": "haskell",
}  # fmt: skip
_FILENAMES = {"makefile": "makefile", "dockerfile": "dockerfile", "sconstruct": "python", "gemfile": "ruby"}
_ALIASES = {"py": "python", "python3": "python", "sh": "shellscript", "bash": "shellscript", "c++": "cpp", "text": ""}


def language_of(path: str, language_id: str = "") -> str:
    """The LSP language id of a file: the one the client names, else the one that its name tells, else ""."""
    named = language_id.strip().lower()
    named = _ALIASES.get(named, named)
    if named and named != "plaintext":
        return named
    name = PurePosixPath(path.replace("\\", "/")).name.lower()
    return _FILENAMES.get(name) or _EXTENSIONS.get(name.rpartition(".")[2] if "." in name else "", named)


@dataclass(frozen=True, slots=True)
class Lexis:
    """The marks of one family of languages. `strings` maps an opening mark to its closing one.

    A mark in `long` may span lines; one in `blocks` opens a comment. `indented`
    says that indentation alone delimits blocks. `openers` are the words that may
    begin a statement which ends with a colon and opens a block.
    """

    comments: tuple[str, ...] = ()
    strings: tuple[tuple[str, str], ...] = ()
    blocks: tuple[tuple[str, str], ...] = ()
    long: frozenset[str] = frozenset()
    brackets: bool = True
    indented: bool = False
    openers: frozenset[str] = frozenset()


_QUOTES = (('"', '"'), ("'", "'"))
_C_LIKE = Lexis(("//",), (*_QUOTES, ("`", "`")), (("/*", "*/"),), frozenset("`"))
_HASH = Lexis(("#",), _QUOTES, (), frozenset("\"'"))
_PROSE = Lexis(brackets=False)
_LEXES = {
    "python": Lexis(
        ("#",),
        (('"""', '"""'), ("'''", "'''"), *_QUOTES),
        long=frozenset(('"""', "'''")),
        indented=True,
        openers=frozenset(
            ("def", "class", "if", "elif", "else", "for", "while", "with", "try", "except", "finally", "async")
            # Soft keywords; a line that begins with one and ends with a colon is a header all the same.
        )
        | {"match", "case"},
    ),
    # An apostrophe is a lifetime in Rust far more often than it is a character that needs care.
    "rust": Lexis(("//",), (('"', '"'),), (("/*", "*/"),), frozenset('"')),
    "lua": Lexis(("--",), _QUOTES),
    "sql": Lexis(("--",), _QUOTES, (("/*", "*/"),)),
    **dict.fromkeys(("shellscript", "ruby", "toml", "makefile", "dockerfile", "r", "julia"), _HASH),
    "yaml": Lexis(("#",), (('"', '"'),), indented=True),
    **dict.fromkeys(("markdown", "plaintext", "restructuredtext", "html", "latex", "xml", ""), _PROSE),
}


def lexis_of(language: str) -> Lexis:
    """The marks of `language`; unknown languages count as C-like, files of no language as prose."""
    return _LEXES.get(language, _C_LIKE)


@dataclass(frozen=True, slots=True)
class Scan:
    """What is open at the end of a scanned text.

    `brackets` are the open brackets, outermost first; `surplus` the closers that
    match no opener; `string` the opening mark of the open string or block comment,
    or ""; `comment` says that a line comment is open; `statement` is the offset at
    which the last statement begins (after the last line end outside everything).
    """

    brackets: str = ""
    surplus: str = ""
    string: str = ""
    comment: bool = False
    statement: int = 0

    @property
    def plain(self) -> bool:
        """Whether the end lies in code that no bracket, string or comment encloses."""
        return not (self.brackets or self.string or self.comment)


CLOSERS = {")": "(", "]": "[", "}": "{"}


def scan(text: str, language: str, state: Scan = Scan()) -> Scan:
    """What is open after `text`, given what was open before it (`state.statement` restarts at 0)."""
    lexis = lexis_of(language)
    state, at = replace(state, statement=0), 0
    if state.string:
        state, at = _through_string(text, 0, state.string, state, lexis)
    elif state.comment:
        at = text.find("\n")
        state, at = (state, len(text)) if at < 0 else (replace(state, comment=False), at)
    tokens = _tokens(lexis)
    while at < len(text) and (match := tokens.search(text, at)):
        mark, at = match.group(), match.end()
        if mark == "\n":
            if not state.brackets:
                state = replace(state, statement=at)
        elif mark in "()[]{}":
            state = _bracketed(state, mark)
        elif mark in lexis.comments:
            at = text.find("\n", at)
            if at < 0:
                return replace(state, comment=True)
        else:
            state, at = _through_string(text, at, mark, state, lexis)
    return state


@cache
def _tokens(lexis: Lexis) -> re.Pattern[str]:
    marks = [*lexis.comments, *(pair[0] for pair in (*lexis.strings, *lexis.blocks)), "\n"]
    marks += list("()[]{}") if lexis.brackets else []
    return re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))


@cache
def _string_end(close: str, many_lines: bool) -> re.Pattern[str]:
    # A string that may not span lines also ends, unterminated, before its line end.
    stop = re.escape(close) if many_lines else f"{re.escape(close)}|(?=\n)"
    return re.compile(rf"\\(?:\r\n|.)|{stop}", re.DOTALL)


def _through_string(text: str, at: int, mark: str, state: Scan, lexis: Lexis) -> tuple[Scan, int]:
    """Skip to the end of the string or block comment that `mark` opened before `at`."""
    block = dict(lexis.blocks).get(mark)
    close = block or dict(lexis.strings).get(mark, mark)
    ends = _string_end(close, bool(block) or mark in lexis.long)
    while match := ends.search(text, at):
        at = match.end()
        if not match.group().startswith("\\"):
            return replace(state, string=""), at
    return replace(state, string=mark), len(text)


def _bracketed(state: Scan, mark: str) -> Scan:
    if mark not in CLOSERS:
        return replace(state, brackets=state.brackets + mark)
    if state.brackets.endswith(CLOSERS[mark]):
        return replace(state, brackets=state.brackets[:-1])
    return replace(state, surplus=state.surplus + mark)


def indentation(line: str) -> str:
    """The spaces and tabs that `line` begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def columns(line: str, tab_size: int = 4) -> int:
    """The width of the indentation of `line`, tabs expanded to stops of `tab_size`."""
    return len(indentation(line).expandtabs(max(tab_size, 1)))
