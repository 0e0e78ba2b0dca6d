"""What surrounds an answer, and the text of its tokens: shared by the stop and the filters."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pass_lsp.documents.languages import lexis_of
from pass_lsp.documents.scan import CLOSERS, Lexis, Scan, block_step, columns, heredoc_behind, heredoc_in, scan
from pass_lsp.domain import Context, Mode, Prompt
from pass_lsp.postprocess.texts import LINE_END, has_heredoc, has_string_end, lines_below

_BRACE_BELOW = re.compile(r"\n[^\S\n]*\{[^\S\n]*\n")
_MIXED = 8
"""Where one way of indenting has not so many times as many lines as the other, both are meant: GNU's tabs of eight."""
_COMMON_WORD = r"(?:return|pass|break|continue|else|try|finally|yield|None|True|False|end|fi|done|esac)\b"
COMMON_LINE = re.compile(rf"\s*</[^<>]*>\s*|\W*(?:{_COMMON_WORD}\W*)*")
"""Lines that may well stand several times in good code."""
ROW = re.compile(r"[^A-Za-z_]*|\s*+<([\w.:-]++)[^<>]*+(?:(?<=/)>|>[^<>\w]*+</\1>)\s*")
"""A row of numbers, or an element that tells nothing, of which an answer may have several that are the same."""
_LINK = re.compile(r"\s*(\?\.|\.|\|>|&&|\|\||[+?:](?=\s))")
_NAMES = r"\([\w\s,]*\)"
_CALLBACK = rf"(?:[\w.]+\((?:async\s+)?(?:{_NAMES}\s*=>|function\s*{_NAMES})|(?:go|defer)\s+func{_NAMES})\s*\{{$"
NAMELESS = re.compile(rf"(?![)\]}};]|\*/|</)(?:\W+$|[@<{{\[(]|#\[|template\b|{_CALLBACK})")
"""Code that a definition, an element or a callback begins with before it says which: a decorator, a comment's first
line, a tag, `useEffect(() => {`.
"""


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the answer, made once from its context.

    `state` is what is open at the cursor, `below` are the first lines below the cursor's that
    are not blank, `above` the last ones over it. `tabs` says whether the document is indented
    with tabs, None if it is not indented, or in both ways. `errors` counts the errors of syntax that a text
    makes which replaces so many characters right of the cursor; given None, those there are without the cursor's line.
    `many` says whether the answer may have several lines: by its context, or because of how it began (`begun`).
    """

    context: Context
    lexis: Lexis
    state: Scan
    below: tuple[str, ...]
    above: tuple[str, ...]
    tabs: bool | None = None
    errors: Callable[[str | None, int], int] | None = None
    many: bool = False

    @staticmethod
    def of(context: Context, errors: Callable[[str | None, int], int] | None = None) -> Frame:
        """The frame of a context."""
        state = Scan(context.brackets, context.surplus, context.string, context.comment)
        prefix = context.prefix
        lines = LINE_END.split(prefix[: len(prefix) - len(context.line_prefix)])
        above, below = [line for line in lines if line.strip()], lines_below(context)
        lexis = lexis_of(context.language)
        tabs = _tabs([*above, context.line_prefix, *below])
        many = context.mode is Mode.MULTI_LINE
        return Frame(context, lexis, state, tuple(below[:5]), tuple(above[-8:]), tabs, errors, many)

    @property
    def next_line(self) -> str:
        """The first line below the cursor's that is not blank, or ""."""
        return self.below[0] if self.below else ""

    def begun(self, text: str) -> Frame:
        """The frame of an answer that is known to begin with `text`: of several lines if its first one needs them."""
        end = head_end(text, text.index("\n"), self) if "\n" in text else None
        if self.many or end is None or not text[end:].strip():
            return self
        return replace(self, many=is_open(text, end, self))

    def behind(self, text: str) -> Frame:
        """The frame of what goes on behind `text`, as if that stood before the cursor; see `is_open`."""
        state = scan(text, self.lexis, self.state)
        whole, header = self.whole(0, text), _header(text, self, state)
        # What is indented no deeper than a header is no block of it, nor what such a line goes on with.
        deeper = bool(header) or not (scan(whole, self.lexis).brackets or _link(whole.rpartition("\n")[2]))
        indent = self.depth(header or whole) + deeper
        line_prefix = whole[whole.rfind("\n") + 1 :]
        context = replace(self.context, mode=Mode.MULTI_LINE, line_prefix=line_prefix, indent=indent)
        return replace(self, context=context, state=state, many=True)

    @property
    def in_code(self) -> bool:
        """Whether the cursor is where lines of code begin: in no string or comment, nor amid a bracketed expression."""
        state = self.state
        return not (state.string or state.comment or (state.brackets and self.lexis.indented))

    def whole(self, number: int, line: str) -> str:
        """Line `number` of the answer as it will stand in the document."""
        return line if number else self.context.line_prefix + line

    def said(self, number: int, line: str) -> str:
        """The same, but "" where the answer says nothing of it: the cursor's line is the user's own."""
        return self.whole(number, line) if line.strip() else ""

    def width(self, line: str) -> int:
        """Columns of indentation."""
        return columns(line, self.context.tab_size)

    def depth(self, line: str) -> int:
        """The same, where the dash of an item counts, which may stand right below its key (YAML)."""
        return self.width(line) + (self.lexis.indented and line.lstrip().startswith("- "))


