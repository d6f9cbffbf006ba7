from __future__ import annotations

from itertools import islice

from bench.operations import Read
from bench.workloads.fanout import all_together
from tests.unit.bench.workloads.given import lane, terms


def test_every_lane_reads_the_same() -> None:
    lanes = [list(islice(all_together(terms(2), lane(index, 3)), 4)) for index in range(3)]
    assert lanes[0] == lanes[1] == lanes[2]
    assert lanes[0] == [Read(terms(2).objects[number].key, 10) for number in (0, 1, 0, 1)]


def test_in_parts_where_they_are_asked_for() -> None:
    reads = list(islice(all_together(terms(1, range_bytes=6), lane()), 3))
    assert [read.length for read in reads] == [6, 4, 6]
