"""One thread per session: for clients that block, as most programs' do.

Every thread has a recorder and an iterator of its own, so they share nothing but the interpreter. The calling thread
reports progress and owns the threads: it returns, or raises what one of them raised, when all have ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from bench.drivers.run import REST_S, TICK_S, Run
from bench.engines.ports import Session
from bench.operations import Operation, OperationFailed
from bench.recorder import Recorder


def drive(run: Run, sessions: Sequence[Session], operations: Sequence[Iterator[Operation]]) -> list[Recorder]:
    """Keep all sessions busy until the window is over; ``operations``: one iterator each. Returns what was counted."""
    recorders = [run.recorder() for _ in sessions]
    stop = threading.Event()
    with ThreadPoolExecutor(len(sessions)) as pool:
        work = zip(sessions, operations, recorders, strict=True)
        waiting = {pool.submit(_work, run, session, source, mine, stop) for session, source, mine in work}
        try:
            while waiting:
                ended, waiting = wait(waiting, TICK_S, FIRST_EXCEPTION)
                for future in ended:
                    future.result()
                if run.tick(recorders):
                    stop.set()
        finally:
            stop.set()
    return recorders


def _work(
    run: Run, session: Session, operations: Iterator[Operation], recorder: Recorder, stop: threading.Event
) -> None:
    while (started_s := time.monotonic()) < run.until_s and not stop.is_set():
        try:
            count = session.perform(next(operations))
        except OperationFailed as fault:
            recorder.went_wrong(fault.code, time.monotonic())
            stop.wait(REST_S)
            continue
        recorder.done(started_s, session.first_byte_s, time.monotonic(), count)
