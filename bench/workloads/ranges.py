"""Random ranges of random objects: the read of a loader that picks samples out of large shards.

With a range length given, every range has it (or the whole object, where that is shorter) and starts anywhere that it
fits, not only at multiples: readers of record files do not align. Without one, start and length are both random, as
``warp get --range`` has it. An empty object is read whole, because no range of it exists. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.operations import BenchObject, Read
from cache.versions import ByteSpan


def random_ranges(
    objects: Sequence[BenchObject], choose: Callable[[int], int], *, range_bytes: int = 0
) -> Iterator[Read]:
    """Endless ranged GETs; ``range_bytes`` each, or of random length where it is 0."""
    while True:
        yield _pick(objects[choose(len(objects))], choose, range_bytes)


def _pick(chosen: BenchObject, choose: Callable[[int], int], range_bytes: int) -> Read:
    if chosen.size == 0:
        return Read(chosen.key, 0)
    length = min(range_bytes, chosen.size) if range_bytes else 1 + choose(chosen.size)
    start = choose(chosen.size - length + 1)
    return Read(chosen.key, length, ByteSpan(start, start + length))
