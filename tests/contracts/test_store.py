"""What every Store promises, over the one on disk and the one in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk, unit_count
from cache.faults import OwnFault
from cache.ports import ChunkReader, Store
from cache.store.files import FileStore
from cache.tally import Tally
from cache.versions import ObjectVersion
from tests.doubles.memory_store import MemoryStore

STORES: dict[str, Callable[[Path], Store]] = {
    "files": lambda path: FileStore(path, quota_bytes=1 << 30, tally=Tally()),
    "files, verify always": lambda path: FileStore(path, quota_bytes=1 << 30, tally=Tally(), verify="always"),
    "memory": lambda path: MemoryStore(),
}
BODY = os.urandom(2 * UNIT_BYTES + 17)


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made: Store = request.param(tmp_path)
    return made


def chunk_of(etag: str = '"1"', body: bytes = BODY) -> Chunk:
    return Chunk(ObjectVersion("http://o", "b", "k", etag, len(body)), len(body), 0)


def fill(store: Store, chunk: Chunk, body: bytes = BODY) -> ChunkReader:
    writer = store.create(chunk)
    writer.append(body[:1000])
    writer.append(memoryview(body)[1000:])
    return writer.seal()


async def read(reader: ChunkReader, position: int = 0) -> bytes:
    sent = b""
    while position < reader.length:
        bound = await reader.reached(position)
        assert position < bound <= reader.length
        sent += os.pread(reader.fd, bound - position, position)
        position = bound
    return sent


async def test_what_was_sealed_is_found(store: Store) -> None:
    assert store.find(chunk_of()) is None
    sealed = fill(store, chunk_of())
    found = store.find(chunk_of())
    assert found is not None
    assert found.length == sealed.length == len(BODY)
    assert await read(found) == await read(sealed) == BODY
    assert await read(found, 12_345) == BODY[12_345:]
    assert found.ready(0, len(BODY))
    for unit in range(unit_count(len(BODY))):
        assert found.unit_hash(unit) == xxh3_64_intdigest(BODY[unit * UNIT_BYTES : (unit + 1) * UNIT_BYTES])


def test_a_chunk_just_sealed_is_ready(store: Store) -> None:
    assert fill(store, chunk_of()).ready(0, len(BODY))


def test_a_small_chunk_is_taken_whole(store: Store) -> None:
    chunk = chunk_of(body=BODY[:4321])
    assert store.take(chunk) is None
    fill(store, chunk, BODY[:4321])
    assert bytes(store.take(chunk) or b"") == BODY[:4321]
    assert store.take(chunk_of('"2"', BODY[:4321])) is None


def test_nothing_is_found_before_seal_and_the_bytes_are_there(store: Store) -> None:
    writer = store.create(chunk_of())
    writer.append(BODY)
    assert store.find(chunk_of()) is None
    assert os.pread(writer.fd, len(BODY), 0) == BODY
    assert Path(writer.path).read_bytes() == BODY
    writer.abandon()
    writer.abandon()
    assert store.find(chunk_of()) is None


def test_another_version_is_another_chunk(store: Store) -> None:
    fill(store, chunk_of())
    assert store.find(chunk_of('"2"')) is None


def test_too_many_and_too_few_bytes_are_refused(store: Store) -> None:
    writer = store.create(chunk_of())
    with pytest.raises(OwnFault):
        writer.seal()
    with pytest.raises(OwnFault):
        writer.append(BODY + b"x")
    writer.abandon()


async def test_a_chunk_filled_twice_is_one(store: Store) -> None:
    first = fill(store, chunk_of())
    fill(store, chunk_of())
    found = store.find(chunk_of())
    assert found is not None
    assert await read(found) == await read(first) == BODY


async def test_two_writers_of_one_chunk_do_not_meet(store: Store) -> None:
    one, other = store.create(chunk_of()), store.create(chunk_of())
    one.append(BODY)
    other.append(BODY[:5])
    sealed = one.seal()
    other.abandon()
    found = store.find(chunk_of())
    assert found is not None
    assert await read(found) == await read(sealed) == BODY


async def test_many_may_wait_at_once(store: Store) -> None:
    fill(store, chunk_of())
    found = store.find(chunk_of())
    assert found is not None
    bodies = await asyncio.gather(*(read(found, position) for position in range(0, len(BODY), 100_000)))
    assert [BODY.endswith(body) for body in bodies] == [True] * len(bodies)


@pytest.mark.parametrize("position", [-1, len(BODY)])
async def test_there_is_nothing_outside(store: Store, position: int) -> None:
    reader = fill(store, chunk_of())
    with pytest.raises(ValueError, match="no byte"):
        await reader.reached(position)


def test_a_touch_is_nothing_but_a_touch(store: Store) -> None:
    for _ in range(5):
        store.touch(chunk_of())
    assert store.find(chunk_of()) is None


def test_the_descriptor_lives_as_long_as_its_reader(store: Store) -> None:
    reader = fill(store, chunk_of())
    os.fstat(reader.fd)
