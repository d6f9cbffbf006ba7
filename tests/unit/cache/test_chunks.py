"""Chunks: they tile their version, their ids tell everything apart, their placement outlives a version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.chunks import UNIT_BYTES, Chunk, placement_of, unit_count
from cache.versions import ObjectRef, ObjectVersion


def version(size: int = 100, etag: str = '"a"', key: str = "k") -> ObjectVersion:
    return ObjectVersion("http://upstream", "b", key, etag, size)


@given(size=st.integers(1, 10_000), chunk_bytes=st.integers(1, 3_000))
def test_chunks_tile_their_version(size: int, chunk_bytes: int) -> None:
    chunks = [Chunk(version(size), chunk_bytes, index) for index in range(-(-size // chunk_bytes))]
    edges = [0, *(chunk.span.stop for chunk in chunks)]
    assert [chunk.span.start for chunk in chunks] == edges[:-1]
    assert edges[-1] == size
    assert all(0 < chunk.length <= chunk_bytes for chunk in chunks)


@pytest.mark.parametrize(
    ("size", "chunk_bytes", "index"), [(0, 8, 0), (16, 8, 2), (16, 8, -1), (16, 0, 0), (16, -8, 0)]
)
def test_no_such_chunk(size: int, chunk_bytes: int, index: int) -> None:
    with pytest.raises(ValueError, match="no such chunk"):
        Chunk(version(size), chunk_bytes, index)


def test_ids_tell_versions_sizes_and_indexes_apart() -> None:
    chunks = [
        Chunk(version(), 10, 0),
        Chunk(version(), 10, 1),
        Chunk(version(), 20, 0),
        Chunk(version(101), 10, 0),
        Chunk(version(etag='"b"'), 10, 0),
        Chunk(version(key="l"), 10, 0),
    ]
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert {len(chunk.id) for chunk in chunks} == {16}
    assert Chunk(version(), 10, 0).id == chunks[0].id


def test_the_next_version_lives_where_the_last_did() -> None:
    assert Chunk(version(), 10, 3).placement == Chunk(version(etag='"b"', size=50), 10, 3).placement
    assert Chunk(version(), 10, 3).placement == placement_of(ObjectRef("b", "k"), 3)
    assert Chunk(version(), 10, 3).placement != Chunk(version(), 10, 4).placement
    assert 0 <= Chunk(version(), 10, 3).placement < 1 << 64


@pytest.mark.parametrize(("length", "units"), [(0, 0), (1, 1), (UNIT_BYTES, 1), (UNIT_BYTES + 1, 2), (8 << 20, 32)])
def test_units(length: int, units: int) -> None:
    assert unit_count(length) == units
