"""Quantiles out of buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.meter import layout
from gateway.meter.histograms import quantile_s


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile_s([0] * layout.BUCKETS, 0.5) is None


def test_within_the_first_bucket() -> None:
    assert quantile_s([10] + [0] * (layout.BUCKETS - 1), 0.5) == layout.BOUNDS_S[0] / 2


def test_beyond_the_last_bound_only_the_bound_is_known() -> None:
    assert quantile_s([0] * (layout.BUCKETS - 1) + [3], 0.99) == layout.BOUNDS_S[-1]


@given(st.lists(st.integers(min_value=1, max_value=10**8), min_size=1, max_size=200), st.floats(0.0, 1.0))
def test_a_quantile_is_within_a_factor_of_two(micros: list[int], share: float) -> None:
    counts = [0] * layout.BUCKETS
    for value in micros:
        counts[min((value >> layout.BUCKET_SHIFT).bit_length(), layout.BUCKETS - 1)] += 1
    rank = max(-(-share * len(micros) // 1), 1)
    exact = sorted(micros)[int(rank) - 1] / 1e6
    found = quantile_s(counts, share)
    assert found is not None
    assert found <= max(2 * exact, layout.BOUNDS_S[0]) + 1e-9
    assert found >= exact / 2 - layout.BOUNDS_S[0]
