from __future__ import annotations

from itertools import islice

from bench.workloads.shards import PART_BYTES, sequential_shards
from tests.unit.bench.workloads.given import lane, terms


def test_a_shard_is_read_from_front_to_end_before_the_next_begins() -> None:
    reads = list(islice(sequential_shards(terms(3, 10, range_bytes=4), lane()), 9))
    for at in range(0, 9, 3):
        shard = reads[at : at + 3]
        assert len({read.key for read in shard}) == 1
        assert [(read.span.start, read.length) for read in shard if read.span] == [(0, 4), (4, 4), (8, 2)]
    assert len({read.key for read in reads}) == 3


def test_two_lanes_read_other_shards() -> None:
    first, second = ({read.key for read in islice(sequential_shards(terms(4), lane(i, 2)), 2)} for i in range(2))
    assert len(first | second) == 4


def test_without_a_length_parts_are_a_chunk() -> None:
    read = next(sequential_shards(terms(1, 3 * PART_BYTES), lane()))
    assert read.length == PART_BYTES
