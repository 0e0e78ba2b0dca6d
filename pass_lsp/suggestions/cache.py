"""`Suggestions`: the last few hundred answers of all documents, most recently used first.

Lives on the event loop, so that a keystroke which follows a suggestion never waits for
the engine thread. Knows nothing of LSP, nor of the model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from pass_lsp.documents.document import Document
from pass_lsp.domain import Completion
from pass_lsp.reasons import Reason
from pass_lsp.suggestions.suggestion import Suggestion, suggestion_at

LIMIT = 500


@dataclass(frozen=True, slots=True)
class Recalled:
    """What memory says about a place: completions, the best first, or the reason why there are none.

    `whole`: the best was not cut off.
    """

    completions: tuple[Completion, ...]
    reason: Reason | None = None
    whole: bool = True


class Suggestions:
    """Answers by document and place; `limit` of them, then the one unused for longest goes."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: OrderedDict[tuple[str, tuple[str, str, str]], Suggestion] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def remember(
        self,
        key: str,
        document: Document,
        offset: int,
        completions: Sequence[Completion] = (),
        reason: Reason | None = None,
    ) -> None:
        """Keep the answer to a request at `offset` of `document`, which goes by `key`."""
        suggestion = suggestion_at(document, offset, completions, reason)
        if not suggestion.texts and reason is None:
            return
        self._known[key, suggestion.place] = suggestion
        self._known.move_to_end((key, suggestion.place))
        while len(self._known) > self._limit:
            self._known.popitem(last=False)

    def recall(self, key: str, document: Document, offset: int) -> Recalled | None:
        """What is known for `offset`; what was shown last is looked at first, so that it stays on screen."""
        for name in reversed(self._known):
            if name[0] != key:
                continue
            suggestion = self._known[name]
            completions = suggestion.at(document, offset)
            if completions or suggestion.is_nothing(document, offset):
                self._known.move_to_end(name)
                return Recalled(completions, None if completions else suggestion.reason, suggestion.whole)
        return None

    def forget(self, key: str | None = None) -> None:
        """Drop what is known of one document, or everything."""
        for name in [name for name in self._known if key in (None, name[0])]:
            del self._known[name]
