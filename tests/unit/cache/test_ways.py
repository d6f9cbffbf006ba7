import asyncio
import os

import pytest
from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import (
    DiskFailed,
    PeerLied,
    PeerPassedOn,
    PeerRefused,
    PeerUnreachable,
    UpstreamUnreachable,
    VersionChanged,
)
from cache.pieces import Cause, FilePiece, Source
from cache.plan import Step, plan_steps
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
    reader = await kit.ways.serve(chunk, WHOLE)
    again = await kit.ways.serve(chunk, WHOLE)
    assert reader is again
    position = 0
    while position < reader.length:
        position = await reader.reached(position)
    await kit.settled()
    assert kit.origin.calls == [("k", WHOLE)]
    stored = await kit.ways.serve(chunk, WHOLE)
    assert stored.ready(WHOLE.start, WHOLE.stop)
    assert kit.tally.read()["chunk_hits_peer"] == 1


def _steps(version):
    return plan_steps(version, ByteSpan(0, version.size), CHUNK_BYTES)


def test_faults_of_disk_and_peer_may_be_mended():
    assert DiskFailed("x").another_source_may_help
    assert PeerRefused("x").another_source_may_help
    assert not PeerPassedOn(VersionChanged("k")).another_source_may_help
    assert Source.LOCAL is not Source.PEER


# --- small and far


FAR = ByteSpan(5 << 20, (5 << 20) + 100_000)


@pytest.fixture
def large(kit):
    """A chunk of 8 MiB, cold."""
    version = kit.origin.put("k", 8 << 20)
    return Chunk(version, 8 << 20, 0)


async def read(kit, chunk, span):
    step = Step(chunk, span)
    pieces = kit.ways.pieces(step, kit.ways.ask(step), kit.waited)
    return b"".join([content(piece) async for piece in pieces])


def content(piece):
    return os.pread(piece.reader.fd, piece.length, piece.offset) if isinstance(piece, FilePiece) else bytes(piece.data)


async def test_a_small_span_far_inside_a_cold_chunk_comes_by_itself_first(kit, large):
    async with kit.origin.pause_at(200_000):
        assert await read(kit, large, FAR) == kit.origin.body(large.version)[FAR.start : FAR.stop]
        assert kit.store.chunks == {}
    await kit.settled()
    assert sorted(kit.origin.calls, key=str) == sorted([("k", FAR), ("k", ByteSpan(0, 8 << 20))], key=str)
    assert large in kit.store.chunks
    counted = kit.tally.read()
    assert (counted["glimpses"], counted["fills_started"], counted["fills_sealed"]) == (1, 1, 1)


async def test_later_ones_ride_on_the_fill(kit, large):
    spans = [ByteSpan(start << 20, (start << 20) + 1000) for start in range(2, 8)]
    bodies = await asyncio.gather(*(read(kit, large, span) for span in spans))
    assert bodies == [kit.origin.body(large.version)[span.start : span.stop] for span in spans]
    assert len(kit.origin.calls) == 2


async def test_a_small_span_that_breaks_off_is_asked_for_again(kit, large):
    kit.origin.troubles = [(60_000, UpstreamUnreachable("reset"))]
    assert await read(kit, large, FAR) == kit.origin.body(large.version)[FAR.start : FAR.stop]
    assert ("k", ByteSpan(FAR.start + 60_000, FAR.stop)) in kit.origin.calls


async def test_a_small_span_that_has_changed_is_said_to_be(kit, large):
    kit.origin.put("k", 8 << 20, '"v2"')
    with pytest.raises(VersionChanged):
        await read(kit, large, FAR)


