"""The port through which a run reaches its clients, wherever they are, and what they say together.

``bench/processes.py`` has clients on this machine, ``bench/hosts.py`` on the nodes of a Ray cluster. A crew begins one
phase at a time in all its clients and gathers their reports. Whatever happens, its owner closes it, and nothing of
it is left running then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from bench.client import Begin, Progress
from bench.recorder import LoadReport

OnProgress = Callable[[Progress], None]


class LoadFailed(Exception):
    """The load could not be made; one line for people."""


class Crew(Protocol):
    """All clients of one run. Every method raises LoadFailed where a client cannot work, died or is late."""

    def ready(self) -> None:
        """Return when all are ready."""

    def begin(self, begin: Begin) -> None:
        """Begin a phase in all of them. ``begin`` is on this process's monotonic clock."""

    def gather(self, give_up_s: float, on_progress: OnProgress) -> list[LoadReport]:
        """The reports of the phase, on this process's clock, when all have come to its end.

        After an interruption (KeyboardInterrupt) it may be called again and goes on where it was.
        """

    def stop(self) -> None:
        """Have all come to an end soon."""

    def close(self) -> None:
        """End all, however far they are."""


def together(progress: Iterable[Progress]) -> Progress:
    """What several clients counted so far."""
    each = list(progress)
    return Progress(
        requests=sum(one.requests for one in each),
        bytes=sum(one.bytes for one in each),
        failed=sum(one.failed for one in each),
    )
