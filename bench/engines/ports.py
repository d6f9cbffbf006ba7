"""What a driver asks of an engine: connections that perform operations.

A session is one connection's worth of client, used by one thread. Every engine has blocking sessions; one that also
offers :class:`SplitSession` (start, then advance whenever bytes are there) is driven from one thread by readiness,
which costs a fraction of a thread per connection. Sessions connect when they must and reconnect after a failure by
themselves. All errors are :class:`bench.operations.OperationFailed`; a session stays usable after one. An operation
that a client has no call for fails as ``NotSupported``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.operations import Operation
from bench.plan import LoadPlan


class Session(Protocol):
    """``first_byte_s``: when the first byte of the last answer came, on the monotonic clock."""

    first_byte_s: float

    def perform(self, operation: Operation) -> int:
        """Do it; the body bytes that came. Raises OperationFailed."""

    def close(self) -> None:
        """Close the connection, in the middle of an answer too."""


class SplitSession(Session, Protocol):
    """A session that never waits for the server between ``start`` and the answer's end."""

    def start(self, operation: Operation) -> None:
        """Send the request. Raises OperationFailed."""

    def advance(self) -> int | None:
        """Take what came; the answer's body bytes once it is whole, else None. Raises OperationFailed."""

    def fileno(self) -> int:
        """The descriptor to watch while an operation is under way; it changes when the session reconnects."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, opened in a client process: ``session(i)`` makes connection i; ``split`` is set if it can split.

    ``batches``: it reads whole objects by the batch (``ReadBatch``).
    """

    session: Callable[[int], Session]
    split: Callable[[int], SplitSession] | None
    close: Callable[[], None]
    batches: bool = False


OpenEngine = Callable[[LoadPlan], Engine]
