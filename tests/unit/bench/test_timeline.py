from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.timeline import Timeline, coarsen


def test_bytes_are_spread_over_the_time_in_which_they_came() -> None:
    timeline = Timeline(10.0, 1.0)
    timeline.add(10.5, 13.0, 250)
    assert list(timeline.bytes) == pytest.approx([50, 100, 100, 0])
    assert list(timeline.requests) == [0, 0, 0, 1]


def test_a_request_within_one_interval_stays_there() -> None:
    timeline = Timeline(0.0, 0.1)
    timeline.add(0.21, 0.29, 7)
    assert list(timeline.bytes) == [0, 0, 7]
    assert list(timeline.requests) == [0, 0, 1]


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.integers(0, 10**12))))
def test_no_byte_is_lost_or_made_up(requests: list[tuple[float, float, int]]) -> None:
    timeline = Timeline(0.0, 0.1)
    for first, more, count in requests:
        timeline.add(first, first + more, count)
    assert sum(timeline.bytes) == pytest.approx(sum(count for *_, count in requests), rel=1e-6, abs=1e-3)
    assert sum(timeline.requests) == len(requests)
    assert all(value >= -1e-6 for value in timeline.bytes)


def test_merging_adds_interval_by_interval() -> None:
    one, other = Timeline(0.0, 1.0), Timeline(0.0, 1.0)
    one.add(0.1, 0.2, 5)
    other.add(1.1, 1.2, 7)
    one.merge(other.bytes, other.requests)
    assert (list(one.bytes), list(one.requests)) == ([5, 7], [1, 1])


def test_what_is_out_of_bounds_counts_at_the_bound() -> None:
    timeline = Timeline(100.0, 1.0, intervals_max=3)
    timeline.add(99.0, 99.5, 1)
    timeline.add(500.0, 501.0, 2)
    assert list(timeline.bytes) == [1, 0, 2]


def test_an_interval_is_longer_than_nothing() -> None:
    with pytest.raises(ValueError, match="no interval"):
        Timeline(0.0, 0.0)


def test_coarser_intervals_are_sums_and_an_incomplete_one_is_left_out() -> None:
    assert coarsen([1, 2, 3, 4, 5], 2) == [3, 7]
    assert coarsen([1, 2], 1) == [1, 2]
    assert coarsen([], 3) == []
