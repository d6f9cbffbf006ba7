from __future__ import annotations

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare_spread import arrangements_by_u, rank_outside, ratio_of

AMOUNTS = st.lists(st.floats(0.1, 1000), min_size=1, max_size=12)


def u_by_trying(first: int, second: int) -> list[int]:
    counts = [0] * (first * second + 1)
    for places in combinations(range(first + second), first):
        counts[sum(place - index for index, place in enumerate(places))] += 1
    return counts


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 5), (2, 3), (4, 4), (3, 6), (5, 5)])
def test_the_distribution_of_u(first: int, second: int) -> None:
    assert list(arrangements_by_u(first, second)) == u_by_trying(first, second)
    assert sum(arrangements_by_u(first, second)) == comb(first + second, first)


@pytest.mark.parametrize(
    ("size", "rank"), [(3, 0), (4, 1), (5, 3), (6, 6), (8, 14), (10, 24), (20, 128)]
)  # the critical U of Mann and Whitney's tables (two-sided, 5 %), plus one
def test_the_tables_ranks(size: int, rank: int) -> None:
    assert rank_outside(size, size) == rank


def test_the_normal_approximation_joins_the_exact_ranks() -> None:
    assert abs(rank_outside(31, 31) - (rank_outside(30, 30) + rank_outside(30, 30) - rank_outside(29, 29))) <= 3


@given(AMOUNTS, AMOUNTS)
def test_the_other_way_round_is_the_inverse(first: list[float], second: list[float]) -> None:
    there, back = ratio_of(first, second), ratio_of(second, first)
    if there.interval is None:
        assert back.interval is None
        return
    low, high = there.interval
    assert low <= high
    assert back.interval == pytest.approx((1 / high, 1 / low))
    assert there.differs == back.differs or 1 in {round(low, 9), round(high, 9)}


@given(AMOUNTS, st.floats(0.01, 100))
def test_the_estimate_follows_a_factor(values: list[float], factor: float) -> None:
    plain = ratio_of(values, values).estimate
    assert ratio_of(values, [value * factor for value in values]).estimate == pytest.approx(plain * factor)


@given(st.lists(st.floats(1, 2), min_size=3, max_size=12))
def test_a_set_does_not_differ_from_itself(values: list[float]) -> None:
    assert not ratio_of(values, values).differs


def test_sets_that_do_not_touch_differ_if_they_are_large_enough() -> None:
    assert ratio_of([1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3]).differs
    assert not ratio_of([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]).differs


@pytest.mark.parametrize(("first", "second"), [([], [1.0]), ([1.0], [0.0]), ([-1.0], [1.0])])
def test_only_amounts(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ratio_of(first, second)
