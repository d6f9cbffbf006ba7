"""Whole objects, chosen at random: the read of a data loader whose samples are objects of their own.

Every object is as likely as any other at every step (uniform, with repetition), so the working set is the whole data
set and no object is hot: what a cache serves is decided by its size, not by luck. ``warp get`` does the same. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.operations import BenchObject, Read


def whole_objects(
    objects: Sequence[BenchObject], choose: Callable[[int], int], *, range_bytes: int = 0
) -> Iterator[Read]:
    """Endless GETs of whole objects; ``range_bytes`` has no meaning here."""
    del range_bytes
    reads = [Read(each.key, each.size) for each in objects]
    while True:
        yield reads[choose(len(reads))]