async def test_a_peer_is_served_whole_units_of_a_small_span(kit, large):
    async with kit.origin.pause_at(600_000):
        reader = await kit.ways.serve(large, FAR)
        bound = await reader.reached(FAR.start)
        while bound < 6 * (1 << 20) - 3 * UNIT_BYTES:
            bound = await reader.reached(bound)
        unit = FAR.start // UNIT_BYTES
        data = kit.origin.body(large.version)[unit * UNIT_BYTES : (unit + 1) * UNIT_BYTES]
        assert reader.unit_hash(unit) == xxh3_64_intdigest(data)
        assert reader.ready(unit * UNIT_BYTES, (unit + 1) * UNIT_BYTES)
        assert not reader.ready(0, 10)
        assert reader.path == ""
    await kit.settled()


async def test_a_sibling_is_asked_for_the_bytes_of_a_small_span(kit, large):
    kit.owners[0] = OTHER_WORKER
    assert await read(kit, large, FAR) == kit.origin.body(large.version)[FAR.start : FAR.stop]
    assert kit.peers.relayed == [("k", 0, FAR)]


async def test_too_many_at_once_ride(kit, large):
    kit.fills._beside.take(kit.fills._beside.limit)
    await read(kit, large, FAR)
    assert kit.origin.calls == [("k", ByteSpan(0, 8 << 20))]
    kit.fills._beside.give(kit.fills._beside.limit)


# --- copies


async def test_a_chunk_that_crosses_for_the_second_time_is_kept(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    for _ in range(3):
        assert await kit.read(version, WHOLE) == kit.origin.body(version)
        await kit.settled()
    assert kit.peers.relayed == [("k", 0, WHOLE)] * 2
    assert kit.tally.read()["peer_copies"] == 1
    assert kit.tally.read()["chunk_hits_local"] == 1
    assert kit.origin.calls == []
    assert kit.held(version, WHOLE) is not None


async def test_everybody_rides_on_one_copy(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    await kit.read(version, WHOLE)
    assert set(await asyncio.gather(*(kit.read(version, WHOLE) for _ in range(5)))) == {kit.origin.body(version)}
    await kit.settled()
    assert len(kit.store.chunks) == 1
    assert len(kit.peers.relayed) <= 6


@pytest.mark.parametrize("how", ["full", "failing"])
async def test_without_a_disk_there_is_no_copy(kit, how):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    setattr(kit.store, how, True)
    for _ in range(3):
        assert await kit.read(version, WHOLE) == kit.origin.body(version)
    assert kit.origin.calls == []
    assert kit.store.chunks == {}


@pytest.mark.parametrize("after", [0, 300_000, 900_000])
async def test_a_copy_that_breaks_off_is_dropped_and_stood_in_for(kit, after):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    await kit.read(version, WHOLE)
    kit.peers.breaks = [(after, PeerUnreachable("dead"))]
    assert await kit.read(version, WHOLE) == kit.origin.body(version)
    assert kit.origin.calls == [("k", WHOLE)]


async def test_a_copy_whose_disk_fails_under_way_is_relayed_from_there(kit):
    version = kit.origin.put("k", CHUNK_BYTES)
    kit.owners[0] = OTHER_NODE
    await kit.read(version, WHOLE)
    seen, reading = b"", kit.pieces(version, WHOLE)
    async for data in reading:
        seen += data
        kit.store.failing = True
    assert seen == kit.origin.body(version)
    assert kit.origin.calls == []


async def test_a_fault_after_the_last_byte_is_none(kit, large):
    kit.owners[0] = Owner("n2", 0)
    kit.peers.breaks.append((FAR.length, PeerUnreachable("gone")))
    assert await read(kit, large, FAR) == kit.origin.body(large.version)[FAR.start : FAR.stop]
    assert kit.origin.calls == []


async def test_who_is_cancelled_as_a_relay_opens_lets_go_of_it(kit, large):
    kit.owners[0] = Owner("n2", 0)

    async def client():
        step = Step(large, FAR)
        opening = kit.ways.ask(step)
        opening.add_done_callback(lambda _: reading.cancel())
        async for _ in kit.ways.pieces(step, opening, kit.waited):
            pass

    reading = asyncio.create_task(client())
    await asyncio.gather(reading, return_exceptions=True)
    assert reading.cancelled()
    assert kit.peers.relayed
    assert kit.peers.open_relays == 0
