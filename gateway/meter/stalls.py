"""What responses waited for: shares by cause, and the verdict "why does it wait".

Waits are totals in microseconds by cause, in the order of ``layout.CAUSES``; they only grow. A response may be one of
many in flight, so waits add up faster than the clock: only their shares say something, and only when there is enough of
them. The verdict is over the last seconds, not over all time, because "why is rank 3 slow" means now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.meter import layout

RECENT_S: Final = 10.0
_STEP_S: Final = 1.0
NEGLIGIBLE: Final = 0.01  # waited seconds per second below which nobody waits for anything


@dataclass(frozen=True, slots=True)
class Verdict:
    """The cause of most of the waiting, and its share of it (above 0, at most 1)."""

    cause: str
    share: float


def shares(waited: Mapping[str, float]) -> dict[str, float]:
    """Each cause's share of all waiting; every share is 0 when nobody waited."""
    total = sum(waited.values())
    return {cause: (amount / total if total > 0 else 0.0) for cause, amount in waited.items()}


def judge(waited_s: Mapping[str, float], elapsed_s: float) -> Verdict | None:
    """Why responses waited during ``elapsed_s`` seconds; None when they hardly did. The first of equal causes wins."""
    if not waited_s or sum(waited_s.values()) <= NEGLIGIBLE * elapsed_s:
        return None
    cause, share = max(shares(waited_s).items(), key=lambda item: item[1])
    return Verdict(cause, share)


class Recent:
    """Waits of about the last ten seconds, from samples of the totals."""

    __slots__ = ("_marks",)

    def __init__(self, t: float, totals_us: Sequence[int]) -> None:
        """The totals stood at ``totals_us`` at ``t`` (monotonic seconds)."""
        self._marks: deque[tuple[float, tuple[int, ...]]] = deque([(t, tuple(totals_us))])

    def add(self, t: float, totals_us: Sequence[int]) -> None:
        """A later sample; ones that come less than a second after the one before the last replace the last."""
        marks = self._marks
        if t <= marks[-1][0]:
            return
        if len(marks) > 1 and marks[-1][0] - marks[-2][0] < _STEP_S:
            marks.pop()
        marks.append((t, tuple(totals_us)))
        while len(marks) > 2 and marks[1][0] <= t - RECENT_S:
            marks.popleft()

    def waited_s(self) -> dict[str, float]:
        """Seconds waited by cause since the oldest mark."""
        (_, old), (_, new) = self._marks[0], self._marks[-1]
        return {cause: max(b - a, 0) / 1e6 for cause, a, b in zip(layout.CAUSES, old, new, strict=True)}

    def elapsed_s(self) -> float:
        """Seconds since the oldest mark."""
        return self._marks[-1][0] - self._marks[0][0]
