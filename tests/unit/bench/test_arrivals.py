from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.arrivals import Arrivals, Rate
from bench.recorder import LoadReport, Recorder


@given(st.floats(0.01, 1e6), st.floats(0, 1e6), st.integers(1, 2000))
def test_the_schedule_does_not_drift(per_s: float, begin_s: float, count: int) -> None:
    arrivals = Arrivals(Rate(per_s), begin_s)
    taken = [arrivals.take(10**6) for _ in range(count)]
    assert taken[0] == begin_s
    assert taken[-1] == pytest.approx(begin_s + (count - 1) / per_s)
    assert taken == sorted(taken)


def test_by_bytes_an_operation_pushes_the_next_one_away_by_its_size() -> None:
    arrivals = Arrivals(Rate(1000.0, by_bytes=True), 5.0)
    taken = [arrivals.take(size) for size in (500, 2000, 0, 1000)]
    assert taken == pytest.approx([5.0, 5.5, 7.5, 7.501])


def test_what_was_due_and_not_taken_is_unsent() -> None:
    arrivals = Arrivals(Rate(10.0), 0.0)
    for _ in range(4):
        arrivals.take(1)
    assert arrivals.unsent(1.0) == 6
    assert arrivals.unsent(0.4) == 0
    assert arrivals.unsent(0.0) == 0
    assert Arrivals(Rate(10.0), 0.0).unsent(1.0) == 10


def test_by_bytes_unsent_are_operations_of_the_mean_size() -> None:
    arrivals = Arrivals(Rate(1000.0, by_bytes=True), 0.0)
    arrivals.take(100)
    arrivals.take(300)
    assert arrivals.unsent(1.0) == 3


@given(begin_s=st.floats(0, 1e6))
def test_however_long_the_machine_has_been_up_none_is_counted_twice(begin_s: float) -> None:
    arrivals = Arrivals(Rate(1e6), begin_s)
    for _ in range(50):
        arrivals.take(1)
    assert arrivals.unsent(begin_s + 0.2) == 200_000 - 50


@pytest.mark.parametrize("per_s", [0.0, -1.0, math.inf, math.nan])
def test_what_is_no_rate(per_s: float) -> None:
    with pytest.raises(ValueError, match="no rate"):
        Rate(per_s)


SERVICE_S, STALL_S = 0.001, 1.0


class Stalling:
    """One connection, on a clock of its own, to a server that answers in 1 ms and once, after 1 s, in 1 s."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stalled = False

    def answered(self) -> float:
        stalls = self.now >= 1.0 and not self.stalled
        self.stalled |= stalls
        self.now += STALL_S if stalls else SERVICE_S
        return self.now


def closed_loop(until_s: float) -> LoadReport:
    server, recorder = Stalling(), Recorder(0.0, 0.1)
    while server.now < until_s:
        started_s = server.now
        last_s = server.answered()
        recorder.done(started_s, last_s, last_s, 1)
    return recorder.report()


def open_loop(until_s: float, per_s: float) -> LoadReport:
    server, recorder, arrivals = Stalling(), Recorder(0.0, 0.1), Arrivals(Rate(per_s), 0.0)
    while arrivals.due_s < until_s and server.now < until_s:
        intended_s = arrivals.take(1)
        server.now = started_s = max(server.now, intended_s)
        last_s = server.answered()
        recorder.done(started_s, last_s, last_s, 1, intended_s=intended_s)
    recorder.missed(arrivals.unsent(until_s))
    return recorder.report()


def test_an_open_loop_sees_the_stall_that_a_closed_one_hides() -> None:
    closed, opened = closed_loop(4.0), open_loop(4.0, per_s=500.0)
    assert closed.total.histogram().percentile(99) < 2e6
    assert opened.total.histogram().percentile(99) > 0.9e9
    assert opened.total.histogram().percentile(80) > 0.1e9  # half of what was due waited behind the stall
    assert opened.service.histogram().percentile(99) < 2e6
    assert opened.requests == 2000
    assert opened.unsent == 0


def test_a_rate_beyond_the_server_is_not_held_and_says_so() -> None:
    report = open_loop(4.0, per_s=2000.0)
    assert report.unsent == pytest.approx(8000 - report.requests, abs=2)
    assert report.unsent > 4000
