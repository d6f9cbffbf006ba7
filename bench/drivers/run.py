"""What a driver is given: one run of one client process, and whether it is over.

``tick`` is called a few times a second with the recorders so far (for progress) and says whether to stop early. After
a failed operation a connection rests for ``REST_S``, so that a server that refuses is not hammered at full speed.
Without ``arrivals`` the run is a closed loop; with them an operation begins when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.arrivals import Arrivals
from bench.recorder import Recorder

REST_S: Final = 0.05
TICK_S: Final = 0.2

Tick = Callable[[Sequence[Recorder]], bool]


@dataclass(frozen=True, slots=True)
class Run:
    """``begin_s`` to ``until_s``: the window, on the monotonic clock; ``timeout_s``: of one operation."""

    begin_s: float
    until_s: float
    interval_s: float
    timeout_s: float
    tick: Tick
    arrivals: Arrivals | None = None

    def recorder(self) -> Recorder:
        """A recorder for one thread of this run."""
        return Recorder(self.begin_s, self.interval_s)
