"""Where the cursor stands: how much may be suggested there, and how deep the block is that it belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import lexis_of, row_of
from pass_lsp.documents.scan import (
    CLOSERS,
    Lexis,
    Scan,
    block_step,
    columns,
    heredoc_around,
    indentation,
    scan,
    scan_lines,
)
from pass_lsp.domain import Mode
from pass_lsp.reasons import Reason

_RIGHT_OK = re.compile(r"""(?:[)>}\]"'`]|[?%][>}]|</[\w.:-]*>)*\s*(?:[:{;,]|\*/\}?|-->|/>)?""")
"""What may stand right of the cursor, between white space: closers, end tags, ends of what a template says (`?>`,
`%}`), and a last mark, of punctuation or one that ends a comment or a tag."""
_MOST_RIGHT = 200
"""Characters of that: which of them an answer says again is tried for each."""
_DELIMITS = re.compile(r"""[)\]},;>"'`]|(?:then|do)\b""")
"""What the rest of a line begins with, where something may be missing before it: `f(|, b)`, `{ | } from './x'`."""
_WORDS = re.compile(r"(?:[A-Za-z]+ ?){1,3}")
_ANGLES, _IN_ANGLES = re.compile(r"[-=]>|<[^<>]*>"), re.compile(r"[\w:.]<[^<>]*$|<[A-Za-z][\w.:-]*\s[^<>]*$")
"""What closes none, or is closed; what stands left of a cursor in a tag or among the arguments of a type."""
_ATTRIBUTE = re.compile(r"""<[^<>]*=(["'])[^"'<>]*$""")
"""What stands left of a cursor that is in the value of a tag's attribute."""
_DEEPEST = 8
"""Pairs of angles, one in the other."""
_WORD = re.compile(r"\w")
LOOK_BACK = 400
"""Lines above the cursor that are scanned for what is still open."""
TAB_SIZE = 4


@dataclass(frozen=True, slots=True)
class Place:
    """The cursor's line and its surroundings, read once."""

    document: Document
    line: int
    offset: int
    language: str

    @property
    def left(self) -> str:
        """The cursor's line up to the cursor."""
        return self.document.text[self.document.line_start(self.line) : self.offset]

    @property
    def right(self) -> str:
        """The cursor's line from the cursor on, without its line end."""
        return self.document.text[self.offset : self.document.line_end(self.line)]

    @property
    def blank(self) -> bool:
        """Whether the cursor's line holds nothing but white space."""
        return not (self.left.strip() or self.right.strip())

    def text(self, line: int) -> str:
        """A line without its line end."""
        return self.document.text[self.document.line_start(line) : self.document.line_end(line)]

    def neighbour(self, step: int) -> str:
        """The nearest line above (`step` -1) or below (1) that is not blank, or ""."""
        line = self.line + step
        while 0 <= line < self.document.line_count and abs(line - self.line) <= LOOK_BACK:
            text = self.text(line)
            if text.strip():
                return text
            line += step
        return ""

    def below(self) -> list[str]:
        """Some hundred lines below the cursor's."""
        last = min(self.line + LOOK_BACK, self.document.line_count)
        return [self.text(line) for line in range(self.line + 1, last)]

    @property
    def beginning(self) -> str:
        """The white space that the line begins with; on a blank one the lines above tell, whatever is typed of it."""
        return self.lead() if self.blank else indentation(self.left)

    def lead(self) -> str:
        """The white space that a line here begins with if it goes on with what stands above."""
        above = self.neighbour(-1)
        deeper = _ends_header(above, lexis_of(self.language))
        return indentation(above) + (("\t" if above.startswith("\t") else "    ") if deeper else "")


def unfit(place: Place) -> Reason | None:
    """Why nothing belongs at the cursor, by what stands beside it; None: something may, before code in a `gap`."""
    if not place.document.text.strip():
        return Reason.NO_CONTEXT
    if _WORD.match(place.left[-1:]) and _WORD.match(place.right[:1]):
        return Reason.MID_WORD
    right = place.right.strip()
    may = _may_lack(right, lexis_of(place.language)) if goes_on(place) else len(right) <= _MOST_RIGHT
    return None if may else Reason.MID_LINE


