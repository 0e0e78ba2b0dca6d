"""When to stop decoding: at the first newline, or where complete lines show that the block has ended."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from pass_lsp.documents.scan import CLOSERS, Scan, heredoc_behind
from pass_lsp.domain import Context, Mode, Prompt
from pass_lsp.postprocess.cycle import cycle_in
from pass_lsp.postprocess.frame import (
    COMMON_LINE,
    NAMELESS,
    ROW,
    Decoded,
    Frame,
    head_end,
    heredocs,
    is_open,
    missing_block,
    repeats,
    special_tokens,
)
from pass_lsp.postprocess.midline import place_end
from pass_lsp.postprocess.texts import has_heredoc, has_heredoc_end

_MAX_LINES = 12
"""Of what is said again, if it is to be noticed."""


class Stop:
    """Says after how many tokens an answer is over: call it with all committed ids, get that number or None.

    An answer of one line, where the context asks for one, is `cut_off` after `line_tokens`.
    """

    def __init__(self, context: Context, prompt: Prompt, tokenizer: Any, line_tokens: float = math.inf) -> None:
        self.frame, self._prompt, self._tokenizer = Frame.of(context), prompt, tokenizer
        self._longest = line_tokens if context.mode is Mode.SINGLE_LINE else math.inf
        self._special = frozenset((*special_tokens(tokenizer), *prompt.stop_ids))
        self._decoded, self._keep = Decoded(tokenizer, prompt), None
        self._ids_per_token = getattr(tokenizer, "ids_per_token", 1)

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._decoded.text

    def __call__(self, token_ids: Sequence[int]) -> int | None:
        """The number of ids to keep, or None to go on."""
        seen = self._decoded.ids
        if list(token_ids[: len(seen)]) != seen:
            self._decoded, self._keep = Decoded(self._tokenizer, self._prompt), None
        for token in token_ids[len(self._decoded.ids) :] if self._keep is None else ():
            self._keep = self._after(token)
            if self._keep is not None:
                break
        return self._keep

    @property
    def cut_off(self) -> bool:
        """Whether the line had become too long."""
        return self._keep == len(self._decoded.ids) >= self._longest

    @property
    def block(self) -> str:
        """The indentation of the block that the answer so far lacks, if it has not ended by this rule; else ""."""
        text, frame = self._decoded.text, self.frame
        open_yet = self._keep is None and self._decoded.healed and (frame.many or is_open(text, len(text), frame))
        return missing_block(text, frame) if open_yet else ""

    @property
    def healed(self) -> bool:
        """Whether the answer began with what was cut from the prompt (True where nothing was)."""
        return self._decoded.healed

    def _after(self, token: int) -> int | None:
        decoded, length = self._decoded, len(self._decoded.text)
        decoded.push(token)
        if token in self._special:
            return len(decoded.ids) - 1
        if not decoded.agrees:
            return 0
        cut = None
        more = decoded.text[length:]
        if "\n" in more or "\r" in more or (more and self.frame.context.mid_line):
            cut = answer_end(decoded.text, self.frame)
        if cut is None:
            too_long = len(decoded.ids) >= self._longest and "\n" not in decoded.text
            return len(decoded.ids) if too_long else cycle_in(decoded, self._ids_per_token)
        # Where nothing would be left, what there is stays, for `finish` to tell the reason from.
        nothing = not decoded.text[:cut].strip()
        return len(decoded.ids) if nothing and self.frame.many else bisect_left([0, *decoded.ends], cut)


def answer_end(text: str, frame: Frame) -> int | None:
    """Where the complete lines of `text` show that the answer has ended, else None."""
    if frame.context.mid_line:
        return place_end(text, frame)
    if frame.context.mode is Mode.MULTI_LINE:
        end = _Block(frame).end(text)
    else:
        match = re.search(r"[\r\n]", text)
        end = match.start() if match else None
    if end is None or text[end : end + 1] != "\n":
        return end
    head = head_end(text, end, frame)
    if head is None:
        return None
    if not is_open(text, head, frame):
        return end
    rest = answer_end(text[head:], frame.behind(text[:head]))
    return None if rest is None else head + rest


class _Block:
    """Follows the complete lines of an answer until one of them shows that the block has ended."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._state = frame, frame.state
        self._indent = frame.context.indent
        self._first = True
        self._ended = False
        self._defined: int | None = None
        self._bodied = False
        self._blanks: list[int] = []
        self._lines: list[str] = []
        self._said: list[tuple[str, int]] = []
        self._above = ""

    def end(self, text: str) -> int | None:
        """The offset of the end, or None if it is not shown yet."""
        at, self._lines = 0, text.split("\n")[:-1]
        texts = heredocs(self._lines, self._frame)
        for number, (line, (word, behind, before, after)) in enumerate(zip(self._lines, texts, strict=True)):
            self._state = before
            whole = self._frame.whole(number, line)
            if word:
                cut = at if not behind and self._repeats(number, line) else None
            else:
                cut = self._line(number, line, at) if whole.strip() else self._blank(at)
            if cut is not None:
                return cut
            self._state = after
            if self._closed() or (behind and not word and has_heredoc(behind, self._frame.context, self._frame.lexis)):
                return at + len(line)
            at += len(line) + 1
        return None

    def _blank(self, at: int) -> int | None:
        if self._state.string:
            return None
        self._blanks.append(at)
        return self._blanks[-2] if len(self._blanks) == 2 and self._said else None

    def _line(self, number: int, line: str, at: int) -> int | None:
        self._blanks, whole = [], self._frame.whole(number, line)
        self._said.append((whole.rstrip(), at))
        if (again := self._again()) is not None:
            return again
        lexis, code, above = self._frame.lexis, whole.strip(), self._above
        self._above = code
        if self._repeats(number, line) or (code == above and lexis.indented and lexis.opens_block(code)):
            return at
        inside = len(self._state.brackets) > len(self._frame.state.brackets)
        self._bodied |= inside and self._defined is not None
        if inside or self._state.string or (number == 0 and self._frame.context.line_prefix.strip()):
            return None
        return self._in_heredoc(whole, at) if self._frame.context.heredoc else self._outside(number, whole, at)

    def _again(self) -> int | None:
        """Where the answer begins to say lines again that stand right above them, blank ones apart. Good code may say
        one line twice (`if err != nil {`), and rows of data; those of numbers ever again.
        """
        frame, said = self._frame, [line for line, _ in self._said]
        data = not {"(", "["}.isdisjoint(self._state.brackets)
        for count in range(1, min(_MAX_LINES, len(said) // 2) + 1):
            turn = said[-count:]
            if said[-2 * count : -count] != turn:
                continue
            telling = sum(not (COMMON_LINE.fullmatch(line) or ROW.fullmatch(line)) for line in set(turn))
            times = 2 if telling > 1 and not data else 3
            if not telling or said[-count * times :] != turn * times:
                continue
            # Not in the middle of a statement, where a turn seems to begin if what stands above it ends alike.
            outermost = [line for line in turn if frame.width(line) <= min(map(frame.width, turn))]
            parts = list(map(frame.lexis.begins_part, outermost))
            if turn[0] is outermost[0] and (not parts[0] or all(parts)):
                return self._said[-count * (times - 1)][1]
        return None

    def _repeats(self, number: int, line: str) -> bool:
        """Whether the document goes on with this line, as far as the lines behind it tell already."""
        said, behind = self._frame.said(number, line), list(filter(str.strip, self._lines[number + 1 :]))
        known = len(behind) + 1 >= len(self._frame.below) or not NAMELESS.match(line.strip())
        return known and repeats(said, self._frame, self._state, behind)

    def _in_heredoc(self, whole: str, at: int) -> int | None:
        """The end of the text that the cursor is in: behind its last line, or before it, if the document has that."""
        context, lexis = self._frame.context, self._frame.lexis
        if heredoc_behind(whole, context.heredoc, lexis, Scan()):
            return None
        self._ended = True
        return at if has_heredoc_end(context, lexis) else None

    def _outside(self, number: int, whole: str, at: int) -> int | None:
        """The end before a line that lies outside the block: less indented, or next to a finished definition."""
        width, header = self._frame.depth(whole), self._frame.context.line_prefix
        if self._first and (number == 0 or (header.strip() and width > self._frame.depth(header))):
            # The answer's own step of indentation counts, where it opens the block.
            self._indent = min(self._indent, width)
        self._first = False
        part = header.strip() and width == self._frame.depth(header) and self._frame.lexis.begins_part(whole)
        if width < self._indent and not part and not self._frame.lexis.is_outdented(whole):
            if not self._closes(whole):
                return at
            self._ended = self._frame.lexis.closes_block(whole)
        return at if self._behind_definition(width, whole) else None

    def _behind_definition(self, width: int, whole: str) -> bool:
        """Whether the answer has defined something, and a line is not of that: one definition is enough."""
        lexis = self._frame.lexis
        if self._defined is None:
            self._defined = width if lexis.defines_at(whole) else None
            return False
        if width > self._defined or (lexis.begins_part(whole) and not lexis.indented):
            return False
        if lexis.closes_block(whole):
            self._bodied = True
            return False
        return lexis.indented or self._bodied

    def _closes(self, whole: str) -> bool:
        """Whether a line ends the block as a line of the block should."""
        opener, frame = CLOSERS.get(whole.strip()[0]), self._frame
        if opener is not None:
            return self._state.brackets.endswith(opener)
        # The document may have the word that ends the block already.
        below = frame.next_line
        word = re.match(re.escape(whole.split()[0]) + r"(?!\w)", below.strip())
        has = word is not None and frame.width(below) == frame.width(whole)
        return frame.lexis.closes_block(whole) and not has

    def _closed(self) -> bool:
        """Whether a bracket, string or block that was open at the cursor has been closed."""
        before = self._frame.state
        if self._ended:
            return True
        return len(self._state.brackets) < len(before.brackets) or bool(before.string and not self._state.string)
