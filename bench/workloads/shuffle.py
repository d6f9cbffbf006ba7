"""``shuffle``: every sample once per epoch, in an order that is new in every epoch: training over small samples.

A sample is a whole object, or with ``range_bytes`` a record of that length in a larger object (the last record of an
object may be shorter). Samples are dealt out to lanes (``bench/workloads/dealing.py``) as a sampler deals them out to
ranks and loader workers. Unlike ``get``, nothing is read twice before everything was read once:
the access pattern that a least-recently-used cache smaller than the data set serves worst, and the reason why a cache's
eviction policy matters. Small samples make it a test of requests per second. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.operations import BenchObject, Read
from bench.workloads.dealing import deal
from bench.workloads.terms import Lane, Terms
from cache.versions import ByteSpan


def shuffled_samples(terms: Terms, lane: Lane) -> Iterator[Read]:
    """Endless GETs of samples, epoch after epoch."""
    samples = _Samples(terms.objects, terms.range_bytes)
    for number in deal(len(samples), terms, lane):
        yield samples[number]


class _Samples:
    """The samples of all objects, by number; the objects of a run are of one size."""

    def __init__(self, objects: tuple[BenchObject, ...], record_bytes: int) -> None:
        self._objects = objects
        self._record_bytes = record_bytes
        self._each = max(-(-objects[0].size // record_bytes), 1) if record_bytes else 1

    def __len__(self) -> int:
        return len(self._objects) * self._each

    def __getitem__(self, number: int) -> Read:
        index, record = divmod(number, self._each)
        chosen = self._objects[index]
        if self._each == 1:
            return Read(chosen.key, chosen.size)
        start = record * self._record_bytes
        stop = min(start + self._record_bytes, chosen.size)
        return Read(chosen.key, stop - start, ByteSpan(start, stop))
