"""A histogram of durations that keeps its relative precision: log-linear buckets, as HdrHistogram has them.

A duration is a whole number of nanoseconds. Below 128 ns every value has its own bucket; above, every power of two is
cut into 128 equal buckets, so that a recorded value is known to within 1/128 (0.8 %) however long it was, and a
histogram never grows beyond a few thousand buckets. Adding is one bit operation and one increment; two histograms of
the same kind add up bucket by bucket, so every thread and process keeps its own and nobody locks. Percentiles answer
with the upper end of their bucket, never above the largest value recorded: a latency is never flattered.

Made by ``bench/recorder.py``, read by ``bench/result.py``. Sans-IO.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

_SHIFT: Final = 7
_PER_OCTAVE: Final = 1 << _SHIFT
_BUCKETS: Final = (63 - _SHIFT) * _PER_OCTAVE
_LARGEST_NS: Final = 1 << 60


def bucket_of(value_ns: int) -> int:
    """The bucket that counts ``value_ns``."""
    shift = value_ns.bit_length() - _SHIFT - 1
    return value_ns if shift <= 0 else (shift << _SHIFT) + (value_ns >> shift)


def bucket_end(bucket: int) -> int:
    """The largest duration, in ns, that ``bucket`` counts."""
    shift = (bucket >> _SHIFT) - 1
    if shift <= 0:
        return bucket
    return (((bucket & (_PER_OCTAVE - 1)) + _PER_OCTAVE + 1) << shift) - 1


class Histogram:
    """Counts of durations; see the module."""

    __slots__ = ("_counts", "_largest_ns", "_sum_ns")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._largest_ns = 0
        self._sum_ns = 0

    def add(self, value_ns: int) -> None:
        """Count one duration; a negative one counts as zero, one beyond 36 years as 36 years."""
        value_ns = min(max(value_ns, 0), _LARGEST_NS)
        self._counts[bucket_of(value_ns)] += 1
        self._sum_ns += value_ns
        self._largest_ns = max(self._largest_ns, value_ns)

    def merge(self, buckets: Mapping[int, int], *, sum_ns: int, largest_ns: int) -> None:
        """Add what another histogram counted (its ``buckets()``, ``sum_ns`` and ``largest_ns``)."""
        for bucket, count in buckets.items():
            self._counts[bucket] += count
        self._sum_ns += sum_ns
        self._largest_ns = max(self._largest_ns, largest_ns)

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self._counts)

    @property
    def sum_ns(self) -> int:
        """All durations together, exact."""
        return self._sum_ns

    @property
    def largest_ns(self) -> int:
        """The longest duration, exact; 0 while there is none."""
        return self._largest_ns

    @property
    def mean_ns(self) -> float:
        """The exact mean; 0 while there is none."""
        return self._sum_ns / max(self.count, 1)

    def percentile(self, percent: float) -> int:
        """The duration, in ns, that ``percent`` (0 to 100) of all stayed within; 0 while there is none."""
        wanted = max(math.ceil(self.count * percent / 100), 1)
        seen = 0
        for bucket, count in self._filled():
            seen += count
            if seen >= wanted:
                return min(bucket_end(bucket), self._largest_ns)
        return self._largest_ns

    def buckets(self) -> dict[int, int]:
        """The buckets that counted something: bucket → count."""
        return dict(self._filled())

    def _filled(self) -> Iterator[tuple[int, int]]:
        return ((bucket, count) for bucket, count in enumerate(self._counts) if count)
