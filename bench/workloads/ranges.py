"""``range``: random ranges of random objects: the read of a loader that picks samples out of large shards.

With a range length given, every range has it (or the whole object, where that is shorter) and starts anywhere that it
fits, not only at multiples: readers of record files do not align. Without one, start and length are both random, as
``warp get --range`` has it. An empty object is read whole, because no range of it exists. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.operations import BenchObject, Read
from bench.workloads.terms import Choose, Lane, Terms
from cache.versions import ByteSpan


def random_ranges(terms: Terms, lane: Lane) -> Iterator[Read]:
    """Endless ranged GETs; ``range_bytes`` each, or of random length where it is 0."""
    objects = terms.objects
    while True:
        yield _pick(objects[lane.choose(len(objects))], lane.choose, terms.range_bytes)


def _pick(chosen: BenchObject, choose: Choose, range_bytes: int) -> Read:
    if chosen.size == 0:
        return Read(chosen.key, 0)
    length = min(range_bytes, chosen.size) if range_bytes else 1 + choose(chosen.size)
    start = choose(chosen.size - length + 1)
    return Read(chosen.key, length, ByteSpan(start, start + length))
