"""Prefixes of several documents, within a bound."""

from __future__ import annotations

from pass_lsp.decoding.cache import CachePool, KVCache
from pass_lsp.domain import SamplingParams
from tests.decoding.families import tiny_engine


class Weighed:
    """Slots that weigh what a test says."""

    nbytes = 100

    def crop(self, length: int) -> None:
        """Nothing is kept."""


def filled(pool: CachePool, ids: list[int]) -> KVCache:
    cache = pool.take(ids)
    cache.reuse(ids)
    cache.extend(ids[cache.length :])
    return cache


def test_documents_keep_their_own_prefixes() -> None:
    pool = CachePool(Weighed, limit=1000)
    one, other = [1, *range(10, 40)], [1, *range(50, 80)]
    first, second = filled(pool, one), filled(pool, other)
    assert first is not second and len(pool) == 2
    assert pool.take([*one, 7]) is first and first.shared([*one, 7]) == len(one)
    assert pool.take([*other[:20], 7]) is second


def test_the_least_recently_used_goes_first() -> None:
    pool = CachePool(Weighed, limit=250)
    documents = [[n] * 20 for n in range(3)]
    first, second = filled(pool, documents[0]), filled(pool, documents[1])
    filled(pool, documents[0])
    filled(pool, documents[2])
    assert pool.nbytes <= 250
    assert pool.take(documents[0]) is first
    assert pool.take(documents[1]) is not second


def test_there_are_never_more_documents_than_allowed() -> None:
    pool = CachePool(Weighed, limit=10**6, most=3)
    for number in range(9):
        filled(pool, [number] * 20)
        assert len(pool) <= 3
    assert pool.nbytes == 300


def test_prompts_of_one_id_cost_no_more_than_one_document() -> None:
    """As those that ask a server every few seconds whether it answers; they share nothing, not even with each other."""
    pool = CachePool(Weighed, limit=10**6)
    caches = [filled(pool, [number] * 20) for number in range(4)]
    for _ in range(9):
        filled(pool, [99])
    assert [cache.length for cache in caches].count(20) == 3 and len(pool) == 4


def test_a_cache_that_a_failure_emptied_is_the_next_to_be_used() -> None:
    pool = CachePool(Weighed, limit=10**6)
    caches = [filled(pool, [number] * 20) for number in range(3)]
    caches[1].clear()
    assert pool.take([7] * 20) is caches[1] and len(pool) == 3


def test_an_engine_goes_from_document_to_document_without_prefilling_again() -> None:
    engine = tiny_engine("llama")
    params = SamplingParams(max_new_tokens=4, strategy="merged")
    one, other = [*range(1, 21)], [*range(40, 60)]
    assert engine.generate(one, params).cached_tokens == 0
    assert engine.generate(other, params).cached_tokens == 0
    again = engine.generate([*one, 5], params)
    assert (again.cached_tokens, again.prefilled_tokens) == (20, 1)
    back = engine.generate(other, params)
    assert (back.cached_tokens, back.prefilled_tokens) == (19, 1)
    engine.forget()
    assert engine.generate(one, params).cached_tokens == 0
