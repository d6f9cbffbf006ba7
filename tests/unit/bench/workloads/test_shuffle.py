from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bench.operations import Read
from bench.workloads.shuffle import shuffled_samples
from cache.versions import ByteSpan
from tests.unit.bench.workloads.given import lane, terms


def test_whole_objects_once_per_epoch() -> None:
    reads = list(islice(shuffled_samples(terms(50), lane()), 100))
    for epoch in (reads[:50], reads[50:]):
        assert {read.key for read in epoch} == {each.key for each in terms(50).objects}
    assert reads[:50] != reads[50:]


@given(st.integers(1, 5), st.integers(0, 40), st.integers(1, 50))
def test_records_cover_every_byte_once(objects: int, size: int, record: int) -> None:
    count = objects * max(-(-size // record), 1)
    reads = list(islice(shuffled_samples(terms(objects, size, range_bytes=record), lane()), count))
    seen = sorted((read.key, at) for read in reads for at in _bytes_of(read))
    assert seen == [(each.key, at) for each in terms(objects, size).objects for at in range(size)]


def test_a_record_is_a_range() -> None:
    reads = set(islice(shuffled_samples(terms(1, 10, range_bytes=4), lane()), 3))
    key = terms(1).objects[0].key
    assert reads == {Read(key, 4, ByteSpan(0, 4)), Read(key, 4, ByteSpan(4, 8)), Read(key, 2, ByteSpan(8, 10))}


def _bytes_of(read: Read) -> range:
    return range(read.span.start, read.span.stop) if read.span else range(read.length)
