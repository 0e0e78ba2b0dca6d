"""`Suggestion`: answers for one place, known again by the text around it.

The place is the text before and after the cursor, some hundred characters of each, and
no line number: scrolling, and edits elsewhere, leave it what it is. Typing along moves
the cursor into the answer; what is left of it is the answer there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pass_lsp.documents.document import Document
from pass_lsp.domain import Completion
from pass_lsp.reasons import Reason

BEFORE, AFTER = 512, 96
"""Characters on each side of the cursor that must be the same."""
_CLOSERS = frozenset(")]}>\"'`")
"""What editors put right of the cursor by themselves."""
_BELOW = re.compile(r"(?:\r?\n[ \t]*[)\]}]+)+$")
"""Those that Enter has put on lines of their own."""
_BELOW_FIRST = re.compile(r"\r?\n[ \t]*.")
_MOST_CLOSERS = 64


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Answers for the place between `before` and `over + after`, each to be inserted in place of `over`.

    A text of fewer than `BEFORE` or `AFTER` characters reaches to that end of the document.
    Without `texts`, `reason` says why there is none, for the very document whose text has the hash `said_of`: what is
    wrong may stand far away, and be mended there. `log_prob` is that of the first text, which is not `whole` where it
    was cut off: there was no time for more, or no room.
    """

    before: str
    over: str
    after: str
    texts: tuple[str, ...] = ()
    reason: Reason | None = None
    log_prob: float | None = None
    whole: bool = True
    said_of: int = 0

    @property
    def place(self) -> tuple[str, str, str]:
        """What makes two suggestions one for the same place."""
        return self.before, self.over, self.after

    def at(self, document: Document, offset: int) -> tuple[Completion, ...]:
        """What is left of the answers at `offset`, if the text there leads along them."""
        found: list[Completion] = []
        for typed, right in self._ways(document.text, offset):
            for text in self.texts:
                if (left := _left_of(text, typed, right, self.over)) is not None:
                    log_prob = self.log_prob if text is self.texts[0] else None
                    found.append(Completion(left[0], offset, offset + left[1], log_prob=log_prob))
            if found:
                break
        return tuple(found)

    def typed(self, document: Document, offset: int) -> list[str]:
        """What may have been typed from this place to `offset`; empty if `offset` does not lie behind it."""
        return [typed for typed, _ in self._ways(document.text, offset)]

    def is_at(self, document: Document, offset: int) -> bool:
        """Whether `offset` is the very place."""
        return any(not typed and right == self.over for typed, right in self._ways(document.text, offset))

    def is_nothing(self, document: Document, offset: int) -> bool:
        """Whether `reason` says why there is nothing at `offset`."""
        return self.reason is not None and self.is_at(document, offset) and self.said_of == hash(document.text)

    def _ways(self, text: str, offset: int) -> list[tuple[str, str]]:
        """(typed since, what now stands between the cursor and `after`), longest typed last."""
        right = self._right(text, offset)
        if right is None:
            return []
        return [(text[start:offset], right) for start in self._starts(text, offset)]

    def _starts(self, text: str, offset: int) -> list[int]:
        """Where the place may have been: every end of `before` not too far left of `offset`."""
        if len(self.before) < BEFORE:
            return [len(self.before)] if len(self.before) <= offset and text.startswith(self.before) else []
        lowest = max(0, offset - BEFORE - max(map(len, self.texts), default=BEFORE))
        starts, at = [], text.rfind(self.before, lowest, offset)
        while at >= 0:
            starts.append(at + BEFORE)
            at = text.rfind(self.before, lowest, at + BEFORE - 1)
        return starts

    def _right(self, text: str, offset: int) -> str | None:
        """What stands between `offset` and `after`: `over`, or what the editor and the user made of it."""
        if len(self.after) < AFTER:
            at = len(text) - len(self.after)
            found = at if at >= offset and text.endswith(self.after) else -1
        else:
            found = text.find(self.after, offset, offset + len(self.over) + _MOST_CLOSERS + AFTER)
        if not 0 <= found - offset <= len(self.over) + _MOST_CLOSERS:
            return None
        right = text[offset:found]
        line = _BELOW.sub("", right)
        return None if "\n" in line or "\r" in line or not _CLOSERS.union(self.over).issuperset(line) else right


def suggestion_at(
    document: Document, offset: int, completions: Sequence[Completion] = (), reason: Reason | None = None
) -> Suggestion:
    """What to remember of the answers to a request at `offset`; those that change text left of it are left out."""
    text = document.text
    fit = [answer for answer in completions if text[answer.start : offset] == answer.text[: offset - answer.start]]
    end = fit[0].end if fit else offset
    texts = tuple(dict.fromkeys(answer.text[offset - answer.start :] for answer in fit if answer.end == end))
    before, over, after = text[max(0, offset - BEFORE) : offset], text[offset:end], text[end : end + AFTER]
    first = fit[0] if fit else Completion("", offset, offset)
    whole = first.generation is None or first.generation.finish != "length"
    return Suggestion(before, over, after, texts, reason, first.log_prob, whole, hash(text) if reason else 0)


def agree(committed: str, typed: str) -> bool:
    """Whether `committed` may go on as `typed` did, as far as both are known."""
    return committed.startswith(typed) or typed.startswith(committed)


def _left_of(text: str, typed: str, right: str, over: str) -> tuple[str, int] | None:
    """What is left of an answer behind `typed`, and how much of `right` goes for it; None where nothing is."""
    if not text.startswith(typed):
        return None
    rest, line = text[len(typed) :], _BELOW.sub("", right)
    if below := _BELOW_FIRST.match(right, len(line)):  # it stays, and the answer ends before it
        rest = rest[: max(0, rest.find(below.group()))]
    end = _end(rest, line, over) if rest.strip() else None
    return None if end is None else (rest, end)


def _end(rest: str, right: str, over: str) -> int | None:
    """How much of `right` goes when `rest` is inserted: all that `rest` says again. None: they do not fit."""
    if not right.strip():
        return len(right)
    if _within(right.strip(), rest):
        return len(right)
    # Brackets that the editor closed, and that the answer leaves open, stay where they are.
    return 0 if right != over and not set(right) & set(rest) else None


def _within(short: str, long: str) -> bool:
    """Whether the characters of `short` come in `long`, in their order."""
    rest = iter(long)
    return all(character in rest for character in short)
