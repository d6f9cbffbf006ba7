from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import repeat

import pytest

from bench.arrivals import Arrivals, Rate
from bench.drivers.by_threads import drive
from bench.drivers.run import Run
from bench.operations import Operation, OperationFailed, Read

READ = Read("k", 5)


class Counted:
    """A session that does ``operations``, some of them badly, and then says that it is done."""

    def __init__(self, operations: int, *, bad: int = 0) -> None:
        self.first_byte_s = 0.0
        self.done = threading.Event()
        self._left = operations
        self._bad = bad

    def perform(self, operation: Operation) -> int:
        assert operation == READ
        self._left -= 1
        if self._left <= 0:
            self.done.set()
        if self._left < self._bad:
            raise OperationFailed("SlowDown")
        self.first_byte_s = time.monotonic()
        return 5

    def close(self) -> None:
        return


class Broken(Counted):
    def perform(self, operation: Operation) -> int:
        raise RuntimeError("a bug of the engine")


def sources(number: int) -> list[Iterator[Operation]]:
    return [repeat(READ) for _ in range(number)]


def run_until(sessions: list[Counted]) -> Run:
    now = time.monotonic()
    return Run(now, now + 60, 0.1, 30.0, lambda _: all(session.done.is_set() for session in sessions))


def test_each_session_has_its_own_thread_and_recorder() -> None:
    sessions = [Counted(1000), Counted(2000)]
    first, second = drive(run_until(sessions), sessions, sources(2))
    assert first.requests >= 1000
    assert second.requests >= 2000
    assert first.bytes == 5 * first.requests


def test_errors_are_counted_and_the_thread_goes_on() -> None:
    sessions = [Counted(3, bad=1)]
    (recorder,) = drive(run_until(sessions), sessions, sources(1))
    assert recorder.requests == 2
    assert recorder.failed >= 1


def test_a_bug_ends_the_run() -> None:
    now = time.monotonic()
    run = Run(now, now + 60, 0.1, 30.0, lambda _: False)
    with pytest.raises(RuntimeError, match="a bug"):
        drive(run, [Broken(1), Counted(1)], sources(2))


def test_when_the_window_is_over_nothing_new_begins() -> None:
    now = time.monotonic()
    (recorder,) = drive(Run(now - 2, now - 1, 0.1, 30.0, lambda _: False), [Counted(1)], sources(1))
    assert recorder.requests == 0


def test_a_finite_workload_ends_the_run() -> None:
    now = time.monotonic()
    sessions = [Counted(9), Counted(9)]
    run = Run(now, now + 60, 0.1, 30.0, lambda _: False)
    recorders = drive(run, sessions, [iter([READ] * 3), iter([READ] * 2)])
    assert [recorder.requests for recorder in recorders] == [3, 2]


@pytest.mark.parametrize("rate", [None, Rate(200.0)])
def test_the_next_run_goes_on_where_the_window_ended(rate: Rate | None) -> None:
    taken = iter(range(10**9))
    source: Iterator[Operation] = (READ for _ in taken)
    sessions = [Counted(10**9)]
    done = 0
    for _ in range(3):
        now = time.monotonic()
        arrivals = rate and Arrivals(rate, now)
        (recorder,) = drive(Run(now, now + 0.05, 0.1, 30.0, lambda _: False, arrivals), sessions, [source])
        assert recorder.requests > 0
        done += recorder.requests
    assert next(taken) == done  # nothing was taken that was not done


def open_run(per_s: float, seconds: float) -> Run:
    now = time.monotonic()
    return Run(now, now + seconds, 0.1, 30.0, lambda _: False, Arrivals(Rate(per_s), now))


def test_in_an_open_loop_operations_begin_by_the_schedule() -> None:
    sessions = [Counted(1000), Counted(1000)]
    recorders = drive(open_run(50.0, 0.3), sessions, sources(2))
    reports = [recorder.report() for recorder in recorders]
    assert sum(report.requests + report.unsent for report in reports) == 15
    assert all(report.service.sum_ns <= report.total.sum_ns for report in reports)
    assert max(report.last_s - report.begin_s for report in reports) > 0.25


def test_a_schedule_that_no_thread_can_keep_is_reported() -> None:
    (recorder,) = drive(open_run(1e9, 0.1), [Counted(10**9)], sources(1))
    report = recorder.report()
    assert report.unsent == pytest.approx(1e8 - report.requests, abs=2)
    assert report.total.largest_ns > report.service.largest_ns


def test_a_run_that_is_stopped_early_does_not_blame_the_server() -> None:
    now = time.monotonic()
    run = Run(now, now + 60, 0.1, 30.0, lambda _: True, Arrivals(Rate(0.02), now))
    recorders = drive(run, [Counted(9), Counted(9)], sources(2))
    assert sum(recorder.requests for recorder in recorders) == 1
    assert all(recorder.report().unsent == 0 for recorder in recorders)
