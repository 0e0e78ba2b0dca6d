"""Stands in for the tokenizer of a server that keeps its own: an id is a character, or a marker of the family.

So prompts are made, answers stopped and filtered as for a model of this process. Only here
markers and a user's text become one string again, which the server's tokenizer reads with
its markers in it; therefore whatever the user wrote that looks like a marker is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from pass_lsp.errors import ConfigError
from pass_lsp.prompt.families import FAMILIES, LEFT_TO_RIGHT, SPELT_THERE, Family

_FIRST_MARKER = 0x110000
"""Behind the last character of Unicode."""
_ANY_MARKER = r"<[|｜][\w▁ -]{1,40}[|｜]>|<\[?fim[-_]\w{1,10}\]?>"
"""Also of other families: a server that fills in by itself has a model of its own, and names tell not all."""
_WRITTEN = {"▁<PRE>": "<PRE> ", "▁<SUF>": " <SUF>", "▁<MID>": " <MID>", "▁<EOT>": "<EOT>"}
"""As their models' authors write them, where that is not the token's own text."""
_SNAPSHOT = re.compile(r"/snapshots/\w+/?$")
"""Below a model's folder in the Hugging Face cache."""
_NO_TEXT = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0e-\x1f\x7f]")


def family_of(model: str) -> Family:
    """The family that a model belongs to by its name, left to right if by none.

    `model` holds names and paths with spaces between. Of a path what is nearest to its end says more, and
    only the file and its folder say anything: those above are the user's, and may be called `pass-lsp`.
    """
    paths = [re.split(r"[/\\]", _SNAPSHOT.sub("", path)) for path in model.lower().split()]
    names = [parts[-depth:][0] for depth in (1, 2) for parts in paths]
    rows = (row for name in names for row in FAMILIES if row.named and re.search(row.named, name))
    return next(rows, LEFT_TO_RIGHT)


def family_named(name: str) -> Family:
    """The family of that name, as a setting spells it. Raises `ConfigError`."""
    rows = (*FAMILIES, SPELT_THERE, LEFT_TO_RIGHT)
    found = next((row for row in rows if row.name == name), None)
    if found is None:
        names = ", ".join(dict.fromkeys(row.name for row in rows))
        raise ConfigError(f"Unknown template {name!r}; use auto or one of {names}.")
    return found


class TextTokenizer:
    """What `prompt` and `postprocess` ask of a transformers tokenizer, for one family."""

    ids_per_token = 3
    """Of a model's own tokens: in code they hold three characters and more."""
    unk_token_id = None

    def __init__(self, family: Family) -> None:
        self.family = family
        files = family.files.markers if family.files else ()
        self._markers = list(dict.fromkeys((*family.markers, *family.stops, *family.needs, *files)))
        self._ids = {marker: _FIRST_MARKER + number for number, marker in enumerate(self._markers)}
        self.all_special_ids = list(self._ids.values())
        self.all_special_tokens = list(self._markers)
        self.added_tokens_decoder: dict[int, Any] = {}
        written = sorted((self.written(marker).strip() for marker in self._markers), key=len, reverse=True)
        self._foreign = re.compile("|".join([*map(re.escape, written), _ANY_MARKER]))

    def __call__(self, text: str, add_special_tokens: bool = False, verbose: bool = False) -> dict[str, list[int]]:
        """Ids of a text; a marker alone is one id. What begins a prompt is the server's to add."""
        known = self._ids.get(text)
        return {"input_ids": list(map(ord, text)) if known is None else [known]}

    def __len__(self) -> int:
        return _FIRST_MARKER + len(self._markers)

    def decode(self, ids: Iterable[int], **_: Any) -> str:
        """The text of ids, markers by their names."""
        return "".join(map(self.convert_ids_to_tokens, ids))

    def convert_ids_to_tokens(self, number: int) -> str:
        """The character or marker of an id."""
        return chr(number) if number < _FIRST_MARKER else self._markers[number - _FIRST_MARKER]

    def get_vocab(self) -> dict[str, int]:
        """Nothing: no token is longer than a character, so that no text ends inside one."""
        return {}

    def written(self, marker: str) -> str:
        """A marker as the server's tokenizer wants to read it."""
        return _WRITTEN.get(marker, marker)

    def answer(self, text: str) -> list[int]:
        """Ids of what a server said; the answer ends before what no text holds."""
        return list(map(ord, _NO_TEXT.sub("\ufffd", text)))

    def sections(self, ids: Sequence[int]) -> Iterator[tuple[str, str]]:
        """Each marker with the text behind it, in which nothing looks like a marker; "" stands before the first."""
        marker = ""
        for special, run in groupby(ids, lambda number: number >= _FIRST_MARKER):
            if not special:
                yield marker, self._harmless("".join(map(chr, run)))
                marker = ""
                continue
            for number in run:
                if marker:
                    yield marker, ""
                marker = self._markers[number - _FIRST_MARKER]
        if marker:
            yield marker, ""

    def text(self, ids: Sequence[int]) -> str:
        """The prompt as the server's tokenizer is to read it."""
        return "".join(self.written(marker) + text for marker, text in self.sections(ids))

    def _harmless(self, text: str) -> str:
        # Taking one out may join the halves of another.
        while (less := self._foreign.sub("", text)) != text:
            text = less
        return text
