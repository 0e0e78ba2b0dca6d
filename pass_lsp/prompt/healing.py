"""Token healing: where the text left of the cursor ends inside a token.

Models are trained on whole tokens. After `self.app` the model has never seen `app` alone where
`append` was one token, so it goes on as if the word were over. The prompt therefore ends
before the last token, and the answer must begin with the text that was cut; where it does not,
the prompt is asked again as it stands, at the cost of one forward. Needs no help from decoding.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from typing import Any

from pass_lsp.domain import OnCommit, Prompt

_vocabularies: weakref.WeakKeyDictionary[Any, list[str]] = weakref.WeakKeyDictionary()


def unfinished(tokenizer: Any, ids: list[int]) -> str:
    """The text of the last id, if some token begins with it and is longer; "" if the text need not be healed."""
    if not ids:
        return ""
    piece = tokenizer.convert_ids_to_tokens(ids[-1])
    text = _decoded(tokenizer, ids[-2:])[len(_decoded(tokenizer, ids[-2:-1])) :]
    # After a line end and its indentation a new token begins anyway.
    if not isinstance(piece, str) or not text or "\n" in text or "\ufffd" in text:
        return ""
    return text if _goes_on(tokenizer, piece) else ""


class Unhealed:
    """Passes committed ids on to `on_commit`, less the text that the answer to a healed prompt begins with."""

    def __init__(self, prompt: Prompt, tokenizer: Any, on_commit: OnCommit) -> None:
        self._prompt, self._tokenizer, self._on_commit = prompt, tokenizer, on_commit
        self._held: list[int] = []
        self._done = not prompt.healed

    def __call__(self, run: list[int]) -> None:
        """Hold ids back until they say all of what was cut, then say the rest in ids of its own."""
        if self._done:
            self._on_commit(run)
            return
        self._held += run
        last = list(self._prompt.token_ids[-1:])
        text = _decoded(self._tokenizer, last + self._held)[len(_decoded(self._tokenizer, last)) :]
        if not text.startswith(self._prompt.healed) or text.endswith("\ufffd"):
            return
        self._done = True
        rest = text[len(self._prompt.healed) :]
        if rest:
            self._on_commit(list(self._tokenizer(rest, add_special_tokens=False, verbose=False)["input_ids"]))


def _goes_on(tokenizer: Any, piece: str) -> bool:
    known = _vocabularies.get(tokenizer)
    if known is None:
        known = _vocabularies[tokenizer] = sorted(tokenizer.get_vocab())
    at = bisect_right(known, piece)
    return at < len(known) and known[at].startswith(piece)


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) if ids else ""
