"""What stands right of the cursor and is said again by the answer, which then replaces it (complaints 5, 13)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pass_lsp.documents.scan import CLOSERS, Scan, scan, scan_lines
from pass_lsp.postprocess.frame import Frame

_OPENERS = {**CLOSERS, ">": "<"}
_QUOTES, _BETWEEN = "\"'`", " :,;{"
_END = re.compile(r"\s*(</([\w.:-]*)>|\*/|-->|/>|[?%][>}])")
"""An end tag, and what it ends; the end of a comment, of a tag, and of what a template says."""
_MOST = 8
"""More closers than that stand right of no cursor."""


def overlap(text: str, frame: Frame) -> int:
    """How many characters right of the cursor the text replaces, because it contains them.

    The fewest that leave brackets and quotes as the user left them.
    """
    rest = frame.context.line_suffix
    if frame.context.mid_line:
        return 0
    if not rest.strip() or again_at(text, rest) >= 0:
        return len(rest)
    cut = next(_same_brackets(text, frame), None)
    if cut is None:
        cut = next(_closing(text, frame), 0)
    elif cut and _closes_the_line(text + rest, frame):
        # Lines below may close what this one has opened.
        cut = cut if frame.errors is not None and frame.errors(text, cut) < frame.errors(text, 0) else 0
    cut = max(cut, ends_said(text, rest))
    cut += ends_said(text, rest[cut:])
    cut += _uncounted(text.rstrip(), rest[cut:], frame)
    mark = rest[cut:].lstrip()[:1]
    first = text.partition("\n")[0].rstrip()
    header = mark == ":" and frame.lexis.opens_block(frame.whole(0, first))
    if mark and mark in ":,;{" and (text.rstrip().endswith(mark) or (header and first.endswith(mark))):
        cut = rest.index(mark, cut) + 1
    return cut


def fits(text: str, frame: Frame) -> bool:
    """Whether brackets and quotes are left as the user left them, or the line is closed by the text."""
    return any(True for cuts in (_closing, _same_brackets) for _ in cuts(text, frame))


def _same_brackets(text: str, frame: Frame) -> Iterator[int]:
    """How many characters right of the cursor may go for `text` so that as much is open as before, the fewest first."""
    rest = frame.context.line_suffix
    left = _open_after(rest, frame)
    return (cut for cut in _cuts(text, frame) if _open_after(text + rest[cut:], frame) == left)


def _closing(text: str, frame: Frame) -> Iterator[int]:
    """How many may go so that the line is closed, which it was not before."""
    rest = frame.context.line_suffix
    return (cut for cut in _cuts(text, frame) if _closes_the_line(text + rest[cut:], frame))


def _cuts(text: str, frame: Frame) -> Iterable[int]:
    """How many characters right of the cursor might go. A run of quotes is one mark, which goes whole or not at all;
    behind a comment that `text` ends with nothing can stay.
    """
    rest = frame.context.line_suffix
    if frame.context.mid_line:
        return [0]
    if not frame.state.comment and scan(text, frame.lexis, frame.state).comment:
        return [len(rest)]
    return [cut for cut in range(len(rest) + 1) if rest[max(cut - 1, 0) : cut + 1] not in ('""', "''")]


def _open_after(text: str, frame: Frame) -> tuple[str, str, str]:
    state = scan(text, frame.lexis, frame.state)
    return state.brackets, state.surplus, state.string


def _closes_the_line(text: str, frame: Frame) -> bool:
    """Whether `text` closes what the cursor's line has opened, and leaves open what the lines below close."""
    opened = scan(frame.context.line_prefix, frame.lexis, Scan()).brackets
    brackets, surplus, string = _open_after(text, frame)
    closes = brackets == frame.state.brackets.removesuffix(opened) and not surplus and not string
    return closes and not is_whole(frame)


def is_whole(frame: Frame) -> bool:
    """Whether what follows the cursor closes all that is open there, so that an answer need close nothing."""
    after = scan_lines(frame.context.suffix, frame.lexis, frame.state)
    return not (after.brackets or after.surplus or after.string)


def _uncounted(text: str, rest: str, frame: Frame) -> int:
    """How many closers `rest` begins with, and a mark behind them, that `text` ends with and did not open, where
    the lexer counts none: in strings and comments, and marks that the language has not. A single one may stand
    anywhere in `text`.
    """
    for count in range(min(len(rest), len(text), _MOST), 0, -1):
        closers = [mark for mark in rest[:count] if mark not in _BETWEEN] or rest[:count]
        if text.endswith(rest[:count]) and all(
            _is_uncounted(mark, frame) and _not_opened(mark, text) for mark in closers
        ):
            return count
    closer = rest[:1]
    return int(closer in _OPENERS and _is_uncounted(closer, frame) and _not_opened(closer, text))


def again_at(text: str, rest: str) -> int:
    """Where `text` says all of `rest`, which ends a tag and its element (`"></td>`) or what stands in it; else -1."""
    said = rest.strip()
    return text.find(said) if "</" in said and not said.startswith("</") else -1


def ends_said(text: str, rest: str) -> int:
    """How many characters of `rest` are end tags, or ends of comments, that `text` says and did not begin."""
    at = 0
    while (end := _END.match(rest, at)) is not None:
        if text.count(end[1]) <= len(re.findall(_begins(end), text)):
            break
        at = end.end()
    return at


def _begins(end: re.Match[str]) -> str:
    """The pattern of what an end ends, where that may stand in an answer, too."""
    if end[1] == "/>":
        return "<[A-Za-z]"
    return rf"<{re.escape(end[2])}(?![\w.:/-])" if end[2] is not None else "(?!)"


def _is_uncounted(mark: str, frame: Frame) -> bool:
    if mark not in _OPENERS and mark not in _QUOTES:
        return False
    state, strings = frame.state, dict(frame.lexis.strings)
    if state.string or state.comment:
        return mark not in strings.get(state.string, state.string)
    return mark == ">" or (mark not in strings if mark in _QUOTES else not frame.lexis.brackets)


def _not_opened(mark: str, text: str) -> bool:
    opener = _OPENERS.get(mark)
    if mark == ">":
        text = text.replace("=>", "").replace("->", "")
    return text.count(opener) < text.count(mark) if opener else text.count(mark) % 2 == 1
