from __future__ import annotations

from bench.plan import Shape
from bench.workloads.checkpoint import read_all, saved_objects, write_share
from tests.unit.bench.workloads.given import lane, terms


def test_each_object_is_written_once_by_somebody() -> None:
    keys = [write.key for index in range(3) for write in write_share(terms(7), lane(index, 3))]
    assert sorted(keys) == [each.key for each in saved_objects(Shape(prefix="p/", object_bytes=10, objects=7))]


def test_everyone_reads_everything_each_beginning_elsewhere() -> None:
    lanes = [list(read_all(terms(4), lane(index, 2))) for index in range(2)]
    assert set(lanes[0]) == set(lanes[1])
    assert lanes[0][0] != lanes[1][0]
    assert len(lanes[0]) == 4


def test_reads_may_be_in_parts() -> None:
    reads = list(read_all(terms(2, range_bytes=4), lane()))
    assert [read.length for read in reads] == [4, 4, 2] * 2


def test_bodies_have_the_size_of_the_objects() -> None:
    assert {len(write.body) for write in write_share(terms(3, 25), lane())} == {25}
