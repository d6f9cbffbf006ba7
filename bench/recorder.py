"""What one client counts while it works: requests, bytes, errors by code, durations, and all that over time.

One recorder belongs to one thread, so counting needs no lock; afterwards recorders of threads, then of processes, are
merged by way of :class:`LoadReport`, the value that crosses the pipe. An operation counts once: as a request with its
bytes, or as an error by its code. Times are seconds of the machine's monotonic clock; durations are kept in ns.

Latency runs from the moment at which the client began to send the request to the last body byte; first-byte latency to
the first byte of the answer. Sans-IO; drivers call it, ``bench/result.py`` reads the report.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from bench.histogram import Histogram
from bench.timeline import Timeline


class Durations(msgspec.Struct, frozen=True):
    """A histogram as a value; bucket numbers are those of ``bench/histogram.py``."""

    buckets: dict[int, int]
    sum_ns: int
    largest_ns: int

    def histogram(self) -> Histogram:
        """The histogram that this is a copy of."""
        whole = Histogram()
        whole.merge(self.buckets, sum_ns=self.sum_ns, largest_ns=self.largest_ns)
        return whole


class LoadReport(msgspec.Struct, frozen=True):
    """All that one client, or several together, counted; from ``begin_s`` to ``last_s`` on the monotonic clock."""

    requests: int
    bytes: int
    errors: dict[str, int]
    total: Durations
    first_byte: Durations
    interval_bytes: list[float]
    interval_requests: list[int]
    interval_s: float
    begin_s: float
    last_s: float


class Recorder:
    """Counts what its owner did since ``begin_s``; see the module."""

    __slots__ = (
        "_begin_s",
        "_errors",
        "_first_byte",
        "_interval_s",
        "_last_s",
        "_timeline",
        "_total",
        "bytes",
        "requests",
    )

    def __init__(self, begin_s: float, interval_s: float) -> None:
        self.requests = 0
        self.bytes = 0
        self._errors: Counter[str] = Counter()
        self._total = Histogram()
        self._first_byte = Histogram()
        self._timeline = Timeline(begin_s, interval_s)
        self._begin_s = begin_s
        self._interval_s = interval_s
        self._last_s = begin_s

    @property
    def failed(self) -> int:
        """How many operations ended as an error."""
        return sum(self._errors.values())

    def done(self, start_s: float, first_s: float, last_s: float, count: int) -> None:
        """One operation that went well: sent, first byte, last byte (points in time), and its body bytes."""
        self.requests += 1
        self.bytes += count
        self._total.add(int((last_s - start_s) * 1e9))
        self._first_byte.add(int((first_s - start_s) * 1e9))
        self._timeline.add(first_s, last_s, count)
        self._last_s = max(self._last_s, last_s)

    def went_wrong(self, code: str, last_s: float) -> None:
        """One operation that ended as an error; its time is no latency."""
        self._errors[code] += 1
        self._last_s = max(self._last_s, last_s)

    def ended(self, at_s: float) -> None:
        """The client stopped at ``at_s``; what a run measured reaches to there, whether or not anything succeeded."""
        self._last_s = max(self._last_s, at_s)

    def merge(self, other: LoadReport) -> None:
        """Add what another client counted in the same run. Raises ValueError where it is of another run."""
        if (other.begin_s, other.interval_s) != (self._begin_s, self._interval_s):
            raise ValueError("reports of different runs do not add up")
        self.requests += other.requests
        self.bytes += other.bytes
        self._errors.update(other.errors)
        _merge(self._total, other.total)
        _merge(self._first_byte, other.first_byte)
        self._timeline.merge(other.interval_bytes, other.interval_requests)
        self._last_s = max(self._last_s, other.last_s)

    def report(self) -> LoadReport:
        """What was counted so far, as a value."""
        return LoadReport(
            requests=self.requests,
            bytes=self.bytes,
            errors=dict(self._errors),
            total=_durations(self._total),
            first_byte=_durations(self._first_byte),
            interval_bytes=list(self._timeline.bytes),
            interval_requests=list(self._timeline.requests),
            interval_s=self._interval_s,
            begin_s=self._begin_s,
            last_s=self._last_s,
        )


def _durations(histogram: Histogram) -> Durations:
    return Durations(histogram.buckets(), histogram.sum_ns, histogram.largest_ns)


def _merge(histogram: Histogram, other: Durations) -> None:
    histogram.merge(other.buckets, sum_ns=other.sum_ns, largest_ns=other.largest_ns)
