"""Batches by worker processes: in order, the same for any number of workers, and resumable."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pass_lsp.errors import TrainError
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


def test_without_workers_the_next_example_resumes(corpus: Path, tokenizer_dir: Path) -> None:
    made = Feed(corpus, tokenizer_dir, seed=1)
    drawn = list(islice(made.batches(4, 96, 0), 3))
    assert [at for _, at in drawn] == sorted({at for _, at in drawn})
    again = next(made.batches(4, 96, drawn[1][1]))
    assert same(again[0], next(made.batches(4, 96, drawn[1][1]))[0]) and not same(again[0], drawn[0][0])


def test_workers_hand_over_whole_chunks_in_order(
    corpus: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_text", None)
    threads = torch.get_num_threads()
    feed._begin(corpus, tokenizer_dir, 1)
    torch.set_num_threads(threads)
    with Feed(corpus, tokenizer_dir, 1, workers=2) as made:
        # The same processes go on with longer rows. Each begins with the next whole chunk.
        for rows, length, first in ((4, 96, 700), (2, 192, 1536)):
            ends = [-(-first // 768) * 768 + 768 * number for number in (1, 2)]
            expected = [
                (Batch(*map(torch.from_numpy, arrays)), end)
                for end in ends
                for arrays in feed._chunk(rows, length, end - 768)
            ]
            drawn = list(islice(made.batches(rows, length, first), len(expected)))
            assert [at for _, at in drawn] == [end for _, end in expected]
            assert all(same(one, other) for (one, _), (other, _) in zip(drawn, expected, strict=True))


def test_a_text_that_workers_cannot_read_is_explained(tokenizer_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl.gz").write_bytes(b"damaged")
    with Feed(tmp_path, tokenizer_dir, 1, workers=1) as made, pytest.raises(TrainError, match="Cannot read the corpus"):
        next(made.batches(4, 96, 0))


def test_a_worker_that_dies_is_explained(corpus: Path, tokenizer_dir: Path) -> None:
    with Feed(corpus, tokenizer_dir, 1, workers=1) as made:
        made.wait()
        (worker,) = multiprocessing.active_children()
        worker.kill()
        with pytest.raises(TrainError, match="fewer --workers"):
            list(islice(made.batches(4, 96, 0), 9999))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not hand on what is ignored")
def test_ctrl_c_is_nothing_to_a_worker(corpus: Path, tokenizer_dir: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Feed(corpus, tokenizer_dir, 1, workers=1) as made:
        assert signal.getsignal(signal.SIGINT) is before
        (worker,) = multiprocessing.active_children()
        for _ in range(2):  # while it starts, and at work
            os.kill(worker.pid or 0, signal.SIGINT)
            made.wait()
        assert len(list(islice(made.batches(4, 96, 0), 3))) == 3


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
