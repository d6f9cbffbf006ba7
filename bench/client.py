"""One client at work: its engine and its lanes, phase after phase; and the body of a client process.

A :class:`Client` belongs to one process, of this machine (``bench/processes.py``) or of another (``bench/hosts.py``).
It opens its engine and one session per lane, keeps them over all phases, and answers every ``Begin`` with a report.
A warm-up is a phase whose report nobody adds up, and which does not count as progress; what follows it goes on with the
operations where it stopped, so that nothing is read twice that the workload would read once.

A client process talks over a pipe: it says ``Ready`` (or ``Refused``, when it cannot work at all); for every ``Begin``
it says ``Progress`` a few times a second and at last ``Finished``. Any word from the parent in between, or the parent's
end, means: stop. Ctrl-C is the parent's to judge, so the client ignores it. Points in time are on the monotonic clock,
which the processes of a machine share.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Final

import msgspec

from bench.arrivals import Arrivals
from bench.bodies import Bodies
from bench.drivers import by_readiness, by_threads
from bench.drivers.run import Run
from bench.engines import open_engine
from bench.engines.batches import batched
from bench.engines.ports import Session, SplitSession
from bench.operations import Operation
from bench.plan import LoadPlan
from bench.recorder import LoadReport, Recorder
from bench.workloads import WORKLOADS
from bench.workloads.terms import Choose, Lane, Operations, Terms, nothing

URGENT_NICE: Final = -10


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Start phase ``phase`` of the run that began at ``begin_s``, at ``start_s``: all clients at the same time.

    ``warm_up``: of the warm-up, which began at ``begin_s``, instead.
    """

    begin_s: float
    start_s: float
    phase: int
    warm_up: bool = False


class Stop(msgspec.Struct, frozen=True, tag=True):
    """No more."""


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
    """The end of a phase."""

    report: LoadReport


Said = Ready | Refused | Progress | Finished
Told = Begin | Stop
OnTick = Callable[[Progress], bool]


class Client:
    """See the module. Raises ValueError, in one line for people, where the engine cannot be opened."""

    def __init__(self, plan: LoadPlan) -> None:
        shape = plan.shape
        self._plan = plan
        self._workload = WORKLOADS[shape.workload]
        self._engine = open_engine(plan)
        self._done = Progress(0, 0, 0)
        self._under_way: list[Iterator[Operation]] = []  # a warm-up's, to go on with
        self._terms = Terms(
            objects=shape.objects_read(),
            shared=self._shared,
            body=Bodies(shape.object_bytes).body,
            range_bytes=shape.range_bytes,
            prefix=shape.prefix,
            mix=shape.mix,
        )
        lanes = range(shape.concurrent)
        writes = self._workload.written is not nothing  # an upload would keep the other lanes of its thread waiting
        split = None if writes else self._engine.split
        self._split: list[SplitSession] = [split(lane) for lane in lanes] if split else []
        self._sessions: list[Session] = [] if split else [self._engine.session(lane) for lane in lanes]

    def work(self, begin: Begin, on_tick: OnTick) -> LoadReport:
        """Do one phase. ``on_tick`` hears what was counted so far, in all phases, and says whether to stop."""
        shape = self._plan.shape
        until_s = begin.begin_s + (shape.warmup_s if begin.warm_up else shape.duration_s)
        before = self._done

        def so_far(recorders: Sequence[Recorder]) -> Progress:
            return before if begin.warm_up else _progress(before, recorders)

        def tick(recorders: Sequence[Recorder]) -> bool:
            return on_tick(so_far(recorders))

        run = Run(begin.begin_s, until_s, shape.interval_s, self._plan.timeout_s, tick, self._arrivals(begin))
        lanes = self._under_way or self._lanes(self._workload.phases[begin.phase % len(self._workload.phases)])
        self._under_way = lanes if begin.warm_up else []
        time.sleep(max(begin.start_s - time.monotonic(), 0))
        recorders = self._drive(run, lanes)
        self._done = so_far(recorders)
        total = run.recorder()
        for recorder in recorders:
            total.merge(recorder.report())
        total.ended(time.monotonic())
        return total.report()

    def close(self) -> None:
        """Close all connections, in the middle of an answer too."""
        for session in (*self._sessions, *self._split):
            session.close()
        self._engine.close()

    def _drive(self, run: Run, lanes: Sequence[Iterator[Operation]]) -> list[Recorder]:
        if self._split:
            return by_readiness.drive(run, self._split, lanes)
        return by_threads.drive(run, self._sessions, lanes)

    def _lanes(self, operations: Operations) -> list[Iterator[Operation]]:
        """What each lane does in a phase, from its beginning."""
        lanes = [operations(self._terms, self._lane(index)) for index in range(self._plan.shape.concurrent)]
        return [batched(lane, self._plan.shape.batch) for lane in lanes] if self._engine.batches else lanes

    def _lane(self, index: int) -> Lane:
        number = self._plan.first_lane + index
        return Lane(number, self._plan.lanes or self._plan.shape.concurrent, self._chance(f"lane {number}"))

    def _shared(self, name: str) -> Choose:
        return self._chance(f"all {name}")

    def _chance(self, name: str) -> Choose:
        return random.Random(f"{self._plan.seed}/{name}").randrange  # noqa: S311 - what is read next is no secret

    def _arrivals(self, begin: Begin) -> Arrivals | None:
        """This client's part of the schedule: its turns fall between the other clients' turns."""
        plan = self._plan
        rate = plan.shape.arrivals
        if rate is None:
            return None
        lanes = plan.lanes or plan.shape.concurrent
        between_s = 0.0 if rate.by_bytes else plan.first_lane / lanes / rate.per_s
        return Arrivals(rate, begin.start_s + between_s)


def client_main(document: bytes, pipe: Connection) -> None:
    """The body of a client process; ``document``: its LoadPlan as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan = msgspec.json.decode(document, type=LoadPlan)
    if plan.cpus:
        os.sched_setaffinity(0, plan.cpus)
    if plan.urgent:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, URGENT_NICE)
    try:
        client = Client(plan)
    except ValueError as fault:
        _say(pipe, Refused(str(fault)))
        return
    try:
        _serve(client, pipe)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone: nobody wants the figures
    finally:
        client.close()


def _serve(client: Client, pipe: Connection) -> None:
    def on_tick(progress: Progress) -> bool:
        _say(pipe, progress)
        return pipe.poll()

    _say(pipe, Ready())
    while isinstance(told := _hear(pipe), Begin):
        _say(pipe, Finished(client.work(told, on_tick)))


def _hear(pipe: Connection) -> Told:
    told: Told = msgspec.json.decode(pipe.recv_bytes(), type=Told)
    return told


def _say(pipe: Connection, said: Said) -> None:
    pipe.send_bytes(msgspec.json.encode(said))


def _progress(before: Progress, recorders: Sequence[Recorder]) -> Progress:
    return Progress(
        requests=before.requests + sum(each.requests for each in recorders),
        bytes=before.bytes + sum(each.bytes for each in recorders),
        failed=before.failed + sum(each.failed for each in recorders),
    )
