"""Keep-alive connections shared by the threads of one process, and calls over them that are tried again.

At most ``gateway.connections`` sockets are open; a thread that finds them all busy waits. A call is always a GET or a
HEAD, so trying again is safe: after a lost connection, a cut body, 429 or a 5xx, with growing pauses (full jitter), at
most ``gateway.attempts`` times. A connection that was idle and turns out dead before a byte of the answer came costs
neither a pause nor an attempt: servers close idle connections, and the pool's other idle ones may have gone too.

A fork takes threads and locks away but leaves the sockets' descriptors: :meth:`ConnectionPool.forget` closes the
child's copies (the parent's connections live on) and starts afresh. ``reader`` calls it after every fork.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from gateway.client.connection import Connection, ConnectionLost
from gateway.client.endpoint import Gateway
from gateway.client.errors import GatewayUnreachable, refusal
from gateway.client.responses import Head, Request

RETRIED: Final = frozenset({429, 500, 502, 503, 504})
ERROR_BYTES_MAX: Final = 1 << 20
PAUSE_S: Final = 0.1
PAUSE_S_MAX: Final = 5.0

T = TypeVar("T")


class ConnectionPool:
    """The connections of one reader. Thread-safe."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open: set[Connection] = set()
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._places = threading.BoundedSemaphore(self._gateway.connections)

    def take(self, *, fresh: bool = False) -> Connection:
        """An idle connection, or (always, if ``fresh``) a new one; waits while all are busy. Raises ConnectionLost."""
        self._places.acquire()
        try:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is not None and fresh:
                self._drop(connection)
                connection = None
            return connection or self._connect()
        except BaseException:
            self._places.release()
            raise

    def give(self, connection: Connection) -> None:
        """Take back a connection; one that cannot be used again is closed."""
        if connection.reusable:
            with self._lock:
                self._idle.append(connection)
        else:
            self._drop(connection)
        self._places.release()

    def call(self, request: Request, receive: Callable[[Connection, Head], T]) -> T:
        """Send ``request``, return what ``receive`` makes of a 2xx answer; ``receive`` may run several times.

        Raises a leaf of GatewayError for a refusal, GatewayUnreachable when no attempt brought a whole answer.
        """
        attempt, fresh = 1, False
        while True:
            try:
                head, value = self._exchange(request, receive, fresh=fresh)
                if value is not None:
                    return value[0]
                error = refusal(head[0].status, head[0].headers, head[1], request.asked)
                if error.status not in RETRIED or attempt >= self._gateway.attempts:
                    raise error
            except StaleConnection:
                fresh = True
                continue
            except ConnectionLost as lost:
                if attempt >= self._gateway.attempts:
                    raise GatewayUnreachable(f"{request.asked}: {lost} (attempt {attempt})") from lost
            time.sleep(random.random() * min(PAUSE_S * 2**attempt, PAUSE_S_MAX))  # noqa: S311  (spreads, hides nothing)
            attempt += 1

    def close(self) -> None:
        """Close what is idle; connections in use are closed when they come back unusable or by :meth:`forget`."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            self._drop(connection)

    def forget(self) -> None:
        """After a fork, in the child: close this process's copies of all sockets, begin with none."""
        for connection in self._open:
            connection.close()
        self._open = set()
        self._start()

    def _connect(self) -> Connection:
        connection = Connection(self._gateway)
        with self._lock:
            self._open.add(connection)
        return connection

    def _drop(self, connection: Connection) -> None:
        connection.close()
        with self._lock:
            self._open.discard(connection)

    def _exchange(
        self, request: Request, receive: Callable[[Connection, Head], T], *, fresh: bool
    ) -> tuple[tuple[Head, bytes], tuple[T] | None]:
        """One attempt: the head, with an error document if it is no 2xx, else with what ``receive`` returned."""
        connection = self.take(fresh=fresh)
        stale = connection.used
        try:
            head = connection.ask(request.render(self._gateway, time.time()), bodiless=request.method == "HEAD")
            if head.status in {200, 204, 206}:
                return (head, b""), (receive(connection, head),)
            return (head, b"" if request.method == "HEAD" else connection.receive_all(ERROR_BYTES_MAX)), None
        except ConnectionLost as lost:
            if stale and not lost.answered:
                raise StaleConnection(str(lost), answered=False) from lost
            raise
        finally:
            self.give(connection)


class StaleConnection(ConnectionLost):
    """An idle connection had been closed by the other side before it was used again."""
