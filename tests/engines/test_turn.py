"""One request at a time, whoever asks."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pass_lsp.domain import SamplingParams
from pass_lsp.engines.local import LocalEngine, load_engine
from pass_lsp.engines.turn import Turn
from pass_lsp.errors import ModelError

PROMPT, SHORT = [5, 6, 7], SamplingParams(max_new_tokens=4)


@pytest.fixture
def engine(model_dir: Path) -> LocalEngine:
    return load_engine(str(model_dir))


def test_a_callback_that_asks_its_own_engine_is_told_and_the_engine_goes_on(engine: LocalEngine) -> None:
    wanted = engine.generate(PROMPT, SHORT).token_ids

    def again(_: list[int]) -> None:
        engine.generate(PROMPT, SHORT)

    for ask in (again, lambda _: engine.forget()):
        with pytest.raises(RuntimeError, match="ask it again when"):
            engine.generate(PROMPT, SHORT, on_commit=ask)
    assert engine.generate(PROMPT, SHORT).token_ids == wanted


def test_another_thread_waits_for_its_turn(engine: LocalEngine) -> None:
    wanted, said = engine.generate(PROMPT, SHORT).token_ids, []
    other = threading.Thread(target=lambda: said.append(engine.generate(PROMPT, SHORT).token_ids))

    def begin(_: list[int]) -> None:
        if other.ident is None:
            other.start()
        assert not said, "it was answered in the middle of another request"

    engine.generate(PROMPT, SHORT, on_commit=begin)
    other.join(60)
    assert said == [wanted]


def test_what_fails_within_a_turn_ends_it() -> None:
    turn = Turn()
    for _ in range(2):
        with pytest.raises(ValueError), turn:
            raise ValueError
    with turn, pytest.raises(RuntimeError), turn:
        pass


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "no\0path"])
def test_a_name_that_no_folder_can_have_is_no_model(name: str) -> None:
    with pytest.raises(ModelError, match="check --model"):
        load_engine(name)
