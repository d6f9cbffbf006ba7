from __future__ import annotations

import pytest

from bench.client import Begin, Progress
from bench.crew import LoadFailed, OnProgress, together
from bench.load import lead
from bench.plan import Door, LoadPlan, Shape
from bench.recorder import LoadReport, Recorder


class TwoClients:
    """A crew in memory: phases take no time, and in each of them two clients count one operation.

    What happens in the last one is the test's to say: an exception is raised, once.
    """

    def __init__(self, *, last: int, then: type[BaseException] = KeyboardInterrupt) -> None:
        self.interval_s = Shape().interval_s
        self.log: list[str] = []
        self.begun: list[Begin] = []
        self._last = last
        self._then = then

    def ready(self) -> None:
        self.log.append("ready")

    def begin(self, begin: Begin) -> None:
        self.begun.append(begin)
        self.log.append("warm up" if begin.warm_up else f"begin {begin.phase}")

    def gather(self, give_up_s: float, on_progress: OnProgress) -> list[LoadReport]:
        begin = self.begun[-1]
        assert give_up_s > begin.begin_s + 60  # an operation's timeout
        if begin.phase == self._last and "stop" not in self.log:
            raise self._then("once")
        on_progress(Progress(begin.phase, 0, 0))
        recorder = Recorder(begin.begin_s, self.interval_s)
        recorder.done(begin.start_s, begin.start_s, begin.start_s, 7)
        return [recorder.report(), recorder.report()]

    def stop(self) -> None:
        self.log.append("stop")

    def close(self) -> None:
        self.log.append("close")


def led(
    crew: TwoClients,
    workload: str,
    duration_s: float = 60.0,
    *,
    warmup_s: float = 0.0,
    on_progress: OnProgress = lambda _: None,
) -> LoadReport:
    shape = Shape(workload=workload, duration_s=duration_s, warmup_s=warmup_s)
    plan = LoadPlan(Door(("http://h",), "b"), shape)
    crew.interval_s = plan.shape.interval_s
    return lead(plan, crew, on_progress, on_begin=lambda: crew.log.append("on_begin"))


def test_a_workload_of_one_phase_runs_once() -> None:
    crew = TwoClients(last=9)
    report = led(crew, "get", 300.0)
    assert crew.log == ["ready", "on_begin", "begin 0"]
    assert (report.requests, report.bytes) == (2, 14)
    assert report.begin_s == crew.begun[0].begin_s == crew.begun[0].start_s


def test_a_warm_up_ends_before_the_first_reading_and_counts_for_nothing() -> None:
    crew = TwoClients(last=9)
    heard: list[Progress] = []
    report = led(crew, "get", warmup_s=30.0, on_progress=heard.append)
    assert crew.log == ["ready", "warm up", "on_begin", "begin 0"]
    assert (report.requests, report.bytes, len(heard)) == (2, 14, 1)
    assert report.begin_s == crew.begun[1].begin_s == crew.begun[1].start_s > crew.begun[0].begin_s


def test_an_interruption_of_the_warm_up_ends_the_run_with_nothing() -> None:
    crew = TwoClients(last=0)
    heard: list[Progress] = []
    report = led(crew, "get", warmup_s=30.0, on_progress=heard.append)
    assert crew.log == ["ready", "warm up", "stop", "on_begin"]
    assert (report.requests, report.errors, report.interval_bytes, heard) == (0, {}, [], [])
    assert report.last_s == report.begin_s


def test_phases_go_round_until_an_interruption_stops_them() -> None:
    crew = TwoClients(last=3)
    report = led(crew, "checkpoint", 300.0)
    assert crew.log == ["ready", "on_begin", "begin 0", "begin 1", "begin 2", "begin 3", "stop"]
    assert report.requests == 8  # what the interrupted phase counted is kept
    assert len({begin.begin_s for begin in crew.begun}) == 1
    starts = [begin.start_s for begin in crew.begun]
    assert starts == sorted(starts)


def test_a_client_that_dies_is_the_end() -> None:
    crew = TwoClients(last=1, then=LoadFailed)
    with pytest.raises(LoadFailed, match="once"):
        led(crew, "checkpoint", 300.0)
    assert crew.log[-1] == "begin 1"


def test_no_phase_begins_after_the_window() -> None:
    crew = TwoClients(last=1 << 30)
    led(crew, "checkpoint", 300.0 * 1e-9)
    assert crew.log[2:] == ["begin 0"]


def test_progress_adds_up() -> None:
    assert together([Progress(1, 2, 3), Progress(10, 20, 30)]) == Progress(11, 22, 33)
