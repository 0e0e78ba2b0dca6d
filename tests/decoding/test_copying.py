"""The suffix automaton against a search that cannot be wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pass_lsp.decoding.copying import CopySource, SuffixAutomaton

texts = st.lists(st.integers(0, 3), max_size=40)


def longest_match(text: list[int], pending: int) -> int:
    """Length of the longest suffix of `text` + `pending` that occurs in `text`."""
    whole = [*text, pending]
    for length in range(len(whole), 0, -1):
        if any(text[i : i + length] == whole[-length:] for i in range(len(text) - length + 1)):
            return length
    return 0


@given(texts)
def test_the_longest_earlier_occurrence_is_found_and_what_followed_it(text: list[int]) -> None:
    automaton = SuffixAutomaton()
    for place, token in enumerate(text):
        before = text[:place]
        copy = automaton.propose(token, 5)
        assert copy.match == longest_match(before, token)
        pattern = [*before, token][place + 1 - copy.match :]
        ends = [i + copy.match for i in range(place) if before[i : i + copy.match] == pattern]
        if copy.match:
            assert copy.token_ids in [before[end : end + 5] for end in ends]
        else:
            assert copy.token_ids == []
        automaton.extend([token])
    assert automaton.token_ids == text


@given(texts, texts)
def test_a_text_given_at_once_or_in_pieces_is_the_same(first: list[int], second: list[int]) -> None:
    whole, pieces = SuffixAutomaton([*first, *second]), SuffixAutomaton(first)
    pieces.extend(second)
    for token in range(4):
        assert whole.propose(token, 9) == pieces.propose(token, 9)


@given(texts, texts)
def test_a_source_that_reads_late_proposes_what_the_automaton_does(first: list[int], second: list[int]) -> None:
    source, automaton = CopySource(first), SuffixAutomaton(first)
    for token in second:
        copy = automaton.propose(token, 5)
        assert source.propose(token, 5) == (copy if copy.match > 1 else ([], 0))
        source.extend([token])
        automaton.extend([token])


def test_size_stays_linear() -> None:
    automaton = SuffixAutomaton([*range(50)] * 40)
    assert len(automaton._next) <= 2 * 2000
    assert automaton.propose(0, 3).token_ids == [1, 2, 3]


def test_nothing_proposes_nothing() -> None:
    copy = SuffixAutomaton().propose(5, 8)
    assert (copy.token_ids, copy.match) == ([], 0)
