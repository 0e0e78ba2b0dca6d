"""A tokenizer without transformers: of our own engine elsewhere, and of the embedded model, which answers sooner so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from pass_lsp.errors import EngineError


@dataclass(frozen=True, slots=True)
class _Added:
    content: str
    special: bool


class Vocabulary:
    """What `prompt` and `postprocess` ask of a transformers tokenizer, around a `tokenizer.json`."""

    def __init__(self, source: str) -> None:
        self._fast = Tokenizer.from_str(source)
        self._fast.no_padding()
        self._fast.no_truncation()
        added = self._fast.get_added_tokens_decoder()
        self.added_tokens_decoder = {i: _Added(token.content, token.special) for i, token in added.items()}
        special = {i: token.content for i, token in added.items() if token.special}
        self.all_special_ids, self.all_special_tokens = list(special), list(special.values())
        unknown = (json.loads(source).get("model") or {}).get("unk_token")
        self.unk_token_id = self._fast.token_to_id(unknown) if isinstance(unknown, str) else None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Vocabulary:
        """From what `/v1/engine` tells. Raises `EngineError`."""
        source = told.get("tokenizer")
        if isinstance(source, dict):
            source = json.dumps(source)
        try:
            return cls(str(source))
        except Exception as error:  # the library raises bare ones
            raise EngineError(
                "The engine's tokenizer cannot be read here; give engine and editor the same version of pass-lsp.",
                rest_s=10.0,
            ) from error

    def __call__(self, text: str, add_special_tokens: bool = False, verbose: bool = False) -> dict[str, list[int]]:
        """Ids of a text."""
        return {"input_ids": self._fast.encode(text, add_special_tokens=add_special_tokens).ids}

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """What it is around."""
        return self._fast

    def __len__(self) -> int:
        return self._fast.get_vocab_size(with_added_tokens=True)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False, **_: Any) -> str:
        """The text of ids."""
        return self._fast.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def convert_ids_to_tokens(self, number: int) -> str | None:
        """The piece of an id, as the vocabulary spells it."""
        return self._fast.id_to_token(number)

    def get_vocab(self) -> dict[str, int]:
        """All pieces and their ids."""
        return self._fast.get_vocab(with_added_tokens=True)

    def answer(self, text: str) -> list[int]:
        """Ids of what the engine said, where it did not give them."""
        # Half of a surrogate pair is no text, and the library refuses it.
        return self(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))["input_ids"]
