"""When operations should begin in an open-loop run: at a fixed rate, whatever the server does.

A client that sends its next request when the last answer is whole slows down with the server, so the requests that a
stall would have delayed are never made and the percentiles look well ("coordinated omission"). Here each operation has
an *intended* start on a fixed schedule; a client that is late begins the next one at once, and its latency counts
from the intended start. The schedule is ``offset + taken / rate``, where ``taken`` counts operations or bytes (an
operation takes its turn and pushes the next one away by its size), so it never drifts. What was due within the window
and never began, because all connections were busy, is :meth:`Arrivals.unsent`: a rate that was not held says so.

One of these belongs to one client process. Sans-IO: points in time are the caller's, on any clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """So many operations or (``by_bytes``) body bytes per second."""

    per_s: float
    by_bytes: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.per_s < math.inf:
            raise ValueError(f"no rate: {self.per_s} per second")


class Arrivals:
    """The schedule of one client; see the module. The first operation is due at ``begin_s``."""

    def __init__(self, rate: Rate, begin_s: float) -> None:
        self._rate = rate
        self._begin_s = begin_s
        self._taken = 0
        self._operations = 0

    @property
    def due_s(self) -> float:
        """When the next operation should begin."""
        return self._begin_s + self._taken / self._rate.per_s

    def take(self, size: int) -> float:
        """Take the next operation's turn; ``size``: the body bytes that it moves. Returns its intended start."""
        due_s = self.due_s
        self._taken += max(size, 1) if self._rate.by_bytes else 1
        self._operations += 1
        return due_s

    def unsent(self, until_s: float) -> int:
        """How many operations were due before ``until_s`` and were not taken (by bytes: of the mean size so far)."""
        left = max((until_s - self.due_s) * self._rate.per_s, 0.0)
        each = self._taken / self._operations if self._operations else 1.0
        return math.ceil(round(left / each, 3))  # a clock that counts days is good for no more at a million a second
