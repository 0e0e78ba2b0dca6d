"""A small lexer that can be resumed: which brackets, string and comment are open at the end of a text.

It answers what a parser of broken code cannot answer reliably. What strings, comments and
brackets look like is data (`Lexis`), one of which stands in every row of `languages`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache

CLOSERS = {")": "(", "]": "[", "}": "{"}
_BRACKETS = "()[]{}"
_WORD = r"""(?P<quote>['"]?)(?P<word>[A-Za-z_]\w*)(?P=quote)"""
"""That ends a text which begins on the line below."""
_MOST_BEGUN = 8
"""Here-documents, the last ones above the cursor, of which one may be open there."""
_WORD_ALONE = re.compile(r"^[ \t]*+(\w++)[;,)]*+[ \t\r]*+$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lexis:
    """The marks of one language. `strings` maps an opening mark to its closing one.

    A mark in `long` may span lines, within one in `raw` a backslash escapes nothing; one in
    `blocks` opens a comment; `apart` says that a comment begins only behind white space,
    `indented` that indentation alone delimits blocks. `heredoc` matches what comes before the word
    that ends a text which begins on the next line, `inert` what opens nothing, whatever marks are in it.
    `goes_on` finds how a line ends whose statement may go on on a deeper line, or have its brace below;
    `opens` finds, at the end of a line of code, what a block begins with; `closes` matches the
    words that end one, `parts` those that begin its next part (`else`), `defines` those that begin a definition,
    `outdented` a line that may be less deep than its block (`#ifdef`, `private:`).
    """

    comments: tuple[str, ...] = ()
    strings: tuple[tuple[str, str], ...] = ()
    blocks: tuple[tuple[str, str], ...] = ()
    long: frozenset[str] = frozenset()
    raw: frozenset[str] = frozenset()
    brackets: bool = True
    apart: bool = False
    indented: bool = False
    heredoc: str = ""
    inert: str = ""
    goes_on: str = r"\\$"
    opens: str = r"[{(\[]$"
    defines: str = r"(?!)"
    closes: str = r"(?!)"
    parts: str = r"(?!)"
    outdented: str = r"(?!)"

    def opens_block(self, code: str) -> bool:
        """Whether a block or a list begins at the end of a line of code, or a text below it."""
        below = self.heredoc and heredoc_in(code.rstrip().rpartition("\n")[2], self, Scan())
        return bool(below) or re.search(self.opens, code.rstrip()) is not None

    def unfinished(self, code: str) -> bool:
        """Whether the statement at the end of a line of code may go on on the next line."""
        return re.search(self.goes_on, code.rstrip()) is not None

    def defines_at(self, code: str) -> bool:
        """Whether a line of code begins a definition."""
        return re.match(rf"(?:{self.defines})\b", code.lstrip()) is not None

    def closes_block(self, code: str) -> bool:
        """Whether a line of code begins with a word that ends a block."""
        return re.match(rf"(?:{self.closes})(?!\w)", code.lstrip()) is not None

    def begins_part(self, code: str) -> bool:
        """Whether a line of code begins with a word that begins the next part of a block."""
        return re.match(rf"(?:{self.parts})(?!\w)", code.lstrip()) is not None

    def is_outdented(self, code: str) -> bool:
        """Whether a line of code may be less deep than the block that it stands in."""
        return re.match(rf"(?:{self.outdented})", code.lstrip()) is not None

    @property
    def elision(self) -> str:
        """What stands for code left out: a comment, as small models write what looks like a body as theirs."""
        return self.remark("...")

    def remark(self, text: str) -> str:
        """`text` as a comment of the language, as it stands where there are none."""
        if self.comments:
            return f"{self.comments[0]} {text}"
        return f"{self.blocks[0][0]} {text} {self.blocks[0][1]}" if self.blocks else text


@dataclass(frozen=True, slots=True)
class Scan:
    """What is open at the end of a scanned text.

    `brackets` are the open brackets, outermost first; `surplus` the closers that
    match no opener; `string` the opening mark of the open string or block comment,
    or ""; `comment` says that a line comment is open; `statement` is the offset at
    which the last statement begins (after the last line end outside everything);
    `heredoc` is the word that ends the here-document which the end lies in, if that is known.
    """

    brackets: str = ""
    surplus: str = ""
    string: str = ""
    comment: bool = False
    statement: int = 0
    heredoc: str = ""

    @property
    def plain(self) -> bool:
        """Whether the end lies in code that no bracket, string or comment encloses."""
        return not (self.brackets or self.string or self.comment)


def scan(text: str, lexis: Lexis, state: Scan = Scan()) -> Scan:
    """What is open after `text`, given what was open before it (`state.statement` restarts at 0)."""
    at, statement, brackets, surplus = 0, 0, [*state.brackets], [*state.surplus]
    if state.string:
        at = _string_end(text, 0, state.string, lexis)
        if at < 0:
            return replace(state, statement=0)
    elif state.comment:
        at = text.find("\n")
        if at < 0:
            return replace(state, statement=0)
    tokens, ends = _tokens(lexis), None
    while match := tokens.search(text, at):
        mark, at = match.group(), match.end()
        if match.lastgroup:
            continue
        if mark == "\n":
            statement = statement if brackets else at
        elif mark in _BRACKETS:
            _bracketed(brackets, surplus, mark)
        elif mark in lexis.comments:
            at = text.find("\n", at)
            if at < 0:
                return Scan("".join(brackets), "".join(surplus), comment=True, statement=statement)
        elif mark.startswith("<<"):
            ends = _words(text, at) if ends is None else ends
            at = _heredoc_end(ends, at, mark)
        else:
            at = _string_end(text, at, mark, lexis)
            if at < 0:
                return Scan("".join(brackets), "".join(surplus), mark, statement=statement)
    return Scan("".join(brackets), "".join(surplus), statement=statement)


@lru_cache(maxsize=64)
def scan_lines(text: str, lexis: Lexis, state: Scan = Scan()) -> Scan:
    """`scan`, remembered: the lines above the cursor stay the same while one line is typed."""
    return scan(text, lexis, state)


@cache
def _tokens(lexis: Lexis) -> re.Pattern[str]:
    marks = [*lexis.comments, *(pair[0] for pair in (*lexis.strings, *lexis.blocks)), "\n"]
    marks += list(_BRACKETS) if lexis.brackets else []
    marks.sort(key=len, reverse=True)
    behind = r"(?<!\S)" if lexis.apart else ""
    found = [(behind if mark in lexis.comments else "") + re.escape(mark) for mark in marks]
    heredoc = [rf"(?:{lexis.heredoc})(?:'\w+'|\"\w+\"|[A-Za-z_]\w*)"] if lexis.heredoc else []
    inert = [f"(?P<inert>{lexis.inert})"] if lexis.inert else []
    return re.compile("|".join([*heredoc, *inert, *found]))


@cache
def _ends(close: str, many_lines: bool, raw: bool) -> re.Pattern[str]:
    # A string that may not span lines also ends, unterminated, before its line end.
    stop = re.escape(close) if many_lines else f"{re.escape(close)}|(?=\n)"
    return re.compile(stop if raw else rf"\\(?:\r\n|.)|{stop}", re.DOTALL)


def _string_end(text: str, at: int, mark: str, lexis: Lexis) -> int:
    """The end of the string or block comment that `mark` opened before `at`, -1 if it stays open."""
    block = dict(lexis.blocks).get(mark)
    close = block or dict(lexis.strings).get(mark, mark)
    # Nothing is escaped in a comment.
    for match in _ends(close, bool(block) or mark in lexis.long, bool(block) or mark in lexis.raw).finditer(text, at):
        if not match.group().startswith("\\"):
            return match.end()
    return -1


def _words(text: str, at: int) -> dict[str, list[int]]:
    """Where the lines below `at` end that hold a word alone: in one go, as a text may begin thousands of others."""
    ends: dict[str, list[int]] = {}
    for match in _WORD_ALONE.finditer(text, at):
        ends.setdefault(match[1], []).append(match.end())
    return ends


def _heredoc_end(ends: dict[str, list[int]], at: int, mark: str) -> int:
    """The end of the text whose last line is the word of `mark`; `at` where no line is: it was a shift, or is open."""
    found = ends.get(mark.lstrip("<-~ ").strip("'\""), [])
    after = bisect_right(found, at)
    return found[after] if after < len(found) else at


def heredoc_in(line: str, lexis: Lexis, state: Scan) -> str:
    """The word that ends a text which begins below `line`; "" if none does."""
    found = re.search(rf"(?:{lexis.heredoc}){_WORD}", line) if lexis.heredoc and not state.string else None
    before = scan(line[: found.start()], lexis, state) if found else state
    return found["word"] if found and not (before.string or before.comment) else ""


def heredoc_behind(line: str, word: str, lexis: Lexis, state: Scan) -> str:
    """The same behind a line that may belong to such a text itself, which `word` ends."""
    if not word:
        return heredoc_in(line, lexis, state)
    return "" if line.strip().rstrip(";,)") == word else word


def heredoc_end(lines: Iterable[str], word: str, lexis: Lexis) -> int:
    """Which of `lines` ends the text that they are in, which `word` ends; -1 if none does, or another one begins."""
    for number, line in enumerate(lines):
        if not heredoc_behind(line, word, lexis, Scan()):
            return number
        if heredoc_in(line, lexis, Scan()) == word:
            break
    return -1


def heredoc_around(above: str, below: Callable[[], list[str]], lexis: Lexis) -> tuple[int, str]:
    """Where in `above` the text begins that is open at its end, and the word that ends it in one of the lines `below`,
    which need be none while it is empty; "" if there is none.
    """
    if not lexis.heredoc:
        return 0, ""
    ends, begins = _words(above, 0), [*re.finditer(rf"(?:{lexis.heredoc}){_WORD}.*\n", above)]
    for found in reversed(begins[-_MOST_BEGUN:]):
        word, start = found["word"], found.end()
        line = above[above.rfind("\n", 0, found.start()) + 1 : start]
        if ends.get(word, [0])[-1] > start or heredoc_in(line, lexis, Scan()) != word:
            continue
        if not above[start:].strip() or heredoc_end(below(), word, lexis) >= 0:
            return start, word
    return 0, ""


def _bracketed(brackets: list[str], surplus: list[str], mark: str) -> None:
    """Take in one bracket."""
    if mark not in CLOSERS:
        brackets.append(mark)
    elif brackets and brackets[-1] == CLOSERS[mark]:
        brackets.pop()
    else:
        surplus.append(mark)


def indentation(line: str) -> str:
    """The spaces and tabs that `line` begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def columns(line: str, tab_size: int = 4) -> int:
    """The width of the indentation of `line`, tabs expanded to stops of `tab_size`."""
    return len(indentation(line).expandtabs(max(tab_size, 1)))


def block_step(lines: Iterable[str], tab_size: int) -> int:
    """How much deeper than its header a block is indented, in columns: the first step in `lines`, else four columns."""
    last = ""
    for line in filter(str.strip, lines):
        deeper = columns(line, tab_size) - columns(last, tab_size)
        if last.rstrip().endswith((":", "{")) and 0 < deeper <= 8:
            return deeper
        last = line
    return 4
