"""A family as one tokenizer spells it, and user text as ids that are none of its special ones.

A marker counts only if it encodes to exactly one id that decodes back to it. Text of the
user's that spells a marker is encoded in pieces, so that it never becomes one.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pass_lsp.prompt.families import FAMILIES, LEFT_TO_RIGHT, SLOTS, Family, Files

_CAUTION = 0.92
"""Of the characters that a token holds in code of ours; what is over is cut."""


@dataclass(frozen=True, slots=True)
class Template:
    """Ids for markers, slots as they are, and the ids that end an answer."""

    family: Family
    files: Files | None
    ids: dict[str, int]
    bos: tuple[int, ...]
    stop_ids: tuple[int, ...]
    special_ids: frozenset[int]
    specials: re.Pattern[str] | None
    """Finds texts in a user's file that the tokenizer would take for special tokens."""
    characters_per_token: float
    """In code, on the safe side."""

    @property
    def name(self) -> str:
        """The family's name, for status and `doctor`."""
        return self.family.name

    @property
    def parts(self) -> tuple[int | str, ...]:
        """The layout, with ids for its markers."""
        return tuple(part if part in SLOTS else self.ids[part] for part in self.family.layout)


def encode(tokenizer: Any, template: Template, text: str, *, glue: bool = False) -> list[int]:
    """Ids of a user's text, none of which is special.

    `glue` says that it follows other text, so that a tokenizer which begins a text with a
    space must not do so.
    """
    tokens: list[int] = []
    for number, piece in enumerate(_pieces(clean(text), template.specials)):
        joined = (glue or number) and template.family.glued
        tokens += _glued(tokenizer, piece) if joined else ids_of(tokenizer, piece)
    special = template.special_ids
    return tokens if special.isdisjoint(tokens) else [i for i in tokens if i not in special]


_templates: weakref.WeakKeyDictionary[Any, Template] = weakref.WeakKeyDictionary()


def template_for(tokenizer: Any) -> Template:
    """The FIM template that fits this tokenizer, left to right if none does; remembered for each tokenizer."""
    try:
        known = _templates.get(tokenizer)
    except TypeError:
        return _template(tokenizer)
    if known is None:
        known = _templates[tokenizer] = _template(tokenizer)
    return known


def _template(tokenizer: Any) -> Template:
    # One that stands in for a server's tokenizer says what it spells.
    family = getattr(tokenizer, "family", None) or next(
        (row for row in FAMILIES if _speaks(tokenizer, row)), LEFT_TO_RIGHT
    )
    files = family.files if family.files and _knows(tokenizer, family.files.markers) else None
    wanted = (*family.stops, *family.markers, *(files.markers if files else ()))
    ids = {text: i for text in wanted if (i := marker_id(tokenizer, text)) is not None}
    specials = _specials(tokenizer)
    texts = {*ids, *specials.values()}
    # A token of one character cannot be split, and the guard in `encode` drops it.
    texts = sorted((text for text in texts if len(text) > 1), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, texts))) if texts else None
    stops = tuple(dict.fromkeys(ids.values()))
    special = frozenset((*specials, *stops))
    return Template(family, files, ids, _bos(tokenizer), stops, special, pattern, _density(tokenizer))


def _density(tokenizer: Any) -> float:
    sample = Path(__file__).read_text("utf-8")
    return _CAUTION * len(sample) / max(len(ids_of(tokenizer, sample)), 1)


def _speaks(tokenizer: Any, family: Family) -> bool:
    return _knows(tokenizer, (*family.markers, *family.needs))


def _knows(tokenizer: Any, markers: tuple[str, ...]) -> bool:
    return all(marker_id(tokenizer, text) is not None for text in markers)


def marker_id(tokenizer: Any, marker: str) -> int | None:
    """The id of `marker` if the tokenizer knows it as exactly one token that decodes back, else None."""
    ids = ids_of(tokenizer, marker)
    if len(ids) != 1 or ids[0] == getattr(tokenizer, "unk_token_id", None):
        return None
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return ids[0] if text.replace("▁", " ").strip() == marker.replace("▁", " ").strip() else None


def clean(text: str) -> str:
    """Text as models know it: `\\n` ends lines, and lone surrogates, which no tokenizer takes, are replaced."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def ids_of(tokenizer: Any, text: str, *, special: bool = False) -> list[int]:
    """Plain ids of a text."""
    # Not verbose: a long text is cut later, so the tokenizer's warning about its length would mislead.
    return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]) if text else []


def _specials(tokenizer: Any) -> dict[int, str]:
    """Special tokens by id: named ones, and added ones, which `all_special_ids` leaves out."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).items()
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return named | {i: token.content for i, token in added if token.special}


def _bos(tokenizer: Any) -> tuple[int, ...]:
    """The ids that the tokenizer itself puts before a text."""
    bare, full = ids_of(tokenizer, "a"), ids_of(tokenizer, "a", special=True)
    for at in range(len(full) - len(bare) + 1):
        if full[at : at + len(bare)] == bare:
            return tuple(full[:at])
    return ()


def _pieces(text: str, specials: re.Pattern[str] | None) -> Iterator[str]:
    """The text, cut after the first character of everything that looks like a special token."""
    start, match = 0, specials.search(text) if specials else None
    while match and specials:
        cut = match.start() + 1
        yield text[start:cut]
        start, match = cut, specials.search(text, cut)
    if start < len(text):
        yield text[start:]


def _glued(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text without the space that some tokenizers put before it: encoded behind a line end, cut off again."""
    head = ids_of(tokenizer, "\n")
    ids = ids_of(tokenizer, "\n" + text)
    return ids[len(head) :] if ids[: len(head)] == head else ids_of(tokenizer, text)
