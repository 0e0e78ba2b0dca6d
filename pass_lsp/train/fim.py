"""Training examples: windows of files, most of them turned into fill-in-the-middle.

Example `i` of a seed is always the same, so a training run resumes by its next
index alone. Splits are made on characters, before tokenization (Bavarian et al.
2022, section 3), by `middle`. Both orders are trained:

    SPM   <|file|>path⏎ <|fim_suffix|> S <|fim_prefix|> P <|fim_middle|> M <|endoftext|>
    PSM   <|file|>path⏎ <|fim_prefix|> P <|fim_suffix|> S <|fim_middle|> M <|endoftext|>

Prose is read, and asked for only in a middle whose cursor stands in it (see `prose`).
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from pass_lsp.errors import TrainError
from pass_lsp.train.middle import split_middle
from pass_lsp.train.prose import Span, prose, within
from pass_lsp.train.tokenizer import END, FILE, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, PAD

SPM_SHARE, PSM_SHARE = 0.78, 0.05
"""The rest reads left to right. Prompts are written suffix first; with the suffix in between a small model does worse,
the more so the longer that is, so most examples are better spent on what it is asked.
"""
ECHO_SHARE = 0.2
"""Of the windows, those that hold some of their lines twice; the cursor then stands in the second.
Near-duplicate files are dropped from the corpus, so little else teaches a small model to go on
copying what stands in the prompt."""
MIN_ECHO_LINES, MAX_ECHO_LINES = 2, 12
MIDDLE_WEIGHT = 2.0
POOL = 24

Weighed = tuple[list[int], list[float]]
"""Token ids, and the weight of each."""


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids and the weight of predicting each of them (0: never asked for)."""

    token_ids: list[int]
    weights: list[float]


def echoed(text: str, spans: Sequence[Span], rng: random.Random) -> tuple[str, list[Span], range | None]:
    """`text` with a few of its lines once more at another line, its spans, and where those lines are.

    A text that is too short stays as it is.
    """
    lines = text.splitlines(keepends=True)
    count = rng.randint(MIN_ECHO_LINES, MAX_ECHO_LINES)
    if len(lines) < 2 * count:
        return text, list(spans), None
    start, goal = rng.randrange(len(lines) - count), rng.randrange(len(lines))
    first, last, at = (sum(map(len, lines[:line])) for line in (start, start + count, goal))
    parts = ((0, at), (first, last), (at, len(text)))
    moved: list[Span] = []
    made = ""
    for begin, end in parts:
        moved += [(a + len(made), b + len(made)) for a, b in within(spans, begin, end)]
        made += text[begin:end]
    return made, moved, range(at, at + last - first)


