"""One thread, many split sessions: ``epoll`` says whose bytes are there.

Each descriptor that is ready gets one ``advance``; when its answer is whole, its next request goes out at once, or, in
an open loop, when its turn comes: until then the connection is idle, and closed if the server closes it. A session that
failed rests, then starts over; one whose answer stood still for the run's timeout is failed by the driver, because
nothing else would ever wake it. Each session has its own operations.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.drivers.run import REST_S, TICK_S, Run
from bench.engines.ports import SplitSession
from bench.operations import Operation, OperationFailed
from bench.recorder import Recorder


@dataclass(slots=True)
class _Lane:
    session: SplitSession
    operations: Iterator[Operation]
    operation: Operation | None = None
    intended_s: float | None = None
    started_s: float = 0.0
    moved_s: float = 0.0
    descriptor: int = -1


def drive(run: Run, sessions: Sequence[SplitSession], operations: Sequence[Iterator[Operation]]) -> list[Recorder]:
    """Keep all sessions busy until the window is over; ``operations``: one iterator each. Returns what was counted."""
    with select.epoll() as poller:
        driver = _Driver(run, poller)
        driver.drive([_Lane(session, source) for session, source in zip(sessions, operations, strict=True)])
        return [driver.recorder]


class _Driver:
    def __init__(self, run: Run, poller: select.epoll) -> None:
        self.recorder = run.recorder()
        self._run = run
        self._arrivals = run.arrivals
        self._poller = poller
        self._busy: dict[int, _Lane] = {}
        self._idle: deque[_Lane] = deque()
        self._resting: deque[tuple[float, _Lane]] = deque()
        self._until_s = run.until_s

    def drive(self, lanes: list[_Lane]) -> None:
        for lane in lanes:
            self._start(lane)
        next_tick_s = time.monotonic() + TICK_S
        while self._busy or self._resting or self._idle:
            for descriptor, _ in self._poll():
                self._heard(descriptor)
            now = time.monotonic()
            if self._resting or self._idle:
                self._wake(now)
            if now >= next_tick_s:
                next_tick_s = now + TICK_S
                self._tick(now)
        if self._arrivals is not None and self._until_s == self._run.until_s:
            self.recorder.missed(self._arrivals.unsent(self._until_s))

    def _poll(self) -> list[tuple[int, int]]:
        """Whose bytes are there; waits until then, or until somebody's rest or turn comes."""
        if self._arrivals is None or not self._idle:
            return self._poller.poll(REST_S)
        wait_s = min(self._arrivals.due_s - time.monotonic(), REST_S)
        if wait_s > 0:  # epoll would round up to milliseconds, which a fast schedule would see
            select.select([self._poller.fileno()], [], [], wait_s)
        return self._poller.poll(0)

    def _start(self, lane: _Lane) -> None:
        now = time.monotonic()
        if now >= self._until_s:
            self._unwatch(lane)
            return
        if self._arrivals is not None and self._arrivals.due_s > now:
            if self._arrivals.due_s < self._until_s:
                self._idle.append(lane)
            return
        operation = lane.operation = next(lane.operations, None)
        if operation is None:
            self._unwatch(lane)
            return
        lane.intended_s = None if self._arrivals is None else self._arrivals.take(operation.moves)
        lane.started_s = lane.moved_s = now
        try:
            lane.session.start(operation)
        except OperationFailed as fault:
            self._failed(lane, fault.code)
            return
        self._watch(lane)

    def _heard(self, descriptor: int) -> None:
        lane = self._busy.get(descriptor)
        if lane is not None:
            self._advance(lane)
            return
        for idle in self._idle:  # a server may hang up on a connection that has nothing to do
            if idle.descriptor == descriptor:
                idle.session.close()
                idle.descriptor = -1

    def _watch(self, lane: _Lane) -> None:
        descriptor = lane.session.fileno()
        if descriptor != lane.descriptor:
            lane.descriptor = descriptor
            self._poller.register(descriptor, select.EPOLLIN)
        self._busy[descriptor] = lane

    def _unwatch(self, lane: _Lane) -> None:
        """Nobody waits for this connection now; that the server may close it is no event."""
        if lane.descriptor >= 0 and lane.session.fileno() >= 0:  # a closed one has left the poller by itself
            self._poller.unregister(lane.descriptor)
        lane.descriptor = -1

    def _advance(self, lane: _Lane) -> None:
        session, operation = lane.session, lane.operation
        try:
            count = session.advance()
        except OperationFailed as fault:
            self._leave(lane)
            self._failed(lane, fault.code)
            return
        lane.moved_s = now = time.monotonic()
        if count is None or operation is None:
            return
        self.recorder.done(
            lane.started_s,
            session.first_byte_s,
            now,
            count + operation.sends,
            kind=operation.kind,
            intended_s=lane.intended_s,
        )
        self._leave(lane)
        self._start(lane)

    def _leave(self, lane: _Lane) -> None:
        self._busy.pop(lane.descriptor, None)
        if lane.session.fileno() < 0:
            lane.descriptor = -1

    def _failed(self, lane: _Lane, code: str) -> None:
        self._unwatch(lane)
        now = time.monotonic()
        self.recorder.went_wrong(code, now, kind=lane.operation.kind if lane.operation else "")
        self._resting.append((now + REST_S, lane))

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._start(self._resting.popleft()[1])
        if now >= self._until_s:
            self._idle.clear()
        while self._idle and self._arrivals is not None and self._arrivals.due_s <= now:
            self._start(self._idle.popleft())

    def _tick(self, now: float) -> None:
        if self._run.tick([self.recorder]):
            self._until_s = now
        for lane in list(self._busy.values()):
            if now - lane.moved_s > self._run.timeout_s:
                lane.session.close()
                self._leave(lane)
                self._failed(lane, "Timeout")
