import pytest

from cache.faults import (
    DiskFailed,
    PeerLied,
    PeerPassedOn,
    PeerRefused,
    PeerUnreachable,
    UpstreamUnreachable,
    VersionChanged,
)
from cache.pieces import Cause, Source
from cache.plan import plan_steps
from cache.versions import ByteSpan
from cache.views import Owner
from tests.unit.cache.conftest import CHUNK_BYTES

OTHER_NODE = Owner("n2", 0)
OTHER_WORKER = Owner("n1", 1)
WHOLE = ByteSpan(0, CHUNK_BYTES)


async def test_a_chunk_of_another_node_is_relayed_and_not_kept(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    assert await kit.read(version, ByteSpan(10, 500_000)) == kit.origin.body(version)[10:500_000]
    assert kit.peers.relayed == [("k", 0, ByteSpan(10, 500_000))]
    assert kit.origin.calls == []
    assert not kit.store.chunks


async def test_a_chunk_of_another_worker_is_read_along(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_WORKER
    kit.peers.elsewhere = kit.fills.ride
    assert await kit.read(version, WHOLE) == kit.origin.body(version)
    assert kit.peers.ridden == [("k", 0)]


@pytest.mark.parametrize("fault", [PeerUnreachable("dead"), PeerLied("flipped"), PeerRefused("full")])
@pytest.mark.parametrize("after", [0, 1, 300_000, 700_000])
async def test_an_owner_that_fails_is_stood_in_for_where_it_broke_off(kit, fault, after):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    kit.peers.breaks = [(after, fault)]
    assert await kit.read(version, WHOLE) == kit.origin.body(version)
    assert kit.origin.calls == [("k", WHOLE)]
    assert kit.tally.read()["peer_errors"] == 1


async def test_a_worker_that_fails_is_stood_in_for(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_WORKER
    kit.peers.breaks = [(0, PeerUnreachable("dead"))]
    assert await kit.read(version, WHOLE) == kit.origin.body(version)


async def test_what_the_owner_reports_of_upstream_is_upstreams_word(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    kit.peers.breaks = [(0, PeerPassedOn(VersionChanged("k")))]
    with pytest.raises(VersionChanged):
        await kit.read(version, WHOLE)
    assert kit.origin.calls == []


@pytest.mark.parametrize("how", ["full", "failing"])
async def test_a_failing_disk_is_served_through(kit, how):
    version = kit.origin.put("k", 2 * CHUNK_BYTES)
    setattr(kit.store, how, True)
    assert await kit.read(version, ByteSpan(0, version.size)) == kit.origin.body(version)
    assert kit.tally.read()["direct_reads"] == 2


async def test_a_disk_that_fails_in_mid_fill_is_served_through_from_there(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    seen = b""
    async with kit.origin.pause_at(CHUNK_BYTES // 2):
        reading = kit.pieces(version, WHOLE)
        async for data in reading:
            seen += data
            if len(seen) >= 256 * 1024 and not kit.store.failing:
                kit.store.failing = True
                break
    async for data in reading:
        seen += data
    assert seen == kit.origin.body(version)
    assert kit.tally.read()["direct_reads"] == 1


async def test_a_damaged_chunk_is_filled_again(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    await kit.read(version, WHOLE)
    await kit.settled()
    (chunk,) = kit.store.chunks
    kit.store.damage(chunk)
    assert await kit.read(version, WHOLE) == kit.origin.body(version)
    assert len(kit.origin.calls) == 2


async def test_a_fault_that_nothing_mends_is_raised(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.origin.troubles = [(0, UpstreamUnreachable("refused"))]
    with pytest.raises(UpstreamUnreachable):
        await kit.read(version, WHOLE)


async def test_the_last_way_failing_is_raised(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.store.failing = True
    kit.origin.troubles = [(100, UpstreamUnreachable("reset"))]
    with pytest.raises(UpstreamUnreachable):
        await kit.read(version, WHOLE)


async def test_waits_are_told_by_cause(kit):
    version = kit.origin.put("k", 3 * CHUNK_BYTES)
    kit.owners[1] = OTHER_NODE
    await kit.read(version, ByteSpan(0, version.size))
    await kit.settled()
    assert {cause for cause, _ in kit.waits} == {Cause.UPSTREAM, Cause.PEER}
    kit.waits.clear()
    await kit.read(version, WHOLE)
    assert {cause for cause, _ in kit.waits} == {Cause.DISK}


async def test_a_peer_is_served_from_the_store_or_from_one_fill(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    chunk = next(iter([step.chunk for step in _steps(version)]))
    reader = await kit.ways.serve(chunk)
    again = await kit.ways.serve(chunk)
    assert reader is again
    position = 0
    while position < reader.length:
        position = await reader.reached(position)
    await kit.settled()
    assert kit.origin.calls == [("k", WHOLE)]
    stored = await kit.ways.serve(chunk)
    assert stored.ready(WHOLE)
    assert kit.tally.read()["chunk_hits_peer"] == 1


def _steps(version):
    return plan_steps(version, ByteSpan(0, version.size), CHUNK_BYTES)


def test_faults_of_disk_and_peer_may_be_mended():
    assert DiskFailed("x").another_source_may_help
    assert PeerRefused("x").another_source_may_help
    assert not PeerPassedOn(VersionChanged("k")).another_source_may_help
    assert Source.LOCAL is not Source.PEER
