"""Shares of waiting, and the verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.meter import layout
from gateway.meter.stalls import RECENT_S, Recent, Verdict, judge, shares

waits = st.dictionaries(st.sampled_from(layout.CAUSES), st.floats(min_value=0.0, max_value=1e6))


@given(waits)
def test_shares_add_up_to_one_or_to_nothing(waited: dict[str, float]) -> None:
    total = sum(shares(waited).values())
    assert total == pytest.approx(1.0 if sum(waited.values()) > 0 else 0.0)


@given(waits, st.floats(min_value=0.0, max_value=60.0))
def test_the_verdict_names_a_largest_cause(waited: dict[str, float], elapsed_s: float) -> None:
    verdict = judge(waited, elapsed_s)
    if verdict is not None:
        assert waited[verdict.cause] == max(waited.values())
        assert 0 < verdict.share <= 1


@pytest.mark.parametrize(
    ("waited", "verdict"),
    [
        ({}, None),
        ({"disk": 0.0}, None),
        ({"disk": 0.05}, None),  # half a percent of ten seconds
        ({"disk": 3.0, "client": 1.0}, Verdict("disk", 0.75)),
        ({"upstream": 2.0, "peer": 2.0}, Verdict("upstream", 0.5)),
    ],
)
def test_verdicts(waited: dict[str, float], verdict: Verdict | None) -> None:
    assert judge(waited, 10.0) == verdict


def test_recent_waits_forget_the_old() -> None:
    recent = Recent(0.0, [0] * 5)
    for tick in range(1, 241):  # four a second for a minute; the disk is slow for the first half of it
        recent.add(tick / 4, [0, 0, min(tick, 120) * 10_000, 0, tick * 1_000])
    waited, elapsed = recent.waited_s(), recent.elapsed_s()
    assert RECENT_S <= elapsed <= RECENT_S + 1.5
    assert waited["disk"] == 0.0
    assert waited["client"] == pytest.approx(elapsed * 0.004)


def test_recent_ignores_what_is_not_later() -> None:
    recent = Recent(1.0, [0] * 5)
    recent.add(1.0, [9] * 5)
    assert recent.elapsed_s() == 0.0
    assert set(recent.waited_s().values()) == {0.0}
