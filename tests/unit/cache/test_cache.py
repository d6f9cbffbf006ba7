import asyncio
from contextlib import aclosing

import pytest

from cache.faults import VersionChanged
from cache.versions import ByteSpan, ObjectRef
from cache.views import Owner
from tests.unit.cache.conftest import CHUNK_BYTES

REF = ObjectRef("b", "k")


async def test_a_cold_read_then_a_warm_one(kit):
    version = kit.origin.put("k", 3 * CHUNK_BYTES + 7)
    span = ByteSpan(5, version.size - 1)
    assert kit.held(version, span) is None
    assert await kit.read(version, span) == kit.origin.body(version)[5:-1]
    await kit.settled()
    assert len(kit.origin.calls) == 4
    pieces = kit.held(version, span)
    assert pieces is not None
    assert sum(piece.length for piece in pieces) == span.length
    assert await kit.read(version, span) == kit.origin.body(version)[5:-1]
    assert len(kit.origin.calls) == 4
    assert kit.tally.read()["chunk_misses"] == 4


async def test_a_cold_sequential_read_keeps_several_chunks_under_way(kit):
    version = kit.origin.put("k", 8 * CHUNK_BYTES)
    reading = kit.pieces(version, ByteSpan(0, version.size))
    async with aclosing(reading):
        async with kit.origin.hold():
            first = asyncio.ensure_future(anext(reading))
            await kit.origin.until(lambda: len(kit.origin.calls) == 2)
        await first
        seen = len(await first)
        async for data in reading:
            seen += len(data)
            if seen > 3 * CHUNK_BYTES:
                break
        assert len(kit.origin.calls) >= 6


async def test_leaving_a_read_lets_go_of_everything_ahead(kit):
    version = kit.origin.put("k", 8 * CHUNK_BYTES)
    reading = kit.cache.read(version, ByteSpan(0, version.size), kit.waited)
    await anext(reading)
    await reading.aclose()
    assert not list(kit.cache.check())


@pytest.mark.parametrize("turns", range(8))
async def test_who_is_cancelled_while_he_leaves_lets_go_of_everything_all_the_same(kit, turns):
    version = kit.origin.put("k", 12 * CHUNK_BYTES)
    kit.owners.update(dict.fromkeys(range(12), Owner("n2", 0)))
    left = asyncio.Event()

    async def client():
        seen = 0
        async with aclosing(kit.cache.read(version, version.whole, kit.waited)) as pieces:
            async for piece in pieces:
                seen += len(piece)
                await asyncio.sleep(0)
                if seen >= 3.5 * CHUNK_BYTES:
                    left.set()
                    raise ConnectionResetError

    reading = asyncio.create_task(client())
    await left.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await kit.cache.close()
    assert kit.peers.open_relays == 0
    assert not list(kit.cache.check())


async def test_a_changed_object_is_never_mixed(kit):
    version = kit.origin.put("k", 2 * CHUNK_BYTES, '"v1"')
    await kit.read(version, ByteSpan(0, CHUNK_BYTES))
    kit.origin.put("k", 2 * CHUNK_BYTES, '"v2"')
    with pytest.raises(VersionChanged):
        await kit.read(version, ByteSpan(CHUNK_BYTES, 2 * CHUNK_BYTES))


async def test_a_write_past_the_cluster_is_told_to_every_node_once(kit):
    old = kit.origin.put("k", 2 * CHUNK_BYTES, '"v1"')
    await kit.cache.entry(REF)
    kit.origin.put("k", 2 * CHUNK_BYTES, '"v2"')
    for _ in range(3):
        with pytest.raises(VersionChanged):
            await kit.read(old, ByteSpan(0, 10))
    assert kit.peers.told == [REF]
    assert kit.cache.known(REF) is None
    await kit.cache.entry(REF)
    with pytest.raises(VersionChanged):
        await kit.read(old, ByteSpan(0, 10))
    assert kit.cache.known(REF) is not None


async def test_a_node_that_distrusted_what_it_knew_tells_the_others_all_the_same(kit):
    old = kit.origin.put("k", 2 * CHUNK_BYTES, '"v1"')
    await kit.cache.entry(REF)
    kit.catalog.invalidate([REF])
    kit.origin.put("k", 2 * CHUNK_BYTES, '"v2"')
    for _ in range(3):
        with pytest.raises(VersionChanged):
            await kit.read(old, ByteSpan(0, 10))
    assert kit.peers.told == [REF]
