import asyncio
from contextlib import aclosing

import pytest

from cache.faults import UpstreamRefused, UpstreamUnreachable, VersionChanged
from cache.versions import ByteSpan, ObjectRef
from tests.unit.cache.conftest import CHUNK_BYTES

REF = ObjectRef("b", "k")


async def test_a_cold_read_then_a_warm_one(kit):
    version = kit.origin.put("k", 3 * CHUNK_BYTES + 7)
    span = ByteSpan(5, version.size - 1)
    assert kit.cache.held(version, span) is None
    assert await kit.read(version, span) == kit.origin.body(version)[5:-1]
    await kit.settled()
    assert len(kit.origin.calls) == 4
    pieces = kit.cache.held(version, span)
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


async def test_an_entry_is_asked_for_once_however_many_wait(kit):
    kit.origin.put("k", 10)
    async with kit.origin.hold():
        asking = [asyncio.create_task(kit.cache.entry(REF)) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()
    entries = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(entries[0], asyncio.CancelledError)
    assert len({entry.version for entry in entries[1:]}) == 1
    assert kit.origin.heads == [REF]


async def test_an_entry_counts_until_its_ttl_is_over(kit):
    kit.origin.put("k", 10)
    await kit.cache.entry(REF)
    kit.clock.now += 4.9
    assert kit.cache.known(REF) is not None
    kit.clock.now += 0.2
    assert kit.cache.known(REF) is None
    await kit.cache.entry(REF)
    assert len(kit.origin.heads) == 2


async def test_without_the_members_leases_upstream_is_asked_each_time(kit):
    kit.origin.put("k", 10)
    kit.peers.believed = False
    await kit.cache.entry(REF)
    await kit.cache.entry(REF)
    assert len(kit.origin.heads) == 2


async def test_what_upstream_refuses_is_not_remembered(kit):
    with pytest.raises(UpstreamRefused):
        await kit.cache.entry(REF)
    kit.origin.put("k", 10)
    assert (await kit.cache.entry(REF)).version.size == 10


async def test_a_write_during_the_question_makes_its_answer_void(kit):
    old = kit.origin.put("k", 10, '"v1"')
    async with kit.origin.hold():
        asking = asyncio.create_task(kit.cache.entry(REF))
        await kit.origin.until(lambda: bool(kit.origin.heads))
        await kit.cache.invalidate([REF])
        fresh = asyncio.create_task(kit.cache.entry(REF))
        await asyncio.sleep(0)
        new = kit.origin.put("k", 11, '"v2"')
    await asyncio.gather(asking, fresh)
    assert len(kit.origin.heads) == 2
    assert (await kit.cache.entry(REF)).version == new != old
    assert kit.peers.told == [REF]


async def test_a_changed_object_is_never_mixed(kit):
    version = kit.origin.put("k", 2 * CHUNK_BYTES, '"v1"')
    await kit.read(version, ByteSpan(0, CHUNK_BYTES))
    kit.origin.put("k", 2 * CHUNK_BYTES, '"v2"')
    with pytest.raises(VersionChanged):
        await kit.read(version, ByteSpan(CHUNK_BYTES, 2 * CHUNK_BYTES))


@pytest.mark.parametrize(("late", "served"), [(9.9, True), (10.1, False)])
async def test_a_stale_entry_serves_while_upstream_is_down_if_the_operator_says_so(kit, late, served):
    version = kit.origin.put("k", 10)
    kit.cache.stale_if_error_s = 5.0
    await kit.cache.entry(REF)
    kit.clock.now += late

    async def down(ref):
        raise UpstreamUnreachable("refused")

    kit.origin.head = down
    if served:
        assert (await kit.cache.entry(REF)).version == version
    else:
        with pytest.raises(UpstreamUnreachable):
            await kit.cache.entry(REF)
