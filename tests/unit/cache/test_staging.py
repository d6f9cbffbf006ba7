import asyncio

import pytest

from cache.faults import UpstreamUnreachable
from cache.staging import CHUNKS_AT_ONCE, OBJECTS_MAX, Staging
from cache.versions import ByteSpan
from cache.views import Owner
from tests.unit.cache.conftest import CHUNK_BYTES


@pytest.fixture
async def staging(kit):
    staging = Staging(kit.ways, CHUNK_BYTES)
    yield staging
    await staging.close()
    assert not list(staging.check())


async def test_the_whole_object_comes_in(kit, staging):
    version = kit.origin.put("k", 3 * CHUNK_BYTES + 7)
    assert staging.begin(version)
    await staging.settled()
    await kit.settled()
    assert kit.held(version, ByteSpan(0, version.size)) is not None
    assert len(kit.origin.calls) == 4


async def test_of_another_nodes_chunks_next_to_nothing_crosses(kit, staging):
    version = kit.origin.put("k", 2 * CHUNK_BYTES)
    kit.owners[1] = Owner("n2", 0)
    staging.begin(version)
    await staging.settled()
    assert kit.peers.relayed == [("k", 1, ByteSpan(0, 1)), ("k", 1, ByteSpan(CHUNK_BYTES - 1, CHUNK_BYTES))]


async def test_an_object_is_staged_once_at_a_time_a_few_chunks_at_once(kit, staging):
    version = kit.origin.put("k", 30 * CHUNK_BYTES)
    async with kit.origin.hold():
        assert staging.begin(version)
        assert staging.begin(version)
        await kit.origin.until(lambda: len(kit.origin.calls) == CHUNKS_AT_ONCE)
    await staging.settled()
    assert len(kit.origin.calls) == 30


async def test_what_is_too_much_is_dropped(kit, staging):
    async with kit.origin.hold():
        taken = [staging.begin(kit.origin.put(f"k{number}", 10)) for number in range(OBJECTS_MAX + 1)]
    assert taken == [True] * OBJECTS_MAX + [False]
    assert not staging.begin(kit.origin.put("empty", 0))
    await staging.settled()
    assert staging.begin(kit.origin.put("later", 10))


async def test_a_fault_ends_one_staging_and_nothing_else(kit, staging):
    sound, broken = kit.origin.put("l", CHUNK_BYTES), kit.origin.put("k", CHUNK_BYTES)
    async with kit.origin.hold():
        staging.begin(sound)
        await kit.origin.until(lambda: len(kit.origin.calls) == 1)
        kit.origin.troubles = [(0, UpstreamUnreachable("refused"))]
        staging.begin(broken)
        await kit.origin.until(lambda: len(kit.origin.calls) == 2)
    await staging.settled()
    await kit.settled()
    assert kit.tally.read()["fills_failed"] == 1
    assert kit.held(sound, ByteSpan(0, CHUNK_BYTES)) is not None


async def test_closing_ends_the_waits_and_not_the_fills(kit, staging):
    version = kit.origin.put("k", CHUNK_BYTES)
    async with kit.origin.hold():
        staging.begin(version)
        await kit.origin.until(lambda: bool(kit.origin.calls))
        await asyncio.wait_for(staging.close(), 5)
    await kit.settled()
    assert kit.held(version, ByteSpan(0, CHUNK_BYTES)) is not None
