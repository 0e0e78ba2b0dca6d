"""Batches by worker processes: in order, the same for any number of workers, and resumable."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pass_lsp.train import feed
from pass_lsp.train.feed import Feed
from pass_lsp.train.fim import Batch


def same(left: Batch, right: Batch) -> bool:
    pairs = zip(
        (left.input_ids, left.weights, left.position_ids, left.owner),
        (right.input_ids, right.weights, right.position_ids, right.owner),
        strict=True,
    )
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.fixture
def made(corpus: Path, tokenizer_dir: Path) -> Feed:
    return Feed(corpus, tokenizer_dir, 96, 4, seed=1)


def test_without_workers_the_next_example_resumes(made: Feed) -> None:
    drawn = list(islice(made.batches(0), 3))
    assert [at for _, at in drawn] == sorted({at for _, at in drawn})
    again = next(made.batches(drawn[1][1]))
    assert same(again[0], next(made.batches(drawn[1][1]))[0]) and not same(again[0], drawn[0][0])


def test_workers_hand_over_whole_chunks_in_order(made: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_examples", None)
    feed._begin(made)
    threads = torch.get_num_threads()
    expected = [
        (Batch(*map(torch.from_numpy, arrays)), end)
        for first, end in ((768, 1536), (1536, 2304))
        for arrays in feed._chunk(first)
    ]
    torch.set_num_threads(threads)
    drawn = list(islice(made.batches(700, workers=2), len(expected)))  # begins with the next whole chunk
    assert [at for _, at in drawn] == [end for _, end in expected]
    assert all(same(one, other) for (one, _), (other, _) in zip(drawn, expected, strict=True))


def test_a_worker_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    parent = SimpleNamespace(join=lambda: done.append("waited"))
    monkeypatch.setattr(feed.multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(feed.os, "_exit", done.append)
    feed._follow()
    assert done == ["waited", 1]
    monkeypatch.setattr(feed.multiprocessing, "parent_process", lambda: None)
    feed._follow()
    assert done == ["waited", 1]