class Examples:
    """Endless, indexable examples over a corpus of (path, text). Raises `TrainError` for one without text."""

    def __init__(self, files: Sequence[tuple[str, str]], tokenizer: Any, length: int, seed: int = 0) -> None:
        self._files, self._tokenizer, self.length, self._seed = files, tokenizer, length, seed
        self._ends = list(accumulate(len(text) for _, text in files))
        if not any(self._ends):
            raise TrainError("The corpus holds no text to learn from; give one that has some.")
        self._ids = {
            token: tokenizer.convert_tokens_to_ids(token) for token in (END, FILE, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX)
        }
        self.pad_id = tokenizer.convert_tokens_to_ids(PAD)

    def __getitem__(self, index: int) -> Example:
        rng = random.Random(self._seed * 1_000_003 + index)
        path, text, spans = self._window(rng)
        echo = None
        if rng.random() < ECHO_SHARE:
            text, spans, echo = echoed(text, spans, rng)
        kind = rng.random()
        header = self._asked(FILE, short_path(path) + "\n")
        if kind >= SPM_SHARE + PSM_SHARE:
            return self._clipped(header, self._weighed(text, spans))
        prefix, middle, suffix = split_middle(text, rng, echo)
        start, end = len(prefix), len(prefix) + len(middle)
        before = self._asked(FIM_PREFIX, prefix, within(spans, 0, start))
        after = self._asked(FIM_SUFFIX, suffix, within(spans, end, end + len(suffix)))
        # What the cursor stands in is begun already.
        ahead = [span for span in spans if span[0] >= start]
        answer = self._weighed(middle, within(ahead, start, end), MIDDLE_WEIGHT)
        first, second = (after, before) if kind < SPM_SHARE else (before, after)
        ended = ([*answer[0], self._ids[END]], [*answer[1], MIDDLE_WEIGHT])
        return self._clipped(header, first, second, self._asked(FIM_MIDDLE), ended)

    def _window(self, rng: random.Random) -> tuple[str, str, list[Span]]:
        """A path, some lines of that file, and where in these is prose."""
        at = rng.randrange(self._ends[-1])
        path, text = self._files[bisect.bisect_right(self._ends, at)]
        size = int(self.length * 3.4 * rng.choice((0.25, 0.5, 1.0, 1.0)))
        start = max(0, min(rng.randrange(len(text)), len(text) - size // 2))
        start = 0 if rng.random() < 0.15 else text.rfind("\n", 0, start) + 1
        end = text.rfind("\n", start, start + size) + 1
        end = end if end > start else start + size
        return path, text[start:end], within(prose(text), start, end)

    def _asked(self, marker: str, text: str = "", spans: Sequence[Span] = ()) -> Weighed:
        ids, weights = self._weighed(text, spans)
        return [self._ids[marker], *ids], [1.0, *weights]

    def _weighed(self, text: str, spans: Sequence[Span], weight: float = 1.0) -> Weighed:
        """The ids of a text, and the weight of each; those that reach into `spans` have none."""
        coded = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=bool(spans)
        )
        ids = coded["input_ids"]
        if not spans:
            return ids, [weight] * len(ids)
        ends = [end for _, end in spans]
        weights: list[float] = []
        for first, last in coded["offset_mapping"]:
            at = bisect.bisect_right(ends, first)
            weights.append(0.0 if at < len(spans) and spans[at][0] < last else weight)
        return ids, weights

    def _clipped(self, *parts: Weighed) -> Example:
        ids = [token_id for some, _ in parts for token_id in some]
        weights = [weight for _, some in parts for weight in some]
        return Example(ids[: self.length], [0.0, *weights[1 : self.length]])


def short_path(path: str) -> str:
    """The last three parts of a path, with forward slashes, as every prompt states it."""
    return "/".join(path.replace("\\", "/").split("/")[-3:])


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows `[B, T]`: ids, weights, positions, and which example of its row each place belongs to (-1: none)."""

    input_ids: torch.Tensor
    weights: torch.Tensor
    position_ids: torch.Tensor
    owner: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """Which places attend to which, `[B, 1, T, T]`; see `attention_mask`."""
        return attention_mask(self.owner)


def attention_mask(owner: torch.Tensor) -> torch.Tensor:
    """owner `[B, T]` → `[B, 1, T, T]`, True where a place sees another: earlier or itself, of the same example."""
    length = owner.size(1)
    causal = torch.ones(length, length, dtype=torch.bool, device=owner.device).tril()
    return ((owner[:, None, :] == owner[:, :, None]) & causal)[:, None]


class Packer:
    """Packs whole examples into rows, best fit first out of a small pool; no example sees another."""

    def __init__(self, examples: Examples, rows: int, length: int, next_index: int = 0) -> None:
        self._examples, self._rows, self._length = examples, rows, length
        self._pool: list[Example] = []
        self.next_index = next_index

    def batch(self) -> Batch:
        """The next batch; `next_index` then says where to resume (the pool's few examples are skipped)."""
        rows = [self._row() for _ in range(self._rows)]
        ids = torch.full((self._rows, self._length), self._examples.pad_id)
        weights = torch.zeros(self._rows, self._length)
        positions = torch.zeros_like(ids)
        owner = torch.full_like(ids, -1)
        for r, row in enumerate(rows):
            at = 0
            for n, example in enumerate(row):
                end = at + len(example.token_ids)
                ids[r, at:end] = torch.tensor(example.token_ids)
                weights[r, at:end] = torch.tensor(example.weights)
                positions[r, at:end] = torch.arange(end - at)
                owner[r, at:end] = n
                at = end
        return Batch(ids, weights, positions, owner)

    def _row(self) -> list[Example]:
        room, row = self._length, []
        while True:
            while len(self._pool) < POOL:
                self._pool.append(self._examples[self.next_index])
                self.next_index += 1
            fitting = [e for e in self._pool if len(e.token_ids) <= room]
            if not fitting:
                return row
            best = max(fitting, key=lambda e: len(e.token_ids)) if row else self._pool[0]
            self._pool = [e for e in self._pool if e is not best]
            row.append(best)
            room -= len(best.token_ids)
