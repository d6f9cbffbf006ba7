"""What StoredChunk lets leave: never a byte that does not match its hash."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import random
import threading
from pathlib import Path
from typing import Literal

import pytest

from cache.chunks import UNIT_BYTES, unit_count
from cache.faults import DiskDamaged, DiskFailed
from cache.store.files import THREADS, FileStore
from cache.store.stored import WINDOW_UNITS, OpenFile, Stamp, StoredChunk
from cache.tally import Count, Tally
from cache.versions import ByteSpan
from tests.unit.cache.store.samples import body_of, chunk_of, fill, flip, path_of, read_all, store_in

BIG = 5 * UNIT_BYTES + 77
Verify = Literal["auto", "always"]


@pytest.fixture(params=["auto", "always"])
def verify(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tally() -> Tally:
    return Tally()


def fresh_reader(tmp_path: Path, verify: str, tally: Tally, size: int = BIG) -> tuple[FileStore, StoredChunk]:
    """A reader that verified nothing yet, from a store that did not make the chunk."""
    fill(store_in(tmp_path), chunk_of(1, size))
    store = store_in(tmp_path, verify=verify, tally=tally)
    reader = store.find(chunk_of(1, size))
    assert reader is not None
    return store, reader


async def test_an_unverified_chunk_is_read_in_windows(tmp_path: Path, tally: Tally) -> None:
    _, reader = fresh_reader(tmp_path, "auto", tally)
    whole = ByteSpan(0, BIG)
    assert not reader.ready(whole.start, whole.stop)
    assert await reader.reached(0) == WINDOW_UNITS * UNIT_BYTES
    assert reader.ready(5, UNIT_BYTES * 3 + 1)
    assert not reader.ready(whole.start, whole.stop)
    assert await reader.reached(WINDOW_UNITS * UNIT_BYTES) == BIG
    assert reader.ready(whole.start, whole.stop)
    assert await reader.reached(3) == BIG
    assert tally.words[Count.UNITS_VERIFIED] == unit_count(BIG)
    assert await read_all(reader) == body_of(reader.chunk)


async def test_a_range_verifies_only_its_window(tmp_path: Path, tally: Tally) -> None:
    _, reader = fresh_reader(tmp_path, "auto", tally)
    assert await reader.reached(5 * UNIT_BYTES + 1) == BIG
    assert tally.words[Count.UNITS_VERIFIED] == 1
    assert reader.ready(5 * UNIT_BYTES, BIG)


async def test_always_hashes_what_is_in_memory_at_once(tmp_path: Path, tally: Tally) -> None:
    _, reader = fresh_reader(tmp_path, "always", tally)
    assert await read_all(reader) == body_of(reader.chunk)
    assert reader.ready(0, BIG)


async def test_readers_of_one_window_share_one_reading(tmp_path: Path, tally: Tally) -> None:
    _, reader = fresh_reader(tmp_path, "auto", tally, UNIT_BYTES)
    bounds = await asyncio.gather(*(reader.reached(0) for _ in range(20)))
    assert set(bounds) == {UNIT_BYTES}
    assert not reader._checks


async def test_a_reader_that_leaves_disturbs_no_other(tmp_path: Path, tally: Tally) -> None:
    _, reader = fresh_reader(tmp_path, "auto", tally)
    leaving, staying = asyncio.create_task(reader.reached(0)), asyncio.create_task(reader.reached(0))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == WINDOW_UNITS * UNIT_BYTES
    with pytest.raises(asyncio.CancelledError):
        await leaving


def test_a_touched_file_is_verified_anew(tmp_path: Path, verify: str) -> None:
    reader = fill(store_in(tmp_path), chunk_of(1, BIG))
    assert reader.ready(0, BIG)
    path = path_of(tmp_path, reader.chunk)
    stat = path.stat()
    flip(path, 8 * 300_000)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the modification time lies
    assert not reader.ready(0, BIG)


def test_pages_that_left_memory_are_not_ready(tmp_path: Path) -> None:
    reader = fill(store_in(tmp_path), chunk_of(1, BIG))
    os.fsync(reader.fd)
    os.posix_fadvise(reader.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if reader._desk.pages.resident(reader.fd, 0, BIG):
        pytest.skip("this filesystem keeps its pages in memory")
    assert not reader.ready(0, BIG)
    assert asyncio.run(reader.reached(0)) == WINDOW_UNITS * UNIT_BYTES


async def test_200_flipped_bits_under_open_readers_are_never_sent(tmp_path: Path, verify: str, tally: Tally) -> None:
    """Whatever is reached is right; the flipped unit never is. The reader had verified everything before the flip."""
    dice = random.Random(1)
    store = store_in(tmp_path, verify=verify, tally=tally)
    for number in range(200):
        chunk = chunk_of(number, 2 * UNIT_BYTES + 9)
        reader = fill(store, chunk)
        bit = dice.randrange(8 * chunk.length)
        flip(path_of(tmp_path, chunk), bit)
        byte = bit // 8
        start = dice.randrange(byte + 1)
        assert not reader.ready(start, byte + 1)
        with pytest.raises(DiskDamaged):
            await reader.reached(start)
        assert not reader.ready(start, byte + 1)
        assert store.find(chunk) is None
    assert tally.words[Count.DISK_DAMAGED] == 200
    assert store.used_bytes() == 0


def test_200_flipped_bits_of_small_chunks_are_never_taken(tmp_path: Path, verify: str) -> None:
    dice = random.Random(3)
    store = store_in(tmp_path, verify=verify)
    for number in range(200):
        chunk = chunk_of(number, 1 + dice.randrange(UNIT_BYTES))
        fill(store, chunk)
        assert store.take(chunk) == body_of(chunk)
        flip(path_of(tmp_path, chunk), dice.randrange(8 * chunk.length))
        assert store.take(chunk) is None


def test_a_small_chunk_cut_short_or_out_of_memory_is_not_taken(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    reader = fill(store, chunk_of(1))
    os.fsync(reader.fd)
    os.posix_fadvise(reader.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    taken = store.take(chunk_of(1))  # a kernel may keep the page, or have it back before RWF_NOWAIT gives up
    assert taken is None or taken == body_of(chunk_of(1))
    fill(store, chunk_of(2))
    os.truncate(path_of(tmp_path, chunk_of(2)), 999)
    assert store.take(chunk_of(2)) is None


async def test_200_flipped_bits_in_files_found_later_are_never_sent(tmp_path: Path, verify: str, tally: Tally) -> None:
    dice = random.Random(2)
    maker, store = store_in(tmp_path), store_in(tmp_path, verify=verify, tally=tally)
    for number in range(200):
        chunk = chunk_of(number, UNIT_BYTES + 9)
        fill(maker, chunk)
        flip(path_of(tmp_path, chunk), dice.randrange(8 * chunk.length))
        reader = store.find(chunk)
        assert reader is not None
        with pytest.raises(DiskDamaged):
            await read_all(reader)
        assert store.find(chunk) is None
    assert tally.words[Count.DISK_DAMAGED] == 200


async def test_a_flip_does_not_spoil_a_range_in_another_window(tmp_path: Path, tally: Tally) -> None:
    _, reader = fresh_reader(tmp_path, "auto", tally)
    flip(path_of(tmp_path, reader.chunk), 8 * 5 * UNIT_BYTES)
    assert await reader.reached(0) == WINDOW_UNITS * UNIT_BYTES
    with pytest.raises(DiskDamaged):
        await reader.reached(WINDOW_UNITS * UNIT_BYTES)


@pytest.mark.parametrize("size", [0, 1, UNIT_BYTES, BIG - 1])
async def test_a_file_cut_under_an_open_reader_is_damage(tmp_path: Path, verify: str, tally: Tally, size: int) -> None:
    _, reader = fresh_reader(tmp_path, verify, tally)
    os.truncate(path_of(tmp_path, reader.chunk), size)
    with pytest.raises(DiskDamaged):
        await read_all(reader)


async def test_an_evicted_chunk_is_read_to_its_end(tmp_path: Path, verify: str, tally: Tally) -> None:
    store, reader = fresh_reader(tmp_path, verify, tally)
    path_of(tmp_path, reader.chunk).unlink()
    assert await read_all(reader) == body_of(reader.chunk)
    assert store.find(reader.chunk) is None


async def test_a_damaged_reader_of_a_replaced_file_does_not_take_the_new_one_out(tmp_path: Path, tally: Tally) -> None:
    store, reader = fresh_reader(tmp_path, "auto", tally)
    path = path_of(tmp_path, reader.chunk)
    with path.open("r+b") as old:
        fill(store_in(tmp_path), reader.chunk)
        old.write(b"x" * 100)
    with pytest.raises(DiskDamaged):
        await reader.reached(0)
    found = store.find(reader.chunk)
    assert found is not None
    assert await read_all(found) == body_of(reader.chunk)


async def test_unit_hashes_are_those_of_the_footer(tmp_path: Path, tally: Tally) -> None:
    _, reader = fresh_reader(tmp_path, "auto", tally)
    sealed = fill(store_in(tmp_path), reader.chunk)
    units = range(unit_count(BIG))
    assert [reader.unit_hash(unit) for unit in units] == [sealed.unit_hash(unit) for unit in units]


@pytest.mark.parametrize("position", [-1, BIG, BIG + 1])
async def test_there_is_nothing_to_reach_outside(tmp_path: Path, tally: Tally, position: int) -> None:
    _, reader = fresh_reader(tmp_path, "auto", tally)
    with pytest.raises(ValueError, match="no byte"):
        await reader.reached(position)


async def test_the_descriptor_can_only_read(tmp_path: Path, tally: Tally) -> None:
    store = store_in(tmp_path)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(fill(store, chunk_of()).fd, b"x")
    _, reader = fresh_reader(tmp_path, "auto", tally)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(reader.fd, b"x")


async def test_a_disk_that_refuses_to_read_is_a_fault(tmp_path: Path, verify: str, tally: Tally) -> None:
    """The descriptor was taken by a directory."""
    _, reader = fresh_reader(tmp_path, verify, tally)
    other = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(other, reader.fd)
    os.close(other)
    with pytest.raises(DiskFailed):
        await reader.reached(0)
    assert tally.words[Count.DISK_ERRORS] == 1


async def test_a_disk_that_hangs_is_a_fault_after_a_while(tmp_path: Path, tally: Tally) -> None:
    """All threads are held, as by a disk that answers nothing."""
    store, reader = fresh_reader(tmp_path, "auto", tally)
    answer = threading.Event()
    for _ in range(THREADS):
        store._threads.submit(answer.wait)
    reader._desk = dataclasses.replace(reader._desk, timeout_s=0.01)
    with pytest.raises(DiskFailed):
        await reader.reached(0)
    assert tally.words[Count.DISK_ERRORS] == 1
    answer.set()
    reader._desk = dataclasses.replace(reader._desk, timeout_s=60)
    assert await reader.reached(0) == WINDOW_UNITS * UNIT_BYTES
    store.close()


async def test_a_file_that_never_rests_is_a_fault(tmp_path: Path, tally: Tally) -> None:
    """Its times change during each reading."""
    _, reader = fresh_reader(tmp_path, "auto", tally)
    path, turns = path_of(tmp_path, reader.chunk), itertools.count(1)

    class Restless(OpenFile):
        def stamp(self) -> Stamp:  # type: ignore[explicit-override]  # typing has no override before 3.12
            os.utime(path, ns=(0, next(turns)))
            return super().stamp()

    reader._file = Restless(os.dup(reader.fd))
    with pytest.raises(DiskFailed):
        await reader.reached(0)
    assert not reader.ready(0, 1)


async def test_the_last_holder_closes_the_descriptor(tmp_path: Path, tally: Tally) -> None:
    store, reader = fresh_reader(tmp_path, "auto", tally)
    fd = reader.fd
    store._readers.drop(reader.chunk.id)
    os.fstat(fd)
    del reader
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
