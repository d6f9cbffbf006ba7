import os

import pytest
from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES
from cache.faults import OwnFault
from cache.fills.scratch import Scratch


def test_bytes_lie_where_they_lie_in_the_chunk():
    scratch = Scratch(3 * UNIT_BYTES)
    data = os.urandom(UNIT_BYTES + 100)
    scratch.append(data[:70_000])
    scratch.append(memoryview(data)[70_000:])
    assert os.pread(scratch.fd, len(data), 3 * UNIT_BYTES) == data
    assert scratch.unit_hash(3) == xxh3_64_intdigest(data[:UNIT_BYTES])
    assert scratch.unit_hash(4) == xxh3_64_intdigest(data[UNIT_BYTES:])


def test_it_is_never_sealed_and_leaves_nothing():
    scratch = Scratch(0)
    assert scratch.path == ""
    scratch.abandon()
    with pytest.raises(OwnFault):
        scratch.seal()


def test_its_memory_goes_with_it():
    scratch = Scratch(0)
    fd = scratch.fd
    del scratch
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