def _may_lack(rest: str, lexis: Lexis) -> bool:
    """Whether something may be missing before code: what separates or closes, a comment, the next part of a statement
    (`SELECT a, | FROM t`, `if | then`). Not where indentation ends blocks: before keywords in a line of Python 3
    of 24 answers were right (bench/RESULTS.md).
    """
    words = None if lexis.indented else _WORDS.match(rest)
    return (
        bool(_DELIMITS.match(rest))
        or rest.startswith(lexis.comments)
        or (words is not None and lexis.begins_part(words[0]))
    )


def goes_on(place: Place) -> bool:
    """Whether the line goes on right of the cursor with more than what closes it: the answer goes in between."""
    return _RIGHT_OK.fullmatch(place.right.strip()) is None


def gap(place: Place, state: Scan) -> Scan | None:
    """What is open at the cursor, `state`, if the code right of it shows where an answer must end that goes in between:
    it closes what is open there, begins with a separator or the next part, or is a comment; else None.

    In a string it ends that, or an expression in it, which counts as code: `open("|", "w")`, `f"{|} of {b}"`.
    """
    lexis, mark = lexis_of(place.language), place.right.strip()[0]
    if state.string or state.comment:
        return _gap_in_string(place, state)
    if mark == ">":
        return state if _in_angles(place.left) else None
    if not lexis.brackets:
        value = _ATTRIBUTE.search(place.left)
        return Scan(string=mark) if value and place.right.startswith(value[1]) else None
    fits = state.brackets.endswith(CLOSERS[mark]) if mark in CLOSERS else mark not in "\"'`"
    return state if fits else None


def _in_angles(left: str) -> bool:
    for _ in range(_DEEPEST):
        left = _ANGLES.sub("", left)
    return _IN_ANGLES.search(left) is not None


def _gap_in_string(place: Place, state: Scan) -> Scan | None:
    lexis, left, right = lexis_of(place.language), place.left, place.right
    mark = dict(lexis.strings).get(state.string)
    if mark is None:
        return None  # a comment
    if right.startswith(mark):
        return state
    marks = [*re.finditer(re.escape(state.string), left)]
    begins = (match.end() for match in reversed(marks) if not scan(left[: match.start()], lexis).string)
    words = left[next(begins, 0) :]
    opened: list[int] = []
    for match in re.finditer(r"[()\[\]{}]", words):
        if match[0] not in CLOSERS:
            opened.append(match.start())
        elif opened and words[opened[-1]] == CLOSERS[match[0]]:
            opened.pop()
    if not opened or CLOSERS.get(right.strip()[0]) != words[opened[-1]]:
        return None
    # A shell has `$(…)`, Swift `\(…)`.
    expression = words[opened[-1]] == "{" or words[: opened[-1]].endswith(("$", "\\"))
    return Scan(state.brackets + "".join(words[at] for at in opened)) if expression else None


def open_at(place: Place, anchor: tuple[int, str] | None) -> tuple[Scan, str]:
    """What is open at the cursor, and the text of the statement that the cursor is in.

    The scan begins at `anchor`, an offset with the brackets that are open there; where nothing
    is known of the text, a few hundred lines above.
    """
    lexis, text = lexis_of(place.language), place.document.text
    start, brackets = anchor or (place.document.line_start(max(place.line - LOOK_BACK, 0)), "")
    line_start = place.document.line_start(place.line)
    start = min(start, line_start)
    above = text[start:line_start].replace("\r\n", "\n")
    begun, word = heredoc_around(above, place.below, lexis)
    state = scan_lines(above[:begun] if word else above, lexis, Scan(brackets))
    if word:  # It is of another language, or of none: a quote may be an apostrophe.
        state = scan_lines(above[begun:], replace(lexis, long=frozenset()), Scan(state.brackets))
    code, at = above + place.left, begun + state.statement
    state = scan(place.left, lexis, state)
    # A line end within the line there is none, so a statement begins above or with the line.
    return replace(state, statement=at, heredoc=word), code[at:]


