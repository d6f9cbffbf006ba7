"""The breaker: opens on failures in a window, probes once, doubles its patience."""

from __future__ import annotations

from cache.peers.breaker import Breaker


def opened_at(now: float) -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        assert breaker.allows(now)
        breaker.failed(now)
    return breaker


def test_five_failures_within_the_window_open_it_for_a_second() -> None:
    breaker = opened_at(100.0)
    assert not breaker.allows(100.9)
    assert breaker.allows(101.0)


def test_failures_spread_beyond_the_window_do_not() -> None:
    breaker = Breaker()
    for second in range(30):
        breaker.failed(second * 3.0)
        assert breaker.allows(second * 3.0)


def test_a_success_forgets_failures() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(1.0)
    breaker.succeeded()
    breaker.failed(1.0)
    assert breaker.allows(1.0)


def test_one_probe_at_a_time_and_its_success_closes() -> None:
    breaker = opened_at(0.0)
    assert breaker.allows(1.0)
    assert not breaker.allows(1.0)
    breaker.succeeded()
    assert breaker.allows(1.0)
    assert breaker.allows(1.0)


def test_failing_probes_double_the_wait_up_to_ten_seconds() -> None:
    breaker, now = opened_at(0.0), 0.0
    for wait_s in (1.0, 2.0, 4.0, 8.0, 10.0, 10.0):
        assert not breaker.allows(now + wait_s - 0.01)
        now += wait_s
        assert breaker.allows(now)
        breaker.failed(now)


def test_a_late_failure_of_an_older_request_changes_nothing_while_open() -> None:
    breaker = opened_at(0.0)
    breaker.failed(0.5)
    assert breaker.allows(1.0)


def test_a_probe_that_never_reports_is_forgotten() -> None:
    breaker = opened_at(0.0)
    assert breaker.allows(1.0)
    assert not breaker.allows(10.9)
    assert breaker.allows(11.0)
