from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count, repeat

from bench.arrivals import Arrivals, Rate
from bench.drivers.by_readiness import drive
from bench.drivers.run import Run
from bench.engines.ports import SplitSession
from bench.engines.raw import open_engine
from bench.operations import Read
from bench.plan import Door, LoadPlan, Shape
from bench.recorder import LoadReport, Recorder
from tests.doubles.scripted_server import HANG_UP, ScriptedServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SLOW_DOWN = b"HTTP/1.1 503 X\r\nContent-Length: 21\r\n\r\n<Code>SlowDown</Code>"
READ = Read("k", 5)
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"


def sessions_to(server: ScriptedServer, number: int) -> list[SplitSession]:
    split = open_engine(LoadPlan(Door((server.endpoint,), "b"), Shape())).split
    assert split is not None
    return [split(index) for index in range(number)]


class Stop:
    """Counts operations out; the run is over when all answers but the last few were taken."""

    def __init__(self, operations: int) -> None:
        self.left = operations
        self.ticks = 0

    def tick(self, recorders: Sequence[Recorder]) -> bool:
        self.ticks += 1
        return sum(each.requests + each.failed for each in recorders) >= self.left


def driven(server: ScriptedServer, sessions: int, operations: int, timeout_s: float = 30.0) -> LoadReport:
    now = time.monotonic()
    run = Run(now, now + 60, 0.1, timeout_s, Stop(operations).tick)
    mine = sessions_to(server, sessions)
    try:
        (recorder,) = drive(run, mine, [(Read(str(number), 5) for number in count()) for _ in mine])
    finally:
        for session in mine:
            session.close()
    return recorder.report()


def test_every_answer_counts_over_all_sessions() -> None:
    scripts = [[OK] * 50, [OK] * 50]
    with ScriptedServer([*scripts, *[[HANG_UP]] * 40]) as server:
        report = driven(server, 2, 100)
    assert (report.requests, report.bytes) == (100, 500)


def test_an_error_rests_the_session_and_the_next_operation_comes() -> None:
    with ScriptedServer([[SLOW_DOWN, OK, OK], *[[HANG_UP]] * 40]) as server:
        report = driven(server, 1, 3)
    assert report.requests == 2
    assert report.errors["SlowDown"] == 1


def test_a_server_may_hang_up_on_a_session_that_rests() -> None:
    with ScriptedServer([[SLOW_DOWN, HANG_UP], [OK, OK], *[[HANG_UP]] * 40]) as server:
        report = driven(server, 1, 3)
    assert report.requests == 2


def test_a_lost_connection_is_made_again() -> None:
    with ScriptedServer([[OK, HANG_UP], [OK, OK], *[[HANG_UP]] * 40]) as server:
        report = driven(server, 1, 4)
    assert report.requests == 3


def test_an_answer_that_stands_still_is_a_timeout() -> None:
    with ScriptedServer([[HALF], *[[HANG_UP]] * 40]) as server:
        report = driven(server, 1, 1, timeout_s=0.05)
    assert report.errors["Timeout"] == 1


def test_when_the_window_is_over_nothing_new_begins() -> None:
    now = time.monotonic()
    run = Run(now - 2, now - 1, 0.1, 30.0, lambda _: False)
    with ScriptedServer([]) as server:
        (recorder,) = drive(run, sessions_to(server, 2), [iter([READ]), iter([READ])])
    assert (recorder.requests, recorder.failed) == (0, 0)


def test_a_finite_workload_ends_the_run() -> None:
    now = time.monotonic()
    run = Run(now, now + 60, 0.1, 30.0, lambda _: False)
    with ScriptedServer([[OK] * 3, [OK] * 2]) as server:
        mine = sessions_to(server, 2)
        (recorder,) = drive(run, mine, [iter([READ] * 3), iter([READ] * 2)])
        for session in mine:
            session.close()
    assert (recorder.requests, recorder.failed) == (5, 0)


def open_run(per_s: float, seconds: float) -> Run:
    now = time.monotonic()
    return Run(now, now + seconds, 0.1, 30.0, lambda _: False, Arrivals(Rate(per_s), now))


def test_in_an_open_loop_operations_begin_by_the_schedule() -> None:
    run = open_run(50.0, 0.3)
    with ScriptedServer([[OK] * 50, [OK] * 50]) as server:
        mine = sessions_to(server, 2)
        (recorder,) = drive(run, mine, [repeat(READ), repeat(READ)])
        for session in mine:
            session.close()
    report = recorder.report()
    assert report.requests + report.unsent == 15
    assert report.service.histogram().count == report.total.histogram().count == report.requests
    assert report.service.sum_ns <= report.total.sum_ns
    assert report.last_s - report.begin_s > 0.25  # it took its time


def test_a_schedule_that_no_connection_can_keep_is_reported() -> None:
    run = open_run(1e6, 0.2)
    with ScriptedServer([[OK] * 10_000]) as server:
        mine = sessions_to(server, 1)
        (recorder,) = drive(run, mine, [repeat(READ)])
        mine[0].close()
    report = recorder.report()
    assert report.unsent == 200_000 - report.requests - report.errors.get("Disconnected", 0)
    assert report.total.largest_ns > report.service.largest_ns


def test_an_idle_connection_that_the_server_closes_is_made_again() -> None:
    run = open_run(20.0, 0.5)
    with ScriptedServer([[OK, HANG_UP]] * 20) as server:
        mine = sessions_to(server, 1)
        (recorder,) = drive(run, mine, [repeat(READ)])
        mine[0].close()
    assert recorder.requests + recorder.failed + recorder.report().unsent == 10
    assert len(server.requests) > 1
    assert recorder.requests > 1  # a close that crosses with a request fails that one
