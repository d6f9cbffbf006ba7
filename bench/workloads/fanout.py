"""``fanout``: every client reads the same object at the same time: a model or an index that all ranks load at start.

All lanes read the objects in the same order (by default there is one), from front to end, in ranges of ``range_bytes``
where that is given, and go round. With one object it is the hottest that there can be; cold, it shows whether a cache
asks upstream once or once per client; with several, lanes that were together at the first object drift apart as far as
the server lets them. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.operations import Read
from bench.workloads.terms import Lane, Terms, in_parts


def all_together(terms: Terms, lane: Lane) -> Iterator[Read]:
    """Endless GETs, the same in every lane."""
    del lane
    while True:
        for each in terms.objects:
            yield from in_parts(each, terms.range_bytes)
