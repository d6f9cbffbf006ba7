import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import BudgetSpent, DiskFull, OwnFault, UpstreamBroken, UpstreamUnreachable
from cache.fills import driver
from cache.fills.driver import Fills
from cache.store.files import FileStore
from cache.store.filling import FileWriter
from cache.tally import Tally
from cache.versions import ByteSpan, ObjectRef
from tests.doubles.memory_origin import MemoryOrigin
from tests.doubles.memory_store import MemoryStore

MIB = 1 << 20


class SystemClock:
    monotonic = staticmethod(time.monotonic)


@pytest.fixture
async def bench():
    origin, store, tally = MemoryOrigin(), MemoryStore(), Tally()
    with ThreadPoolExecutor(2) as executor:
        fills = Fills(origin, store, SystemClock(), tally=tally, executor=executor, fills_max=2)
        yield origin, store, tally, fills
        await fills.close()
        assert not list(fills.check())


async def content(reader) -> bytes:
    position = 0
    while position < reader.length:
        position = await reader.reached(position)
    return os.pread(reader.fd, reader.length, 0)


async def test_100_riders_cost_one_fetch(bench):
    origin, store, tally, fills = bench
    chunk = Chunk(origin.put("k", MIB), MIB, 0)
    async with origin.hold():
        rides = [fills.ride(chunk) for _ in range(100)]
        riders = [asyncio.create_task(content(ride)) for ride in rides]
    assert set(await asyncio.gather(*riders)) == {origin.body(chunk.version)}
    assert origin.calls == [("k", ByteSpan(0, MIB))]
    assert tally.read()["chunk_coalesced"] == 99
    await fills.settled()
    assert store.find(chunk) is not None


async def test_questions_of_one_turn_are_bounded_as_others_are(bench):
    origin, _, _, fills = bench
    limit = fills._questions.limit
    names = [f"k{number}" for number in range(limit + 7)]
    for name in names:
        origin.put(name, 10)
    async with origin.hold():
        asked = [fills.begin(ObjectRef("b", name), MIB, lambda _: None, whole=False) for name in names]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, BudgetSpent) for answer in answers) == 7
    await fills.settled()
    await asyncio.sleep(0)
    assert fills._questions.used == 0


async def test_a_small_chunk_that_turns_out_to_be_here_is_not_written_again(bench):
    origin, store, tally, fills = bench
    chunk = Chunk(origin.put("k", 1000), MIB, 0)
    assert await content(fills.ride(chunk)) == origin.body(chunk.version)
    await fills.settled()
    written = store.find(chunk)
    assert (
        await fills.begin(ObjectRef(chunk.version.bucket, "k"), MIB, lambda _: None, whole=False)
    ).version == chunk.version
    assert await content_of(fills, chunk) == origin.body(chunk.version)
    await fills.settled()
    assert store.find(chunk) is written
    assert tally.read()["fills_sealed"] == tally.read()["fills_started"] == 2


async def test_riders_read_before_the_chunk_is_whole(bench):
    origin, store, _, fills = bench
    chunk = Chunk(origin.put("k", 4 * MIB), 4 * MIB, 0)
    async with origin.pause_at(2 * MIB):
        ride = fills.ride(chunk)
        position = 0
        while position < MIB:
            position = await ride.reached(position)
        assert os.pread(ride.fd, MIB, 0) == origin.body(chunk.version)[:MIB]
        assert ride.unit_hash(0) == xxh3_64_intdigest(origin.body(chunk.version)[:UNIT_BYTES])
        assert ride.ready(0, MIB)
        assert not ride.ready(0, 4 * MIB)
        assert ride.path
        assert store.find(chunk) is None
    assert await content(ride) == origin.body(chunk.version)


async def test_the_second_chunk_of_an_object_is_its_own_span(bench):
    origin, _, _, fills = bench
    chunk = Chunk(origin.put("k", MIB + 5), MIB, 1)
    assert await content(fills.ride(chunk)) == origin.body(chunk.version)[MIB:]
    assert origin.calls == [("k", ByteSpan(MIB, MIB + 5))]


async def test_a_broken_body_is_resumed_from_where_it_broke(bench):
    origin, _, _, fills = bench
    chunk = Chunk(origin.put("k", MIB), MIB, 0)
    origin.troubles = [(300_000, UpstreamUnreachable("reset"))]
    assert await content(fills.ride(chunk)) == origin.body(chunk.version)
    assert origin.calls == [("k", ByteSpan(0, MIB)), ("k", ByteSpan(300_000, MIB))]


