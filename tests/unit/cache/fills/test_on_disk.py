import os

import pytest

from cache.chunks import Chunk
from cache.faults import DiskFailed
from cache.fills.on_disk import WRITES_MAX, append_all, make_file, store_whole
from cache.fills.ride import Ride
from cache.versions import ObjectVersion
from tests.doubles.memory_store import MemoryStore


def ride_of(length: int) -> Ride:
    chunk = Chunk(ObjectVersion("o", "b", "k", '"e"', length), 1 << 20, 0)
    return Ride(chunk, fetch=lambda span: pytest.fail("nobody asks"))


@pytest.mark.parametrize("count", [1, WRITES_MAX, WRITES_MAX + 1, 50])
def test_a_whole_chunk_is_made_written_and_sealed_in_one_go(count):
    pieces = tuple(bytes([number]) * (number + 1) for number in range(count))
    store, ride = MemoryStore(), ride_of(sum(map(len, pieces)))
    reader = store_whole(store, ride, pieces)
    assert os.pread(reader.fd, ride.length, 0) == b"".join(pieces)
    assert store.chunks == {ride.chunk: reader}


def test_many_small_pieces_become_one_write():
    class Counting:
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def append(self, data: bytes) -> None:
            self.sizes.append(len(data))

    few, many = Counting(), Counting()
    append_all(few, (b"a",) * WRITES_MAX)
    append_all(many, (b"a",) * (WRITES_MAX + 1))
    assert (few.sizes, many.sizes) == ([1] * WRITES_MAX, [WRITES_MAX + 1])


def test_a_file_for_a_ride_that_is_over_takes_nothing():
    store, ride = MemoryStore(), ride_of(5)
    ride.over = True
    writer = make_file(store, ride, (b"12",))
    assert ride.writer is writer
    with pytest.raises(DiskFailed):
        writer.append(b"345")