def mode_at(place: Place, state: Scan, statement: str) -> Mode:
    """One line or several: several where a block or an open bracket begins, and on blank lines."""
    if _begins_docstring(place, state, statement) or _begins_text(place, state):
        return Mode.MULTI_LINE
    lexis = lexis_of(place.language)
    if state.comment or (state.string and not (place.blank and _has_lines(state.string, lexis))):
        return Mode.SINGLE_LINE
    if place.blank:
        return Mode.MULTI_LINE
    left, right = place.left.rstrip(), place.right.strip()
    if right:
        # The editor has closed an empty block, or an element, by itself.
        empty = (left[-1:] + right[:1] == "{}" and not lexis.indented) or (
            right.startswith("</") and opens_block(left, lexis)
        )
        return Mode.MULTI_LINE if empty and not goes_on(place) else Mode.SINGLE_LINE
    opens = left.endswith(("(", "[", "{")) or opens_block(statement if lexis.indented else left, lexis)
    return Mode.MULTI_LINE if opens else Mode.SINGLE_LINE


def indent_at(place: Place, state: Scan, statement: str) -> int:
    """Columns of the block that the completion belongs to."""
    own, lexis = columns(place.left, TAB_SIZE), lexis_of(place.language)
    if not place.blank:
        header = statement if lexis.indented else place.left
        if state.plain and not place.right.strip() and opens_block(header, lexis):
            return columns(header, TAB_SIZE) + (0 if row_of(place.language).flat else _step(place))
        return own
    above, below = place.neighbour(-1), place.neighbour(1)
    in_code = not (state.string or state.comment or (state.brackets and lexis.indented))
    if in_code and _ends_header(above, lexis):
        header = columns(above, TAB_SIZE)
        inner = columns(below, TAB_SIZE) if below else 0
        deeper = inner if inner > header else header + _step(place)
        return own if own > header else deeper
    if own or not place.document.text:
        return own
    return min(columns(above, TAB_SIZE), columns(below, TAB_SIZE) if below else 0)


def opens_block(statement: str, lexis: Lexis) -> bool:
    """Whether a statement, taken to its end, is a header that a block must follow."""
    return lexis.opens_block(statement) and (not lexis.indented or scan(statement, lexis).plain)


def _ends_header(line: str, lexis: Lexis) -> bool:
    """Whether a line above a blank one ends a header; the last line of a long signature does too."""
    code = line.strip()
    return opens_block(line, lexis) or (code.startswith((")", "]")) and code.endswith(":"))


def _begins_docstring(place: Place, state: Scan, statement: str) -> bool:
    """Whether the open string or comment documents what it stands in or above, and holds no text yet."""
    if state.string in dict(lexis_of(place.language).blocks):
        opens = ("/**", "/*!")
        return place.left.strip() in opens or (place.left.strip() == "*" and place.neighbour(-1).strip() in opens)
    if len(state.string) != 3 or re.fullmatch(r'\s*[rRuUbB]{0,2}("""|\'\'\')\s*', statement) is None:
        return False
    opening = place.document.text[: place.offset].rstrip()[:-3].rstrip(" \trRuUbB")
    above = opening[opening.rstrip().rfind("\n") + 1 :].strip()
    return not above or above.endswith(":")


def _begins_text(place: Place, state: Scan) -> bool:
    """Whether the cursor stands between the marks of a string of several lines that holds nothing yet."""
    mark, lexis = state.string, lexis_of(place.language)
    return _has_lines(mark, lexis) and place.left.endswith(mark) and place.right.startswith(dict(lexis.strings)[mark])


def _has_lines(mark: str, lexis: Lexis) -> bool:
    """Whether what such a mark opens is a string that mostly has several lines."""
    return mark in lexis.long and mark not in "\"'"


def _step(place: Place) -> int:
    near = range(max(place.line - 50, 0), min(place.line + 50, place.document.line_count))
    return block_step(map(place.text, near), TAB_SIZE)
