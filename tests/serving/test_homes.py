"""Where sessions live: each stays where its prefix is, and no replica has many more than another."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from pass_lsp.serving.homes import ACTIVE_S, SLACK, Homes
from pass_lsp.serving.scheduler import DOCUMENTS


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def homes(clock: Clock) -> Homes[str]:
    return Homes(clock)


def ring(session: str, replicas: str) -> list[str]:
    """In an order of its own for each session, as a hash gives it."""
    return sorted(replicas, key=lambda replica: random.Random(session + replica).random())


def placed(homes: Homes[str], sessions: list[str], replicas: str) -> dict[str, str]:
    return {session: homes.order(session, ring(session, replicas))[0] for session in sessions}


def uneven(homes: dict[str, str], replicas: str) -> Iterator[tuple[int, int]]:
    """Pairs of replicas of which one has more sessions than it may."""
    sessions = Counter(homes.values())
    for one in replicas:
        for other in replicas:
            if sessions[one] - 1 > SLACK * sessions[other]:
                yield sessions[one], sessions[other]


def test_the_order_is_the_hashs_with_the_home_first(homes: Homes[str]) -> None:
    order = ring("s", "abc")
    assert homes.order("s", order) == order
    assert homes.order("s", order[::-1]) == [order[0], order[2], order[1]]


@pytest.mark.parametrize("typists", [1, 2, 4, 16, 40])
def test_twice_the_typists_on_two_replicas_are_as_many_at_each(typists: int, homes: Homes[str]) -> None:
    sessions = [f"session {number}" for number in range(2 * typists)]
    by_hash = Counter(ring(session, "ab")[0] for session in sessions)
    first = placed(homes, sessions, "ab")
    assert Counter(first.values()) == {"a": typists, "b": typists}
    assert typists < 16 or by_hash != Counter(first.values()), "the hash alone did it"
    for _ in range(3):
        assert placed(homes, sessions, "ab") == first


def test_a_lost_replicas_sessions_spread_and_the_others_stay(homes: Homes[str]) -> None:
    sessions = [f"session {number}" for number in range(30)]
    before = placed(homes, sessions, "abc")
    after = placed(homes, sessions, "ac")
    assert [after[name] for name in sessions if before[name] != "b"] == [
        before[name] for name in sessions if before[name] != "b"
    ]
    assert Counter(after.values()) == {"a": 15, "c": 15}


def test_a_new_replica_gets_its_share_and_no_more_move(homes: Homes[str]) -> None:
    sessions = [f"session {number}" for number in range(20)]
    before = placed(homes, sessions, "a")
    after = placed(homes, sessions, "ab")
    moved = [name for name in sessions if before[name] != after[name]]
    assert 8 <= len(moved) <= 10 and not list(uneven(after, "ab"))
    assert placed(homes, sessions, "ab") == after


def test_who_pauses_comes_home_if_there_is_room(homes: Homes[str], clock: Clock) -> None:
    home = homes.order("s", ["a", "b"])[0]
    clock.now += 2 * ACTIVE_S
    assert homes.order("s", ["b", "a"])[0] == home
    # A session that rests counts for nothing.
    clock.now += 2 * ACTIVE_S
    assert homes.order("other", ["a", "b"])[0] == "a"
    assert homes.order("third", ["a", "b"])[0] == "b"
    assert homes.order("s", ["b", "a"])[0] == "a"
    # Its home has filled meanwhile.
    clock.now += ACTIVE_S / 2
    placed(homes, [f"session {number}" for number in range(8)], "a")
    clock.now += ACTIVE_S
    placed(homes, [f"session {number}" for number in range(8)], "a")
    assert homes.order("s", ["a", "b"])[0] == "b"


@pytest.mark.parametrize("replicas", ["ab", "abc"])
@pytest.mark.parametrize("seed", range(3))
def test_people_come_and_go_and_it_stays_even(replicas: str, seed: int, homes: Homes[str], clock: Clock) -> None:
    rng, at_work, last = random.Random(seed), list[str](), dict[str, str]()
    moves = asked = 0
    for hour in range(100):
        at_work = [name for name in at_work if rng.random() > 0.2]
        at_work += [f"{hour} {number}" for number in range(rng.randrange(10))]
        for _ in range(6):
            clock.now += ACTIVE_S / 4  # after so many, those who left count no longer
            rng.shuffle(at_work)
            now = placed(homes, at_work, replicas)
            moves += sum(last.get(name, home) != home for name, home in now.items())
            asked += len(now)
            last = now
        assert not list(uneven(last, replicas))
    assert moves < asked / 20, "sessions wander"


def test_what_is_remembered_is_bounded(homes: Homes[str], clock: Clock) -> None:
    for number in range(20 * DOCUMENTS):
        homes.order(f"session {number}", ["a", "b"])
    assert len(homes._homes) <= 2 * DOCUMENTS and len(homes._active) <= 2 * DOCUMENTS
    assert sum(homes._sessions.values()) == len(homes._active)
