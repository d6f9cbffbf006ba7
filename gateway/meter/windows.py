"""Rates over the last 1, 10 and 60 seconds, from samples of a counter that only grows.

A sample is (t, total): monotonic seconds, and the counter's value then. Samples may come at any distance; the newest is
always kept, an older one only when its neighbours are ``SPACING_S`` or more apart, and back to one minute, so a series
holds a bounded number of them. The rate over a window is what was counted between its two edges divided by its length;
an edge between two samples is interpolated. A series younger than the window is measured over its whole life (one
second at least), so that a short run shows its own mean and not that of the silence before it, and a first burst is not
divided by nothing. GB/s means 1e9 bytes a second.

The node's meter feeds one series per client and one for all. Nothing here knows the time but from samples.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

WINDOWS: Final[Mapping[str, float]] = {"1s": 1.0, "10s": 10.0, "60s": 60.0}
SPACING_S: Final = 0.2
_KEPT_S: Final = max(WINDOWS.values())
_LEAST_S: Final = min(WINDOWS.values())


class Series:
    """The recent past of one counter."""

    __slots__ = ("_times", "_totals")

    def __init__(self, t: float, total: int) -> None:
        """The counter stood at ``total`` at ``t``."""
        self._times = array("d", (t,))
        self._totals = array("Q", (total,))

    def add(self, t: float, total: int) -> None:
        """A later sample. One that is not later than the last, or not as high, changes nothing."""
        times, totals = self._times, self._totals
        if t <= times[-1] or total < totals[-1]:
            return
        if len(times) > 1 and t - times[-2] < SPACING_S:
            times.pop()
            totals.pop()
        times.append(t)
        totals.append(total)
        stale = bisect_left(times, t - _KEPT_S) - 1  # one at or before the oldest edge stays, to interpolate from
        if stale > 0:
            del times[:stale], totals[:stale]

    def rate(self, window_s: float) -> float:
        """Counted per second over the last ``window_s`` seconds (1 or more) before the newest sample."""
        edge = max(self._times[-1] - window_s, self._times[0])
        span = max(self._times[-1] - edge, _LEAST_S)
        return (self._totals[-1] - self._total_at(edge)) / span

    def rates(self) -> dict[str, float]:
        """The rate over each of ``WINDOWS``, by its name."""
        return {name: self.rate(window_s) for name, window_s in WINDOWS.items()}

    def __len__(self) -> int:
        return len(self._times)

    def _total_at(self, t: float) -> float:
        """The counter at ``t``, which lies between the oldest sample and the newest."""
        after = bisect_left(self._times, t)
        high = self._totals[after]
        if after == 0 or self._times[after] == t:
            return high
        low, since = self._totals[after - 1], self._times[after - 1]
        return low + (high - low) * (t - since) / (self._times[after] - since)
