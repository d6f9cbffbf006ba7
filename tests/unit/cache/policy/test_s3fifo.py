from __future__ import annotations

import random
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.policy.lru import Lru
from cache.policy.rules import Policy
from cache.policy.s3fifo import GHOSTS_MIN, S3Fifo


def unread(_: bytes) -> int:
    return 0


def name(number: int) -> bytes:
    return number.to_bytes(8, "big")


def test_unread_chunks_go_in_order_of_coming() -> None:
    policy = S3Fifo(100)
    for number in range(3):
        policy.added(name(number), 10)
    assert [policy.evict(unread) for _ in range(4)] == [name(0), name(1), name(2), None]


@pytest.mark.parametrize(("reads", "stays"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_chunk_read_twice_goes_to_main(reads: int, stays: bool) -> None:
    policy = S3Fifo(50)
    policy.added(name(1), 10)
    policy.added(name(2), 10)
    marks = {name(1): reads}
    assert policy.evict(lambda key: marks.pop(key, 0)) == name(2 if stays else 1)
    assert not list(policy.check())


def test_a_chunk_that_comes_back_soon_enters_main() -> None:
    policy = S3Fifo(100)
    policy.added(name(1), 10)
    assert policy.evict(unread) == name(1)
    policy.added(name(1), 10)
    policy.added(name(2), 10)
    policy.added(name(3), 10)
    assert policy.evict(unread) == name(2)
    assert not list(policy.check())


def test_a_chunk_of_main_goes_round_once_for_each_read() -> None:
    policy = S3Fifo(100)
    for number in (1, 2):
        policy.added(name(number), 10)
        policy.evict(unread)
    for number in (1, 2):
        policy.added(name(number), 10)
    marks = {name(1): 2}
    assert policy.evict(lambda key: marks.pop(key, 0)) == name(2)
    assert not list(policy.check())
    policy.added(name(1), 12)  # filled anew: it stays in main, its reads forgotten
    assert policy.used_bytes == 12
    assert policy.evict(unread) == name(1)


def test_when_all_are_read_forever_something_goes_all_the_same() -> None:
    policy = S3Fifo(100)
    for number in range(5):
        policy.added(name(number), 10)
    assert [policy.evict(lambda _: 3) is None for _ in range(6)] == [False] * 5 + [True]
    assert policy.used_bytes == 0
    assert not list(policy.check())


def test_a_removed_chunk_is_not_remembered() -> None:
    policy = S3Fifo(100)
    policy.added(name(1), 10)
    policy.removed(name(1))
    policy.removed(name(2))
    policy.added(name(1), 10)
    policy.added(name(2), 10)
    policy.added(name(3), 10)
    assert policy.evict(unread) == name(1)


def test_ghosts_are_bounded() -> None:
    policy = S3Fifo(1 << 40)
    for number in range(3 * GHOSTS_MIN):
        policy.added(name(number), 1)
        policy.evict(unread)
    assert len(policy._ghost.chunks) == GHOSTS_MIN
    heavy = S3Fifo(100)
    for number in range(50):
        heavy.added(name(number), 10)
        heavy.evict(unread)
    assert heavy._ghost.total_bytes <= 90


def test_findings() -> None:
    policy = S3Fifo(100)
    policy.added(name(1), 10)
    policy._main.push(name(1), 10)
    policy._ghost.push(name(1), 10)
    policy._small.total_bytes = 3
    policy._reads[name(2)] = 1
    assert len(list(policy.check())) == 4


STEPS = st.lists(st.tuples(st.sampled_from("aare"), st.integers(0, 12), st.integers(1, 40)), max_size=80)


@given(STEPS, st.lists(st.integers(0, 3), min_size=1, max_size=7))
def test_bytes_are_conserved(steps: list[tuple[str, int, int]], marks: list[int]) -> None:
    policy, model, takes = S3Fifo(100), dict[bytes, int](), 0

    def take(_: bytes) -> int:
        nonlocal takes
        takes += 1
        return marks[takes % len(marks)]

    for what, number, length in steps:
        if what == "a":
            policy.added(name(number), length)
            model[name(number)] = length
        elif what == "r":
            policy.removed(name(number))
            model.pop(name(number), None)
        else:
            victim = policy.evict(take)
            assert (victim is None) == (not model)
            model.pop(victim or b"", None)
        assert policy.used_bytes == sum(model.values())
        assert not list(policy.check())


class Fifo:
    """What S3-FIFO has to beat."""

    def __init__(self) -> None:
        self.queue: OrderedDict[bytes, int] = OrderedDict()

    @property
    def used_bytes(self) -> int:
        return sum(self.queue.values())

    def added(self, chunk_id: bytes, length: int) -> None:
        self.queue[chunk_id] = length

    def removed(self, chunk_id: bytes) -> None:
        self.queue.pop(chunk_id, None)

    def evict(self, take: object) -> bytes | None:
        return self.queue.popitem(last=False)[0] if self.queue else None

    def check(self) -> list[str]:
        return []


def hot_hits(policy: Policy, capacity: int) -> int:
    """Hits on 50 hot chunks read at random, while a scan of ever new chunks goes by."""
    dice, cached, marks, hits, used = random.Random(7), dict[bytes, int](), dict[bytes, int](), 0, 0
    for turn in range(6000):
        wanted = name(dice.randrange(50)) if turn % 3 == 0 else name(1000 + turn)
        if wanted in cached:
            marks[wanted] = min(3, marks.get(wanted, 0) + 1)
            hits += 1
            continue
        cached[wanted] = 1
        policy.added(wanted, 1)
        used += 1
        while used > capacity:
            victim = policy.evict(lambda key: marks.pop(key, 0))
            assert victim is not None
            del cached[victim]
            used -= 1
    return hits


def test_a_scan_does_not_push_out_what_is_read_again_and_again() -> None:
    fifo, lru, s3fifo = (hot_hits(policy, 100) for policy in (Fifo(), Lru(), S3Fifo(100)))  # type: ignore[arg-type]  # check() is a list here
    assert s3fifo > 1800  # of 2000 reads
    assert s3fifo > lru
    assert s3fifo > 1.5 * fifo
