"""Whether the disk may be used: five failures within a minute switch the store off for a rest.

A failing disk answers slowly and often, so asking it again for every read costs more than going to a peer. After the
rest (30 s, where the settings say nothing else) the store is tried again on probation: one more failure switches it off
at once, and a minute without any clears the record. Only failures of the operating system count (EIO, EROFS, a hang),
never a full disk, a damaged file or spent descriptors. Times are seconds of a monotonic clock and come from the caller;
the store asks before each operation and reports each failure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

STRIKES_MAX: Final = 5
WINDOW_S: Final = 60.0
REST_S: Final = 30.0


class Health:
    """The record of one disk, which is left alone for ``rest_s`` when it keeps failing."""

    def __init__(self, rest_s: float = REST_S) -> None:
        self._rest_s = rest_s
        self._strikes: deque[float] = deque(maxlen=STRIKES_MAX)
        self._off_until = float("-inf")
        self.doubted = False  # whether it was ever switched off: before, nobody need ask for the time

    def usable(self, now: float) -> bool:
        """Whether the disk may be asked at ``now``."""
        return now >= self._off_until

    def strike(self, now: float) -> None:
        """The disk failed at ``now``."""
        self._strikes.append(now)
        if len(self._strikes) == STRIKES_MAX and now - self._strikes[0] <= WINDOW_S and self.usable(now):
            self._off_until = now + self._rest_s
            self.doubted = True
            # On probation: all but one of the strikes stand, as of the end of the rest.
            self._strikes.extend([self._off_until] * STRIKES_MAX)
            self._strikes.pop()

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        if len(self._strikes) > STRIKES_MAX:
            yield f"{len(self._strikes)} strikes kept, {STRIKES_MAX} are enough"
