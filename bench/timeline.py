"""Bytes and requests over time, in equal intervals from the start of a run.

A request's bytes are spread evenly over the time between its first and its last byte, because that is when they came:
crediting 50 MB to the instant at which a request ends would draw spikes where the wire saw an even stream. A request
itself counts where it ended. What ended after the run's planned end is kept (the intervals go on), so that the sums
stay exact; rates are taken over the planned window only.

Times are seconds of one monotonic clock that all processes of the machine share; the intervals of two timelines with
the same start and interval add up. Sans-IO; made by ``bench/recorder.py``.
"""

from __future__ import annotations

from collections.abc import Sequence


class Timeline:
    """Bytes and requests by interval; see the module. At most ``intervals_max``: the last takes what comes later."""

    __slots__ = ("_bytes", "_interval_s", "_intervals_max", "_requests", "_start_s")

    def __init__(self, start_s: float, interval_s: float, *, intervals_max: int = 1_000_000) -> None:
        if interval_s <= 0:
            raise ValueError(f"no interval: {interval_s} s")
        self._start_s = start_s
        self._interval_s = interval_s
        self._intervals_max = intervals_max
        self._bytes: list[float] = []
        self._requests: list[int] = []

    @property
    def bytes(self) -> Sequence[float]:
        """Bytes by interval; their sum is exact but for rounding."""
        return self._bytes

    @property
    def requests(self) -> Sequence[int]:
        """Requests by the interval in which they ended."""
        return self._requests

    def add(self, first_s: float, last_s: float, count: int) -> None:
        """Credit one request of ``count`` bytes that arrived evenly between two points in time."""
        last = self._index(last_s)
        self._grow(last + 1)
        self._requests[last] += 1
        first = self._index(first_s)
        if first >= last:
            self._bytes[last] += count
            return
        self._spread(first, last, (first_s - self._start_s, last_s - self._start_s), count)

    def merge(self, sizes: Sequence[float], requests: Sequence[int]) -> None:
        """Add the intervals of another timeline with the same start and interval."""
        self._grow(len(sizes))
        for index, (size, count) in enumerate(zip(sizes, requests, strict=True)):
            self._bytes[index] += size
            self._requests[index] += count

    def _spread(self, first: int, last: int, span_s: tuple[float, float], count: int) -> None:
        start_s, stop_s = span_s
        rate = count / (stop_s - start_s)
        for index in range(first, last + 1):
            inside_from = max(start_s, index * self._interval_s)
            inside_to = min(stop_s, (index + 1) * self._interval_s) if index < last else stop_s
            self._bytes[index] += rate * (inside_to - inside_from)

    def _index(self, at_s: float) -> int:
        return min(max(int((at_s - self._start_s) / self._interval_s), 0), self._intervals_max - 1)

    def _grow(self, length: int) -> None:
        missing = length - len(self._bytes)
        if missing > 0:
            self._bytes.extend([0.0] * missing)
            self._requests.extend([0] * missing)


def coarsen(values: Sequence[float], group: int) -> list[float]:
    """Sums of each ``group`` neighbours; a last, incomplete group is left out."""
    return [sum(values[at : at + group]) for at in range(0, len(values) - group + 1, group)]
