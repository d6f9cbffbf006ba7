"""One thread per session: for clients that block, as most programs' do.

Every thread has a recorder and an iterator of its own, so they share nothing but the interpreter and, in an open loop,
the schedule: a thread takes a turn and waits until it comes. What an iterator gave is begun, unless the run is stopped
early, so that the next run can go on with it. The calling thread reports progress and owns the threads: it returns, or
raises what one of them raised, when all have ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from bench.arrivals import Arrivals
from bench.drivers.run import REST_S, TICK_S, Run
from bench.engines.ports import Session
from bench.operations import Operation, OperationFailed
from bench.recorder import Recorder


def drive(run: Run, sessions: Sequence[Session], operations: Sequence[Iterator[Operation]]) -> list[Recorder]:
    """Keep all sessions busy until the window is over; ``operations``: one iterator each. Returns what was counted."""
    recorders = [run.recorder() for _ in sessions]
    turns = _Turns(run)
    with ThreadPoolExecutor(len(sessions)) as pool:
        work = zip(sessions, operations, recorders, strict=True)
        waiting = {pool.submit(_work, turns, session, source, mine) for session, source, mine in work}
        try:
            while waiting:
                ended, waiting = wait(waiting, TICK_S, FIRST_EXCEPTION)
                for future in ended:
                    future.result()
                if run.tick(recorders):
                    turns.stop.set()
        finally:
            turns.stop.set()
    recorders[0].missed(turns.unsent())
    return recorders


class _Turns:
    """When a thread may begin its next operation. Shared by all threads."""

    def __init__(self, run: Run) -> None:
        self.stop = threading.Event()
        self._run = run
        self._lock = threading.Lock()

    def wait(self, operations: Iterator[Operation]) -> tuple[Operation, float, float | None] | None:
        """The operation to begin now, the time, and when it was intended (open loop). None: there are no more."""
        if time.monotonic() >= self._run.until_s or self.stop.is_set():
            return None
        arrivals = self._run.arrivals
        if arrivals is None:
            operation = next(operations, None)
            return None if operation is None else (operation, time.monotonic(), None)
        taken = self._take(arrivals, operations)
        if taken is None:
            return None
        operation, intended_s = taken
        wait_s = intended_s - time.monotonic()
        if wait_s > 0 and self.stop.wait(wait_s):
            return None
        return operation, time.monotonic(), intended_s

    def unsent(self) -> int:
        """Turns of the window that nobody took; none where the run was stopped before its end."""
        arrivals = self._run.arrivals
        if arrivals is None or time.monotonic() < self._run.until_s:
            return 0
        return arrivals.unsent(self._run.until_s)

    def _take(self, arrivals: Arrivals, operations: Iterator[Operation]) -> tuple[Operation, float] | None:
        """The next operation and its turn, unless that comes after the window."""
        with self._lock:
            if arrivals.due_s >= self._run.until_s:
                return None
            operation = next(operations, None)
            return None if operation is None else (operation, arrivals.take(operation.moves))


def _work(turns: _Turns, session: Session, operations: Iterator[Operation], recorder: Recorder) -> None:
    while turn := turns.wait(operations):
        operation, started_s, intended_s = turn
        try:
            count = session.perform(operation)
        except OperationFailed as fault:
            recorder.went_wrong(fault.code, time.monotonic(), kind=operation.kind)
            turns.stop.wait(REST_S)
            continue
        recorder.done(
            started_s,
            session.first_byte_s,
            time.monotonic(),
            count + operation.sends,
            kind=operation.kind,
            intended_s=intended_s,
        )
