"""Batches for a training run, made here or by worker processes that keep a GPU fed.

Workers pack chunks of consecutive examples, each chunk by itself, and hand them over in
order, so that what a run sees depends on its seed and its next example, not on how many
workers there are. A few examples at a chunk's edge come twice.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pass_lsp.train.corpus import read_corpus
from pass_lsp.train.fim import Batch, Examples, Packer
from pass_lsp.train.tokenizer import read_tokenizer

CHUNK = 768
"""Examples of a chunk: a handful of batches, so that little time passes between two answers of a worker."""
AHEAD = 2
"""Chunks that each worker may be ahead of the training."""

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Feed:
    """What batches are made of: `rows` × `length` token places from `corpus`, examples of one seed."""

    corpus: Path
    tokenizer: Path
    length: int
    rows: int
    seed: int

    def batches(self, first_example: int, workers: int = 0) -> Iterator[tuple[Batch, int]]:
        """Endless (batch, example to resume at), from `first_example` on."""
        if workers:
            yield from self._by_workers(first_example, workers)
        packer = self._packer(first_example)
        while True:
            yield packer.batch(), packer.next_index

    def _packer(self, first_example: int) -> Packer:
        examples = Examples(read_corpus(self.corpus), read_tokenizer(self.tokenizer), self.length, self.seed)
        return Packer(examples, self.rows, self.length, first_example)

    def _by_workers(self, first_example: int, workers: int) -> Iterator[tuple[Batch, int]]:
        # Spawned, because a process that has started a GPU or threads must not be forked.
        context = multiprocessing.get_context("spawn")
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(self,))
        try:
            chunk = -(-first_example // CHUNK)
            waiting: deque[Future[list[Arrays]]] = deque()
            while True:
                while len(waiting) < AHEAD * workers:
                    waiting.append(pool.submit(_chunk, (chunk + len(waiting)) * CHUNK))
                chunk += 1
                for arrays in waiting.popleft().result():
                    yield Batch(*map(torch.from_numpy, arrays)), chunk * CHUNK
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_examples: tuple[Feed, Examples] | None = None
"""What a worker process was started with."""


def _begin(feed: Feed) -> None:
    global _examples
    threading.Thread(target=_follow, daemon=True).start()
    torch.set_num_threads(1)
    files, tokenizer = read_corpus(feed.corpus), read_tokenizer(feed.tokenizer)
    _examples = feed, Examples(files, tokenizer, feed.length, feed.seed)


def _follow() -> None:
    """End with the process that started this one, also when that is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _chunk(first: int) -> list[Arrays]:
    """The batches of examples `first` to `first + CHUNK`, as arrays, which cross to another process without files."""
    assert _examples is not None, "a worker is started by _begin"
    feed, examples = _examples
    packer = Packer(examples, feed.rows, feed.length, first)
    made: list[Arrays] = []
    while not made or packer.next_index < first + CHUNK:
        batch = packer.batch()
        made.append(tuple(t.numpy() for t in (batch.input_ids, batch.weights, batch.position_ids, batch.owner)))
    return made