async def test_a_fault_reaches_every_rider_and_nothing_is_stored(bench):
    origin, store, tally, fills = bench
    chunk = Chunk(origin.put("k", MIB), MIB, 0)
    origin.troubles = [(100, UpstreamBroken("short"))] * 4
    rides = [fills.ride(chunk) for _ in range(3)]
    results = await asyncio.gather(*(content(ride) for ride in rides), return_exceptions=True)
    assert [type(result) for result in results] == [UpstreamBroken] * 3
    assert store.find(chunk) is None
    assert tally.read()["fills_failed"] == 1
    assert not fills.coming(None, chunk)


async def test_a_full_disk_is_told_before_upstream_is_asked(bench):
    origin, store, _, fills = bench
    store.full = True
    chunk = Chunk(origin.put("k", MIB), MIB, 0)
    with pytest.raises(DiskFull):
        await fills.ride(chunk).opened()
    assert origin.calls == []


async def test_a_rider_that_leaves_does_not_end_the_fill(bench):
    origin, store, _, fills = bench
    chunk = Chunk(origin.put("k", MIB), MIB, 0)
    async with origin.hold():
        ride = fills.ride(chunk)
        await ride.opened()
        leaver = asyncio.create_task(content(ride))
        stayer = asyncio.create_task(content(ride))
        await asyncio.sleep(0)
        leaver.cancel()
    assert await stayer == origin.body(chunk.version)
    await fills.settled()
    assert store.find(chunk) is not None


async def test_more_fills_than_slots_wait_their_turn(bench):
    origin, _, tally, fills = bench
    chunks = [Chunk(origin.put(f"k{n}", 1000), MIB, 0) for n in range(10)]
    bodies = await asyncio.gather(*(content_of(fills, chunk) for chunk in chunks))
    assert bodies == [origin.body(chunk.version) for chunk in chunks]
    await fills.settled()
    assert tally.read()["fills_now"] == 0


async def content_of(fills, chunk):
    ride = fills.ride(chunk)
    await ride.opened()
    return await content(ride)


async def test_the_queue_is_bounded(bench):
    origin, _, _, fills = bench
    async with origin.hold():
        for n in range(driver.QUEUED_MAX):
            fills.ride(Chunk(origin.put(f"k{n}", 1), MIB, 0))
        with pytest.raises(BudgetSpent):
            fills.ride(Chunk(origin.put("one too many", 1), MIB, 0))
        await fills.close()


async def test_close_tells_the_riders():
    origin, store = MemoryOrigin(), MemoryStore()
    with ThreadPoolExecutor(1) as executor:
        fills = Fills(origin, store, SystemClock(), tally=Tally(), executor=executor, fills_max=2)
        async with origin.hold():
            ride = fills.ride(Chunk(origin.put("k", 5), MIB, 0))
            await ride.opened()
            await fills.close()
        with pytest.raises(OwnFault):
            await ride.reached(0)
    assert not store.chunks


class SlowDisk(FileStore):
    """A store whose files take until ``answer`` to be made; ``asked`` once it was asked for one."""

    asked: threading.Event
    answer: threading.Event

    def create(self, chunk: Chunk) -> FileWriter:
        """Once told so."""
        self.asked.set()
        self.answer.wait()
        return super().create(chunk)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_file_that_is_made_too_late_is_dropped(tmp_path, begun):
    origin, store = MemoryOrigin(), SlowDisk(tmp_path, quota_bytes=1 << 30, tally=Tally())
    store.asked, store.answer = threading.Event(), threading.Event()
    version = origin.put("k", MIB)
    with ThreadPoolExecutor(2) as executor:
        fills = Fills(origin, store, SystemClock(), tally=Tally(), executor=executor, fills_max=2)
        if begun:
            assert (
                await fills.begin(ObjectRef(version.bucket, "k"), MIB, lambda _: None, whole=False)
            ).version == version
        ride = fills.ride(Chunk(version, MIB, 0))
        await asyncio.to_thread(store.asked.wait)
        await fills.close()
        with pytest.raises(OwnFault):
            await ride.reached(0)
        store.answer.set()
    assert list((tmp_path / "filling").iterdir()) == []
    assert list(store.check()) == []
    store.close()
