"""One client process: opens its engine, waits for the start, works, reports.

It talks to ``bench/load.py`` over a pipe, in this order: the client says ``Ready`` (or ``Refused``, when it cannot
work at all); the parent names the point in time at which all begin; the client says ``Progress`` a few times a second
and at last ``Finished``. Any word from the parent after the start, or the parent's end, means: stop. Ctrl-C is the
parent's to judge, so the client ignores it. Points in time are on the monotonic clock, which processes share.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

import msgspec

from bench.drivers import by_readiness, by_threads
from bench.drivers.run import Run
from bench.engines import open_engine
from bench.engines.ports import Engine
from bench.operations import Operation
from bench.plan import LoadPlan
from bench.recorder import LoadReport, Recorder
from bench.workloads import WORKLOADS


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The engine is open."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The client cannot work: why, in one line."""

    reason: str


class Progress(msgspec.Struct, frozen=True, tag=True):
    """What was counted so far."""

    requests: int
    bytes: int
    failed: int


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The end."""

    report: LoadReport


Said = Ready | Refused | Progress | Finished


def client_main(document: bytes, pipe: Connection) -> None:
    """The body of a client process; ``document``: its LoadPlan as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan = msgspec.json.decode(document, type=LoadPlan)
    if plan.cpus:
        os.sched_setaffinity(0, plan.cpus)
    try:
        engine = open_engine(plan)
    except ValueError as fault:
        _say(pipe, Refused(str(fault)))
        return
    _say(pipe, Ready())
    try:
        begin_s = float(pipe.recv())
        time.sleep(max(begin_s - time.monotonic(), 0))
        _say(pipe, Finished(_work(plan, engine, begin_s, pipe)))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone: nobody wants the figures
    finally:
        engine.close()


def _work(plan: LoadPlan, engine: Engine, begin_s: float, pipe: Connection) -> LoadReport:
    def tick(recorders: Sequence[Recorder]) -> bool:
        _say(pipe, _progress(recorders))
        return pipe.poll()

    run = Run(begin_s, begin_s + plan.shape.duration_s, plan.shape.interval_s, plan.timeout_s, tick)
    total = run.recorder()
    for recorder in _drive(plan, engine, run):
        total.merge(recorder.report())
    total.ended(time.monotonic())
    return total.report()


def _drive(plan: LoadPlan, engine: Engine, run: Run) -> list[Recorder]:
    lanes = range(plan.shape.concurrent)
    sessions = [engine.session(lane) for lane in lanes] if engine.split is None else []
    split = [engine.split(lane) for lane in lanes] if engine.split is not None else []
    try:
        if split:
            return by_readiness.drive(run, split, _operations(plan, 0))
        return by_threads.drive(run, sessions, [_operations(plan, lane) for lane in lanes])
    finally:
        for session in (*sessions, *split):
            session.close()


def _operations(plan: LoadPlan, lane: int) -> Iterator[Operation]:
    chance = random.Random(f"{plan.seed}/{lane}")  # noqa: S311 - which object is read next is no secret
    workload = WORKLOADS[plan.shape.workload]
    return workload(plan.shape.objects_read(), chance.randrange, range_bytes=plan.shape.range_bytes)


def _progress(recorders: Sequence[Recorder]) -> Progress:
    return Progress(
        requests=sum(each.requests for each in recorders),
        bytes=sum(each.bytes for each in recorders),
        failed=sum(each.failed for each in recorders),
    )


def _say(pipe: Connection, said: Said) -> None:
    pipe.send_bytes(msgspec.json.encode(said))