def _tabs(lines: list[str]) -> bool | None:
    tabs = sum(line.startswith("\t") for line in lines)
    spaces = sum(line.startswith("  ") for line in lines)
    return tabs > spaces if max(tabs, spaces) > _MIXED * min(tabs, spaces) else None


_specials: weakref.WeakKeyDictionary[Any, dict[int, str]] = weakref.WeakKeyDictionary()


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Tokens that no answer may hold, by id: named ones, and added ones, which `all_special_ids` leaves out."""
    known = _specials.get(tokenizer)
    if known is None:
        added = getattr(tokenizer, "added_tokens_decoder", {}).items()
        known = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        known = _specials[tokenizer] = known | {i: token.content for i, token in added if token.special}
    return known


class Decoded:
    """The text of growing ids, decoded a token at a time; a character still incomplete is held back.

    An answer to a healed prompt first says what was cut from it; that is no part of `text`.
    """

    def __init__(self, tokenizer: Any, prompt: Prompt) -> None:
        # One token of the prompt stands before, because some tokenizers drop a first space.
        self._all = list(prompt.token_ids[-1:])
        self._tokenizer, self._from, self._read = tokenizer, 0, len(self._all)
        self.ids: list[int] = []
        self.text = ""
        self._owed = prompt.healed
        self.agrees = True
        """Whether the answer begins, as far as it goes, with what was cut."""
        self.ends: list[int] = []

    def push(self, token: int) -> None:
        """Add one id; `ends[i]` is the length of the text after `i + 1` ids."""
        self.ids.append(token)
        self._all.append(token)
        old, new = self._decode(self._all[self._from : self._read]), self._decode(self._all[self._from :])
        if not new.endswith("\ufffd"):
            self.text += self._paid(new[len(old) :])
            self._from, self._read = self._read, len(self._all)
        self.ends.append(len(self.text))

    @property
    def healed(self) -> bool:
        """Whether the answer has said all that was cut."""
        return self.agrees and not self._owed

    def _paid(self, text: str) -> str:
        """`text` without what it owes."""
        owed = self._owed
        self.agrees &= text.startswith(owed) or owed.startswith(text)
        self._owed = owed[len(text) :]
        return text[len(owed) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def heredocs(lines: Iterable[str], frame: Frame) -> Iterator[tuple[str, str, Scan, Scan]]:
    """For each line of an answer the word that ends the text which it stands in, and that which ends the one behind it;
    what is open before and behind it.
    """
    state, word = frame.state, ""
    for number, line in enumerate(lines):
        begun = state if number else Scan(string=state.string)
        next_word = heredoc_behind(frame.whole(number, line), word, frame.lexis, begun)
        next_state = state if word else scan(line + "\n", frame.lexis, state)
        yield word, next_word, state, next_state
        state, word = next_state, next_word


def missing_block(text: str, frame: Frame) -> str:
    """The indentation of the block that the header at the end of `text` lacks; "" where none is missing."""
    text = text.rstrip()
    header = _header(text, frame, scan(text, frame.lexis, frame.state))
    if not (header and frame.lexis.indented) or frame.depth(frame.next_line) > frame.depth(header):
        return ""
    context = frame.context
    deeper = frame.width(header) + block_step(LINE_END.split(context.prefix), context.tab_size)
    return "\t" * -(-deeper // context.tab_size) if frame.tabs else " " * deeper


def _header(text: str, frame: Frame, state: Scan) -> str:
    """The statement at the end of `text`, behind which `state` is, if a block must follow it; else ""."""
    header = frame.whole(text.count("\n", 0, state.statement), text[state.statement :])
    if frame.lexis.opens_block(header) and (state.plain or not frame.lexis.indented):
        return header
    if not (frame.lexis.indented and frame.state.brackets and state.plain and header.rstrip().endswith(":")):
        return ""
    # It may begin above the cursor's line, with the bracket that is open there.
    wholes = ("\n".join((*frame.above[start:], header)) for start in range(len(frame.above) - 1, -1, -1))
    return next((each for each in wholes if frame.lexis.opens_block(each) and scan(each, frame.lexis) == Scan()), "")


def head_end(text: str, end: int, frame: Frame) -> int | None:
    """Where the line of `text` that ends at `end` ends together with the brace of its block, if that stands on the line
    below; None where the next line is not known yet.
    """
    rest = text[end:].lstrip()
    if frame.state.comment or not frame.lexis.unfinished(frame.whole(0, text[:end]).rpartition("\n")[2]):
        return end
    if rest in ("", "{") and text.count("\n", end) == 1:
        return None
    return len(text) - len(rest) + 1 if _BRACE_BELOW.match(text, end) else end


def is_open(text: str, end: int, frame: Frame) -> bool:
    """Whether `text`, up to the end of a line, makes one that the document lacks the rest of: it is the header of a
    block, leaves open a bracket of its own or a text, or goes on on a deeper line. An answer of one line goes on
    behind it.
    """
    head = text[:end]
    state = scan(head, frame.lexis, frame.state)
    if state.string or state.comment or frame.context.mid_line:
        return _is_text_open(state.string, frame)
    left = frame.context.line_prefix
    outer = frame.state.brackets.removesuffix(scan(left, frame.lexis).brackets)
    open_yet = state.brackets != outer and state.brackets.startswith(outer)
    closer = frame.context.line_suffix.lstrip()[:1]
    if open_yet and state.brackets == frame.state.brackets and state.brackets[-1:] == CLOSERS.get(closer):
        return True  # all that is missing stands before the closer, and nothing of it below
    if word := heredoc_in(frame.whole(0, head).rpartition("\n")[2], frame.lexis, Scan()):
        return not has_heredoc(word, frame.context, frame.lexis)
    header = _header(head, frame, state) if head.strip() else ""
    if not (header or open_yet or _goes_on(text, end, frame)):
        return False
    below, own = frame.next_line, frame.depth(header or left)
    if frame.depth(below) != own or not below:
        return not below or frame.depth(below) < own
    # The brace that ends a `switch` is no deeper than its last `case`.
    return below.strip()[0] not in ")]}{" or (header.rstrip().endswith(":") and below.strip()[0] == "}")


def _is_text_open(mark: str, frame: Frame) -> bool:
    """Whether a string of several lines begins with the answer, or right before it, that the document has no end of."""
    context = frame.context
    begins = frame.state.string != mark or context.line_prefix.endswith(mark)
    may = begins and mark in frame.lexis.long and not context.mid_line
    return may and not has_string_end(mark, context, frame.lexis)


def _goes_on(text: str, end: int, frame: Frame) -> bool:
    """Whether the line of `text` that ends at `end` is not finished, and the next one is deeper, its next part, or a
    link more of the same chain.
    """
    line, more = frame.whole(0, text[:end]).rpartition("\n")[2], text[end + 1 :].partition("\n")[0]
    if not (frame.lexis.unfinished(line) and more.strip()):
        return False
    deeper = frame.width(more) - frame.width(line)
    link, begins_part = _link(line), frame.lexis.begins_part
    linked = _link(more) == link != "" and _link(frame.next_line) != link
    return deeper > 0 or (deeper == 0 and (linked or (begins_part(more) and not begins_part(frame.next_line))))


def _link(line: str) -> str:
    """The mark that a line of a chain begins with: `.then(…)`, `|> map(…)`, `&& a`."""
    found = _LINK.match(line)
    return found[1] if found else ""


def repeats(line: str, frame: Frame, state: Scan, behind: Sequence[str] = ()) -> bool:
    """Whether a line, before which `state` is, says what the next line of the document says, or only closes what that
    one closes.

    A line that names nothing, with what the answer says `behind` it: the next item may begin with the same decorator.
    """
    below, code = frame.next_line, line.strip()
    if not below or not code or frame.width(line) != frame.width(below):
        return False
    if len(state.brackets) > len(frame.state.brackets) and CLOSERS.get(code[0]) == state.brackets[-1]:
        return False  # it closes what the answer has opened: a namespace may be no less deep than what it holds
    if code != below.strip():
        return not code.strip(")]},;") and below.strip().startswith(code)
    more = zip(filter(str.strip, behind), frame.below[1:], strict=False)
    another = any(mine.strip() != theirs.strip() for mine, theirs in more)
    return not another or frame.state.string != "" or NAMELESS.match(code) is None
