"""Rates from samples: against a reference that keeps everything, at any distance of samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.meter.windows import SPACING_S, WINDOWS, Series

steps = st.lists(
    st.tuples(st.floats(min_value=0.01, max_value=20.0), st.integers(min_value=0, max_value=10**11)),
    min_size=1,
    max_size=300,
)


def _played(moves: list[tuple[float, int]]) -> tuple[Series, list[tuple[float, int]]]:
    series, t, total = Series(5.0, 0), 5.0, 0
    samples = [(t, total)]
    for dt, count in moves:
        t, total = t + dt, total + count
        series.add(t, total)
        samples.append((t, total))
    return series, samples


def test_one_sample_has_no_rate() -> None:
    assert Series(1.0, 10).rates() == {"1s": 0.0, "10s": 0.0, "60s": 0.0}


@given(st.lists(st.floats(min_value=0.01, max_value=5.0), min_size=2, max_size=400))
def test_a_steady_stream_has_its_rate_however_it_is_sampled(distances: list[float]) -> None:
    per_s = 7 * 10**9
    series, t = Series(0.0, 0), 0.0
    for distance in distances:
        t += distance
        series.add(t, int(t * per_s))
    for rate in series.rates().values():
        assert rate == pytest.approx(per_s * min(t, 1.0), rel=1e-6)


@given(steps, st.sampled_from(sorted(WINDOWS.values())))
def test_a_rate_counts_what_lies_between_its_edges(moves: list[tuple[float, int]], window_s: float) -> None:
    """Whatever the thinning: at least what came well inside the window, at most that and what lay around its edge."""
    series, samples = _played(moves)
    now, newest = samples[-1]
    edge = max(now - window_s, samples[0][0])
    span = max(now - edge, 1.0)
    before = [total for t, total in samples if t <= edge - SPACING_S]
    most = newest - (before[-1] if before else 0)
    assert series.rate(window_s) * span <= most * (1 + 1e-9) + 1e-3
    after = [total for t, total in samples if t >= edge + SPACING_S]
    assert series.rate(window_s) * span >= (newest - after[0] if after else 0) * (1 - 1e-9) - 1e-3


@given(steps)
def test_a_series_is_bounded(moves: list[tuple[float, int]]) -> None:
    series, _ = _played(moves)
    assert len(series) <= 2 * 60 / SPACING_S + 4


def test_quick_samples_do_not_grow_the_series() -> None:
    series = Series(0.0, 0)
    for tick in range(1, 100_000):
        series.add(tick / 1000, tick)
    assert len(series) <= 2 * 60 / SPACING_S + 4
    assert series.rates() == pytest.approx({"1s": 1000.0, "10s": 1000.0, "60s": 1000.0})


def test_a_burst_leaves_the_short_window_first() -> None:
    series = Series(0.0, 0)
    for tick in range(1, 41):
        series.add(tick / 4, 4_000 if tick >= 4 else tick * 1_000)
    assert series.rate(1.0) == 0.0
    assert series.rate(10.0) == 400.0
    assert series.rate(60.0) == 400.0  # ten seconds old: its whole life


def test_an_idle_minute_counts_in_full() -> None:
    series = Series(0.0, 0)
    for second in range(1, 121):
        series.add(float(second), 6_000 if second > 90 else 0)
    assert series.rate(60.0) == 100.0


def test_time_and_counter_never_run_back() -> None:
    series = Series(10.0, 100)
    series.add(11.0, 200)
    series.add(11.0, 900)
    series.add(10.5, 900)
    series.add(12.0, 150)
    assert series.rate(1.0) == 100.0
    assert len(series) == 2
