from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.scale import (
    REACH,
    amount_axis,
    log_position,
    log_ticks,
    rate_unit,
    render_ms,
    render_number,
)

AMOUNTS = st.floats(1e-6, 1e9)


@given(st.lists(AMOUNTS, min_size=1), AMOUNTS)
def test_the_data_fills_the_axis_and_the_target_is_never_lost(values: list[float], target: float) -> None:
    axis = amount_axis(values, target)
    assert max(values) < axis.top
    assert max(values) > axis.top / (REACH * 1.2)  # nothing is squashed
    assert (target < axis.top) != (axis.target_above > 1)
    assert axis.ticks[0] == 0
    assert 2 <= len(axis.ticks) <= 7


def test_a_target_within_reach_is_on_the_axis() -> None:
    assert amount_axis([1.0], 1.5).target_above == 0
    assert amount_axis([1.0], 5.0).target_above == 5
    assert amount_axis([5.0], 1.0).target_above == 0


def test_nothing_measured_still_has_an_axis() -> None:
    assert amount_axis([], 7.0).top > 7
    assert amount_axis([0.0]).top == 1


def test_ticks_of_decades() -> None:
    assert log_ticks(1, 20) == (1, 2, 5, 10, 20)
    assert log_ticks(0.001, 1000) == (0.001, 0.01, 0.1, 1, 10, 100, 1000)


@given(AMOUNTS, AMOUNTS)
def test_a_position_is_on_the_axis(value: float, largest: float) -> None:
    assert 0 <= log_position(value, 0.5, largest) <= 1
    assert log_position(largest, largest, largest) == 0.5


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (3.14159, "3.14"), (0.01254, "0.0125"), (1250.4, "1,250"), (100.0, "100"), (7.0, "7")]
)
def test_numbers(value: float, text: str) -> None:
    assert render_number(value) == text


@pytest.mark.parametrize(("ms", "text"), [(0.085, "85 µs"), (3.2, "3.2 ms"), (1500, "1.5 s")])
def test_durations(ms: float, text: str) -> None:
    assert render_ms(ms) == text


def test_a_small_rate_has_a_small_unit() -> None:
    assert rate_unit(0.04) == ("MB/s", 1000.0)
    assert rate_unit(7.0) == ("GB/s", 1.0)
