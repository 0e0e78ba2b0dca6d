"""Answers that turn in a cycle: the same few tokens over and over, which a model does not end by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pass_lsp.postprocess.frame import Decoded

_MAX_PERIOD = 12
_TURNS = 4
_LEAST, _LEAST_CUT_OFF = 48, 10
"""Tokens that a cycle must cover; good code holds short ones (`(%s, %s, %s, %s, %s)`). Less, if the answer was cut off:
then it did not come out of the cycle."""
_MAX_WORDLESS = 64


def cycle_start(ids: Sequence[int], least: int = _LEAST, longest: int = _MAX_PERIOD) -> int | None:
    """The number of ids to keep if the ids end in a cycle of at least so many: all before it, and its first turn."""
    for period in range(1, min(longest, len(ids) - 1) + 1):
        at = len(ids) - 1 - period
        while at >= 0 and ids[at] == ids[at + period]:
            at -= 1
        if len(ids) - 1 - at >= max(_TURNS * period, least):
            return at + 1 + period
    return None


def cycle_in(decoded: Decoded, ids_per_token: int = 1, cut_off: bool = False) -> int | None:
    """`cycle_start` of the ids decoded so far; a run without a word in it is indentation or a ruler."""
    least = _LEAST_CUT_OFF if cut_off else _LEAST
    keep = cycle_start(decoded.ids, least * ids_per_token, _MAX_PERIOD * ids_per_token)
    if keep is None or len(decoded.ids) - keep > _MAX_WORDLESS * ids_per_token:
        return keep
    return keep if re.search(r"\w", decoded.text[decoded.ends[keep - 1] :]) else None
