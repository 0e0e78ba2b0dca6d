"""The stand-in of `two_replicas.py` is what it says: one line, a token a forward, each as slow as a device."""

from __future__ import annotations

import time
from pathlib import Path

from pass_lsp.domain import SamplingParams
from pass_lsp.engines.local import load_engine
from tests.serving.two_replicas import stand_in, table


def test_every_answer_is_the_same_line_and_its_forwards_wait(tmp_path: Path) -> None:
    forward_s = 0.02
    engine = load_engine(str(stand_in(tmp_path, forward_s)), "cpu", "auto", "random", True)
    for prompt in ("def f(x):\n    return", "# anything else\n"):
        began = time.monotonic()
        made = engine.generate(engine.tokenizer(prompt)["input_ids"], SamplingParams(6, strategy="autoregressive"))
        text = engine.tokenizer.decode(made.token_ids)
        assert text.endswith("\n") and text.count("\n") == 1 and made.forwards == 6
        assert time.monotonic() - began >= 6 * forward_s


def test_the_table_sets_twice_the_typists_beside_one_replicas() -> None:
    row = {"typists": 2, "answers_per_s": 2.0, "answered_share": 0.5, "answer_p99_ms": 400.4, "failed": 0}
    twice = row | {"typists": 4, "answers_per_s": 3.8, "failed": 1}
    assert table([row], [twice]).splitlines()[-1] == "| 2 | 2.0 and 3.8 (1.90 ×) | 50% and 50% | 400 and 400 | 1 |"
