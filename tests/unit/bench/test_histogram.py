from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.histogram import Histogram, bucket_end, bucket_of

durations = st.integers(0, 1 << 60)


@given(durations)
def test_a_bucket_holds_its_value_to_one_part_in_128(value: int) -> None:
    end = bucket_end(bucket_of(value))
    assert value <= end <= value + value // 128


@given(durations)
def test_buckets_are_in_order_and_leave_no_gap(value: int) -> None:
    end = bucket_end(bucket_of(value))
    assert bucket_of(end) == bucket_of(value)
    assert bucket_of(end + 1) == bucket_of(value) + 1


@given(st.lists(durations, min_size=1), st.floats(0, 100))
def test_a_percentile_is_never_below_the_exact_one_nor_more_than_one_part_in_128_above(
    values: list[int], percent: float
) -> None:
    histogram = filled(values)
    exact = sorted(values)[max(-(-len(values) * percent // 100), 1).__int__() - 1]
    found = histogram.percentile(percent)
    assert exact <= found <= min(exact + exact // 128, max(values))


@given(st.lists(durations), st.lists(durations))
def test_merging_is_counting_together(first: list[int], second: list[int]) -> None:
    merged, other, whole = filled(first), filled(second), filled(first + second)
    merged.merge(other.buckets(), sum_ns=other.sum_ns, largest_ns=other.largest_ns)
    assert merged.buckets() == whole.buckets()
    assert (merged.count, merged.sum_ns, merged.largest_ns) == (whole.count, whole.sum_ns, whole.largest_ns)


def test_nothing_counted_is_zero_everywhere() -> None:
    empty = Histogram()
    assert (empty.count, empty.mean_ns, empty.percentile(99), empty.largest_ns) == (0, 0, 0, 0)


def test_the_mean_is_exact() -> None:
    assert filled([1, 1_000_000, 3]).mean_ns == pytest.approx(1_000_004 / 3)


def test_what_cannot_be_is_counted_at_the_nearest_bound() -> None:
    histogram = filled([-5, 1 << 62])
    assert histogram.percentile(50) == 0
    assert histogram.largest_ns == 1 << 60


def test_percentiles_of_an_even_spread() -> None:
    values = list(range(1, 100_001))
    random.Random(1).shuffle(values)
    histogram = filled(values)
    for percent, exact in ((50, 50_000), (99, 99_000), (99.9, 99_900), (100, 100_000)):
        assert histogram.percentile(percent) == pytest.approx(exact, rel=1 / 128)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram
