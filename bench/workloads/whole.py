"""``get``: whole objects, chosen at random: the read of a data loader whose samples are objects of their own.

Every object is as likely as any other at every step (uniform, with repetition), so the working set is the whole data
set and no object is hot: what a cache serves is decided by its size, not by luck. ``warp get`` does the same. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.operations import Read
from bench.workloads.terms import Lane, Terms


def whole_objects(terms: Terms, lane: Lane) -> Iterator[Read]:
    """Endless GETs of whole objects."""
    reads, choose = terms.reads, lane.choose
    while True:
        yield reads[choose(len(reads))]
