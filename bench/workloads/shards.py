"""``shards``: large record files, each read once from front to end: the read of a loader over tar or record shards.

In every epoch each shard is read by one lane, in sequential ranges of ``range_bytes`` (by default 8 MiB, the read of
many loaders and a gateway's chunk), as a loader with bounded memory does it. The order of shards is shuffled anew for
every epoch (``bench/workloads/dealing.py``). What it shows is sequential throughput: readahead, and how well a cold
read beats one upstream connection. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench.operations import Read
from bench.workloads.dealing import deal
from bench.workloads.terms import Lane, Terms, in_parts

PART_BYTES: Final = 8 << 20


def sequential_shards(terms: Terms, lane: Lane) -> Iterator[Read]:
    """Endless ranged GETs, shard after shard."""
    for number in deal(len(terms.objects), terms, lane):
        yield from in_parts(terms.objects[number], terms.range_bytes or PART_BYTES)
