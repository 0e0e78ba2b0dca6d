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
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from pass_lsp.errors import TrainError
from pass_lsp.train.corpus import read_corpus
from pass_lsp.train.fim import Batch, Examples, Packer
from pass_lsp.train.signals import uninterrupted
from pass_lsp.train.tokenizer import read_tokenizer

CHUNK = 768
"""Examples of a chunk: a handful of batches, so that little time passes between two answers of a worker."""
AHEAD = 2
"""Chunks that each worker may be ahead of the training."""

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """What examples are cut from, read once for rows of any length."""

    files: list[tuple[str, str]]
    tokenizer: Any
    seed: int

    @classmethod
    def read(cls, corpus: Path, tokenizer: Path, seed: int) -> Text:
        """From the folders of both. Raises `TrainError`."""
        return cls(read_corpus(corpus), read_tokenizer(tokenizer), seed)

    def packer(self, rows: int, length: int, first_example: int) -> Packer:
        """Batches of `rows` × `length` token places, from `first_example` on."""
        return Packer(Examples(self.files, self.tokenizer, length, self.seed), rows, length, first_example)


class Feed:
    """Batches from `corpus`, examples of one seed. `workers` processes begin to read it at once, without any it is
    read here when first needed. To be closed, as a context is.
    """

    def __init__(self, corpus: Path, tokenizer: Path, seed: int, workers: int = 0) -> None:
        self._given, self._text, self._workers = (corpus, tokenizer, seed), None, workers
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            # Spawned, because a process that has started a GPU or threads must not be forked.
            context = multiprocessing.get_context("spawn")
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            self._pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=self._given)
            with uninterrupted():  # a process is started for each
                self._begun = [self._pool.submit(_has_begun) for _ in range(workers)]

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def wait(self) -> None:
        """Until the text is read. Raises `TrainError` where it cannot be."""
        if self._pool is None:
            self._text = self._text or Text.read(*self._given)
            return
        with self._explained():
            self._begun[0].result()

    def batches(self, rows: int, length: int, first_example: int) -> Iterator[tuple[Batch, int]]:
        """Endless (batch of `rows` × `length` token places, example to resume at), from `first_example` on."""
        self.wait()
        if self._pool is not None:
            with self._explained():
                yield from self._by_workers(self._pool, rows, length, first_example)
        elif self._text is not None:
            packer = self._text.packer(rows, length, first_example)
            while True:
                yield packer.batch(), packer.next_index

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as error:
            Text.read(*self._given)  # says what is wrong, unless that is wrong with a process alone
            raise TrainError(
                "A process that prepares text has died; give fewer --workers if memory is short."
            ) from error

    def _by_workers(
        self, pool: ProcessPoolExecutor, rows: int, length: int, first_example: int
    ) -> Iterator[tuple[Batch, int]]:
        chunk = -(-first_example // CHUNK)
        waiting: deque[Future[list[Arrays]]] = deque()
        try:
            while True:
                while len(waiting) < AHEAD * self._workers:
                    waiting.append(pool.submit(_chunk, rows, length, (chunk + len(waiting)) * CHUNK))
                chunk += 1
                for arrays in waiting.popleft().result():
                    yield Batch(*map(torch.from_numpy, arrays)), chunk * CHUNK
        finally:
            for future in waiting:
                future.cancel()


_text: Text | None = None
"""What a worker process was started with."""


def _begin(corpus: Path, tokenizer: Path, seed: int) -> None:
    global _text
    threading.Thread(target=_follow, daemon=True).start()
    torch.set_num_threads(1)
    _text = Text.read(corpus, tokenizer, seed)


def _has_begun() -> None:
    """Comes back when a worker has read the text."""


def _follow() -> None:
    """End with the process that started this one, also when that is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _chunk(rows: int, length: int, first: int) -> list[Arrays]:
    """The batches of examples `first` to `first + CHUNK`, as arrays, which cross to another process without files."""
    assert _text is not None, "a worker is started by _begin"
    packer = _text.packer(rows, length, first)
    made: list[Arrays] = []
    while not made or packer.next_index < first + CHUNK:
        batch = packer.batch()
        made.append(tuple(t.numpy() for t in (batch.input_ids, batch.weights, batch.position_ids, batch.owner)))
    return made
