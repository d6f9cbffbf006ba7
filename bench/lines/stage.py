"""Where lines are measured: a directory, cores, servers of this machine, and single requests with a stopwatch.

A stage makes gateways (each with a cache of its own under the stage's directory) and sessions to them. ``scale``
shrinks what is moved, so that a trial run is quick; lines are judged as they stand, whatever the scale, which a result
states. Sessions are the raw engine's: one connection, one request at a time. A shell.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.engines import raw
from bench.engines.ports import Engine, Session, SplitSession
from bench.operations import BenchObject, Operation, Read
from bench.peers import BUCKET, KEYS, UPSTREAM_KEYS, door_to
from bench.plan import Door, LoadPlan, Shape
from bench.servers.child import Listening
from bench.servers.forebay import ALONE, Place, serve_gateway


@dataclass(frozen=True, slots=True)
class Stage:
    """See the module. ``rounds``: how often a figure is taken; ``say``: one line of progress."""

    root: Path
    scale: float
    rounds: int
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    say: Callable[[str], None]

    def scaled(self, count: int, *, least: int = 1) -> int:
        """``count`` at this stage's scale."""
        return max(int(count * self.scale), least)

    def gateway(self, upstream: str, name: str, place: Place = ALONE) -> AbstractContextManager[Listening]:
        """A node with one worker over ``upstream``; the same name finds the same cache again."""
        access_key, secret_key = KEYS
        return serve_gateway(
            Door((upstream,), BUCKET, *UPSTREAM_KEYS),
            self.root / name,
            access_key=access_key,
            secret_key=secret_key,
            cpus=self.server_cpus,
            place=place,
        )

    def cache_of(self, name: str) -> Path:
        """The cache directory of the gateway of that name."""
        return self.root / name / "cache"


@contextmanager
def engine_to(endpoint: str) -> Iterator[Engine]:
    """The raw engine on one endpoint, for this process; it receives without copying."""
    engine = raw.open_engine(LoadPlan(door_to(endpoint), Shape(discard=True), timeout_s=120))
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def session_to(endpoint: str) -> Iterator[Session]:
    """One connection to an endpoint; it connects at its first request."""
    with engine_to(endpoint) as engine:
        session = engine.session(0)
        try:
            yield session
        finally:
            session.close()


@dataclass(frozen=True, slots=True)
class Timed:
    """How long a request took, in seconds: to the first byte of its answer, and to the last."""

    first_s: float
    total_s: float


def timed(session: Session, operation: Operation) -> Timed:
    """Perform one operation. Raises OperationFailed."""
    began_s = time.monotonic()
    session.perform(operation)
    return Timed(session.first_byte_s - began_s, time.monotonic() - began_s)


def whole(each: BenchObject) -> Read:
    """The read of a whole object."""
    return Read(each.key, each.size)


def crowd(endpoint: str, count: int, warm_up: Read, read: Read) -> float:
    """``count`` clients read the same at the same moment; seconds until the last has it. Raises OperationFailed.

    Each connects first, with a request of its own.
    """
    with engine_to(endpoint) as engine:
        assert engine.split is not None  # noqa: S101 - plain HTTP always splits
        sessions = [engine.split(lane) for lane in range(count)]
        try:
            for session in sessions:
                session.perform(warm_up)
            began_s = time.monotonic()
            for session in sessions:
                session.start(read)
            _await_all(sessions)
            return time.monotonic() - began_s
        finally:
            for session in sessions:
                session.close()


def _await_all(sessions: list[SplitSession]) -> None:
    poller = select.epoll()
    waiting = {session.fileno(): session for session in sessions}
    with poller:
        for descriptor in waiting:
            poller.register(descriptor, select.EPOLLIN)
        while waiting:
            for descriptor, _ in poller.poll():
                if waiting[descriptor].advance() is not None:
                    poller.unregister(descriptor)
                    del waiting[descriptor]
