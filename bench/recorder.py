"""What one client counts while it works: operations by kind, bytes, errors by code, durations, and all that over time.

One recorder belongs to one thread, so counting needs no lock; afterwards recorders of threads, of processes, then of
hosts are merged by way of :class:`LoadReport`, the value that crosses the wire. An operation counts once: as a request
with its bytes, or as an error by its code. Times are seconds of a monotonic clock; durations are kept in ns.

Latency runs from the *intended* start of an operation to its last body byte, first-byte latency to the first byte of
the answer. In a closed loop an operation is intended when it is sent. In an open loop it may be sent later; then
*service*, from the sending to the last byte, is counted beside it. A downloaded body moved between the first and the
last byte, an uploaded one between the sending and the answer. Sans-IO; drivers call it, ``bench/result.py`` reads the
report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from bench.histogram import Histogram
from bench.timeline import Timeline


class Durations(msgspec.Struct, frozen=True):
    """A histogram as a value; bucket numbers are those of ``bench/histogram.py``."""

    buckets: dict[int, int] = {}
    sum_ns: int = 0
    largest_ns: int = 0

    def histogram(self) -> Histogram:
        """The histogram that this is a copy of."""
        whole = Histogram()
        whole.merge(self.buckets, sum_ns=self.sum_ns, largest_ns=self.largest_ns)
        return whole


class KindReport(msgspec.Struct, frozen=True):
    """What was counted of one kind of operation; ``service``: empty in a closed loop, where it is ``total``."""

    requests: int
    bytes: int
    failed: int
    total: Durations
    first_byte: Durations
    service: Durations = Durations()


class LoadReport(msgspec.Struct, frozen=True):
    """All that one client, or several together, counted; from ``begin_s`` to ``last_s`` on the monotonic clock.

    ``kinds`` holds the same by kind of operation (``GET``, ``PUT`` …). ``unsent``: operations of an open loop that were
    due in the window and never began.
    """

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
    service: Durations = Durations()
    kinds: dict[str, KindReport] = {}
    unsent: int = 0

    def rebased(self, begin_s: float) -> LoadReport:
        """The same on a clock on which the run began at ``begin_s``."""
        return msgspec.structs.replace(self, begin_s=begin_s, last_s=begin_s + self.last_s - self.begin_s)


class _Kind:
    __slots__ = ("bytes", "failed", "first_byte", "requests", "service", "total")

    def __init__(self) -> None:
        self.requests = self.bytes = self.failed = 0
        self.total = Histogram()
        self.first_byte = Histogram()
        self.service: Histogram | None = None

    def merge(self, other: KindReport) -> None:
        self.requests += other.requests
        self.bytes += other.bytes
        self.failed += other.failed
        _merge(self.total, other.total)
        _merge(self.first_byte, other.first_byte)
        if other.service.buckets:
            self.service = self.service or Histogram()
            _merge(self.service, other.service)

    def report(self) -> KindReport:
        return KindReport(
            requests=self.requests,
            bytes=self.bytes,
            failed=self.failed,
            total=_durations(self.total),
            first_byte=_durations(self.first_byte),
            service=_durations(self.service) if self.service else Durations(),
        )


class Recorder:
    """Counts what its owner did since ``begin_s``; see the module."""

    __slots__ = (
        "_begin_s",
        "_errors",
        "_interval_s",
        "_kinds",
        "_last_s",
        "_timeline",
        "_unsent",
    )

    def __init__(self, begin_s: float, interval_s: float) -> None:
        self._errors: Counter[str] = Counter()
        self._kinds: dict[str, _Kind] = {}
        self._timeline = Timeline(begin_s, interval_s)
        self._begin_s = begin_s
        self._interval_s = interval_s
        self._last_s = begin_s
        self._unsent = 0

    @property
    def requests(self) -> int:
        """How many operations went well."""
        return sum(kind.requests for kind in list(self._kinds.values()))

    @property
    def bytes(self) -> int:
        """How many body bytes they moved."""
        return sum(kind.bytes for kind in list(self._kinds.values()))

    @property
    def failed(self) -> int:
        """How many operations ended as an error."""
        return sum(self._errors.values())

    def done(
        self,
        start_s: float,
        first_s: float,
        last_s: float,
        count: int,
        *,
        kind: str = "GET",
        intended_s: float | None = None,
    ) -> None:
        """One operation that went well: sent, first byte, last byte (points in time), and the body bytes it moved.

        ``intended_s``: in an open loop, when it should have been sent.
        """
        mine = self._kinds.get(kind)
        if mine is None:
            mine = self._kind(kind)
        mine.requests += 1
        mine.bytes += count
        if intended_s is None:
            intended_s = start_s
        else:
            mine.service = mine.service or Histogram()
            mine.service.add(int((last_s - start_s) * 1e9))
        mine.total.add(int((last_s - intended_s) * 1e9))
        mine.first_byte.add(int((first_s - intended_s) * 1e9))
        self._timeline.add(start_s if kind == "PUT" else first_s, last_s, count)
        if last_s > self._last_s:  # noqa: PLR1730 - a call of max costs more than all else here
            self._last_s = last_s

    def went_wrong(self, code: str, last_s: float, *, kind: str = "GET") -> None:
        """One operation that ended as an error; its time is no latency."""
        self._errors[code] += 1
        self._kind(kind).failed += 1
        self._last_s = max(self._last_s, last_s)

    def missed(self, operations: int) -> None:
        """So many operations of an open loop were due and never began."""
        self._unsent += operations

    def ended(self, at_s: float) -> None:
        """The client stopped at ``at_s``; what a run measured reaches to there, whether or not anything succeeded."""
        self._last_s = max(self._last_s, at_s)

    def merge(self, other: LoadReport) -> None:
        """Add what another client counted in the same run. Raises ValueError where it is of another run."""
        if (other.begin_s, other.interval_s) != (self._begin_s, self._interval_s):
            raise ValueError("reports of different runs do not add up")
        self._errors.update(other.errors)
        for name, kind in other.kinds.items():
            self._kind(name).merge(kind)
        self._timeline.merge(other.interval_bytes, other.interval_requests)
        self._unsent += other.unsent
        self._last_s = max(self._last_s, other.last_s)

    def report(self) -> LoadReport:
        """What was counted so far, as a value."""
        kinds = self._kinds.values()
        return LoadReport(
            requests=self.requests,
            bytes=self.bytes,
            errors=dict(self._errors),
            total=_together(each.total for each in kinds),
            first_byte=_together(each.first_byte for each in kinds),
            service=_together(each.service for each in kinds if each.service),
            kinds={name: kind.report() for name, kind in sorted(self._kinds.items())},
            interval_bytes=list(self._timeline.bytes),
            interval_requests=list(self._timeline.requests),
            interval_s=self._interval_s,
            begin_s=self._begin_s,
            last_s=self._last_s,
            unsent=self._unsent,
        )

    def _kind(self, name: str) -> _Kind:
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = _Kind()
        return kind


def _together(histograms: Iterable[Histogram]) -> Durations:
    whole = Histogram()
    for each in histograms:
        _merge(whole, _durations(each))
    return _durations(whole)


def _durations(histogram: Histogram) -> Durations:
    return Durations(histogram.buckets(), histogram.sum_ns, histogram.largest_ns)


def _merge(histogram: Histogram, other: Durations) -> None:
    histogram.merge(other.buckets, sum_ns=other.sum_ns, largest_ns=other.largest_ns)
