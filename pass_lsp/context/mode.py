"""Where the cursor stands: how much may be suggested there, and how deep the block is that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import Scan, columns, indentation, lexis_of, scan
from pass_lsp.domain import Mode, Reason

_RIGHT_OK = re.compile(r"""^\s*[)>}\]"'`]*\s*[:{;,]?\s*$""")
"""What may stand right of the cursor: closers and a last mark of punctuation."""
_WORD = re.compile(r"\w")
_DEFINITION = re.compile(r"^[ \t]*(?:async[ \t]+def|def|class)\b")
_LOOK_BACK = 400
"""Lines above the cursor that are scanned for what is still open."""
TAB_SIZE = 4

IsCode = Callable[[int], bool]
"""Whether the first word of a line is code to the parser, not part of a string."""


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
        while 0 <= line < self.document.line_count and abs(line - self.line) <= _LOOK_BACK:
            text = self.text(line)
            if text.strip():
                return text
            line += step
        return ""

    def lead(self) -> str:
        """The white space that a line here begins with if it goes on with what stands above."""
        above = self.neighbour(-1)
        deeper = _ends_header(above, self.language)
        return indentation(above) + (("\t" if above.startswith("\t") else "    ") if deeper else "")


def unfit(place: Place) -> Reason | None:
    """Why nothing belongs at the cursor, judged by what stands beside it; None if something may."""
    if not place.document.text.strip():
        return Reason.NO_CONTEXT
    if _WORD.match(place.left[-1:]) and _WORD.match(place.right[:1]):
        return Reason.MID_WORD
    return None if _RIGHT_OK.match(place.right) else Reason.MID_LINE


def open_at(place: Place, is_code: IsCode | None) -> tuple[Scan, str]:
    """What is open at the cursor, and the text of the statement that the cursor is in.

    The scan begins at the nearest definition that the parser takes for code, because no
    bracket or string reaches over one.
    """
    first = max(place.line - _LOOK_BACK, 0)
    for line in range(place.line - 1, first, -1) if is_code else ():
        if _DEFINITION.match(place.text(line)) and is_code and is_code(line):
            first = line
            break
    text = place.document.text[place.document.line_start(first) : place.offset].replace("\r\n", "\n")
    state = scan(text, place.language)
    return state, text[state.statement :]


def mode_at(place: Place, state: Scan, statement: str) -> Mode:
    """One line or several: several where a block or an open bracket begins, and on blank lines."""
    if state.string and len(state.string) == 3 and _begins_docstring(place, statement):
        return Mode.MULTI_LINE
    if state.string or state.comment:
        return Mode.SINGLE_LINE
    if place.blank:
        return Mode.MULTI_LINE
    if place.right.strip():
        return Mode.SINGLE_LINE
    opens = place.left.rstrip().endswith(("(", "[", "{")) or opens_block(statement, place.language)
    return Mode.MULTI_LINE if opens else Mode.SINGLE_LINE


def indent_at(place: Place, state: Scan, statement: str) -> int:
    """Columns of the block that the completion belongs to."""
    own = columns(place.left, TAB_SIZE)
    if not place.blank:
        if state.plain and not place.right.strip() and opens_block(statement, place.language):
            return columns(statement, TAB_SIZE) + _step(place)
        return own
    above, below = place.neighbour(-1), place.neighbour(1)
    in_code = not (state.string or state.comment or (state.brackets and lexis_of(place.language).openers))
    if in_code and _ends_header(above, place.language):
        header = columns(above, TAB_SIZE)
        inner = columns(below, TAB_SIZE) if below else 0
        deeper = inner if inner > header else header + _step(place)
        return own if own > header else deeper
    if own or not place.document.text:
        return own
    return min(columns(above, TAB_SIZE), columns(below, TAB_SIZE) if below else 0)


def opens_block(statement: str, language: str) -> bool:
    """Whether a statement, taken to its end, is a header that a block must follow."""
    lexis = lexis_of(language)
    code = statement.strip()
    if not (lexis.openers and code.endswith(":")):
        return False
    word = re.match(r"\w+", code)
    return bool(word and word.group() in lexis.openers) and scan(statement, language).plain


def _ends_header(line: str, language: str) -> bool:
    """Whether a line above a blank one ends a header; the last line of a long signature does too."""
    lexis = lexis_of(language)
    code = line.strip()
    if not lexis.openers:
        return code.endswith(("{", ":"))
    return opens_block(line, language) or (code.startswith((")", "]")) and code.endswith(":"))


def _begins_docstring(place: Place, statement: str) -> bool:
    """Whether the open string begins a block and holds nothing but white space yet."""
    if re.fullmatch(r'\s*[rRuUbB]{0,2}("""|\'\'\')\s*', statement) is None:
        return False
    opening = place.document.text[: place.offset].rstrip()[:-3].rstrip(" \trRuUbB")
    above = opening[opening.rstrip().rfind("\n") + 1 :].strip()
    return not above or above.endswith(":")


def _step(place: Place) -> int:
    """How much deeper a block is indented here: the first step found near the cursor, else four columns."""
    last = ""
    for line in range(max(place.line - 50, 0), min(place.line + 50, place.document.line_count)):
        text = place.text(line)
        if not text.strip():
            continue
        deeper = columns(text, TAB_SIZE) - columns(last, TAB_SIZE)
        if last.rstrip().endswith((":", "{")) and 0 < deeper <= 8:
            return deeper
        last = text
    return TAB_SIZE
