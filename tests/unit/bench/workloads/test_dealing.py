from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bench.workloads.dealing import deal
from tests.unit.bench.workloads.given import lane, terms


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_lanes_share_an_epoch_and_nothing_is_taken_twice(count: int, lanes: int, seed: int) -> None:
    lanes = min(lanes, count)
    dealt: list[int] = []
    for index in range(lanes):
        mine = -(-(count - index) // lanes)
        dealt += islice(deal(count, terms(1, seed=seed), lane(index, lanes)), mine)
    assert sorted(dealt) == list(range(count))


def test_each_epoch_has_its_own_order() -> None:
    both = list(islice(deal(100, terms(1), lane()), 200))
    assert sorted(both[:100]) == sorted(both[100:]) == list(range(100))
    assert both[:100] != both[100:]


def test_with_more_lanes_than_things_nobody_is_idle() -> None:
    taken = [next(deal(3, terms(1), lane(index, 8))) for index in range(8)]
    assert set(taken) == {0, 1, 2}
