"""Chunks between workers, over real sockets: relayed to other nodes, read along on the same one."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES
from cache.faults import (
    DiskFull,
    Fault,
    PeerLied,
    PeerPassedOn,
    PeerRefused,
    PeerUnreachable,
    UpstreamRefused,
    VersionChanged,
)
from cache.members.static import StaticMembers
from cache.peers.frames import ANSWERS, AskStatus
from cache.peers.link import Link
from cache.peers.pool import WINDOWS_MAX, Patience, Pool
from cache.tally import Count
from cache.versions import ByteSpan
from cache.views import Node, Owner
from tests.doubles.peer_pair import (
    BODY,
    CHUNK,
    CHUNK_BYTES,
    NEIGHBOUR,
    OWNER,
    READER,
    SECRET,
    SPAN,
    GrowingChunk,
    PeerPair,
    nothing,
    raw_server,
    relayed,
)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[PeerPair]:
    cluster = PeerPair(tmp_path)
    cluster.connect(cluster.members_with(await cluster.serve()))
    yield cluster
    await cluster.close()


@pytest.fixture
async def node(cluster: PeerPair) -> PeerPair:
    """The client is another worker of the owner's node."""
    await cluster.client.close()
    cluster.connect(cluster.members, me=NEIGHBOUR)
    return cluster


async def test_a_sealed_chunk_arrives_whole_and_by_span(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    assert await relayed(cluster.client) == BODY
    span = ByteSpan(UNIT_BYTES - 5, 3 * UNIT_BYTES + 1)
    assert await relayed(cluster.client, span) == BODY[span.start : span.stop]
    assert cluster.host.served == [CHUNK, CHUNK]
    sent = CHUNK_BYTES + 4 * UNIT_BYTES
    assert cluster.tally.words[Count.PEER_BYTES_IN] == cluster.server_tally.words[Count.PEER_BYTES_OUT] == sent


async def test_the_first_unit_comes_before_the_chunk_is_complete(cluster: PeerPair, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        await chunk.grow(UNIT_BYTES + 10)
        first = bytes(await anext(units))
        assert first == BODY[:UNIT_BYTES]
        await chunk.grow(CHUNK_BYTES)
        rest = b"".join([bytes(view) async for view in units])
    assert first + rest == BODY


async def test_a_slow_upstream_is_told_from_a_dead_owner(cluster: PeerPair, tmp_path: Path) -> None:
    await cluster.client.close()
    cluster.connect(cluster.members, silence_s=0.5)
    cluster.host.gate.clear()
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    asyncio.get_running_loop().call_later(1.0, cluster.host.gate.set)
    assert await relayed(cluster.client) == BODY


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (UpstreamRefused(404, (("x-a", "ß"),), b"<E/>"), UpstreamRefused),
        (VersionChanged("gone"), VersionChanged),
    ],
)
async def test_faults_of_upstream_are_passed_on(cluster: PeerPair, fault: Fault, kind: type[Fault]) -> None:
    cluster.host.fault = fault
    with pytest.raises(PeerPassedOn) as caught:
        await relayed(cluster.client)
    assert isinstance(caught.value.cause, kind)
    assert vars(caught.value.cause) == vars(fault)


async def test_a_fault_of_the_owner_alone_is_a_refusal(cluster: PeerPair) -> None:
    cluster.host.fault = DiskFull("full")
    with pytest.raises(PeerRefused, match="DiskFull"):
        await relayed(cluster.client)


async def test_a_fill_that_fails_halfway_is_told(cluster: PeerPair, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(UNIT_BYTES)
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        assert bytes(await anext(units)) == BODY[:UNIT_BYTES]
        await chunk.fail(VersionChanged("now"))
        with pytest.raises(PeerPassedOn, match="now"):
            await anext(units)


async def test_an_owner_that_dies_halfway_is_unreachable(cluster: PeerPair, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(UNIT_BYTES)
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        await anext(units)
        await cluster.server.close()
        with pytest.raises(PeerUnreachable):
            await anext(units)


async def test_a_unit_that_does_not_match_its_hash_is_never_yielded(cluster: PeerPair, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    os.pwrite(chunk.fd, bytes([BODY[UNIT_BYTES + 7] ^ 1]), UNIT_BYTES + 7)
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        assert await anext(units) == BODY[:UNIT_BYTES]
        with pytest.raises(PeerLied, match="hash"):
            await anext(units)


async def test_a_file_that_is_too_short_ends_the_connection_not_the_chunk(cluster: PeerPair, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    os.ftruncate(chunk.fd, UNIT_BYTES + 5)
    with pytest.raises(PeerUnreachable):
        await relayed(cluster.client)


async def test_a_reader_that_leaves_early_spoils_nothing(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    for _ in range(3):
        async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
            await anext(units)
        assert await relayed(cluster.client) == BODY


async def test_windows_of_relays_that_broke_off_are_lent_again(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    for _ in range(3):
        async with AsyncExitStack() as stack:
            relays = [
                await stack.enter_async_context(cluster.client.relay(OWNER, CHUNK, SPAN))
                for _ in range(WINDOWS_MAX + 4)
            ]
            views = [await anext(units) for units in relays]
            assert {bytes(view[:UNIT_BYTES]) for view in views} == {BODY[:UNIT_BYTES]}
            assert {len(view) for view in views[WINDOWS_MAX:]} == {UNIT_BYTES}  # no window is left for these
            assert list(cluster.client.check()) == []
        assert list(cluster.client.check()) == []
    assert await relayed(cluster.client) == BODY


async def test_a_held_unit_stays_as_it_is_until_the_next(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        view = await anext(units)
        assert await cluster.client.status("owner") == b'{"node": "owner"}'  # the loop turned meanwhile
        assert len(view) >= UNIT_BYTES
        assert view == BODY[: len(view)]


async def test_a_cancelled_relay_leaves_the_client_usable(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.host.gate.clear()
    reading = asyncio.create_task(relayed(cluster.client))
    await cluster.host.asked.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    cluster.host.gate.set()
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    assert await relayed(cluster.client) == BODY


async def test_many_relays_at_once(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    assert set(await asyncio.gather(*(relayed(cluster.client) for _ in range(40)))) == {BODY}


async def test_another_secret_gets_nothing(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    cluster.connect(cluster.members_with(await cluster.serve(secret=b"t" * 32)))
    with pytest.raises(PeerUnreachable):
        await relayed(cluster.client)
    assert not cluster.host.served
    await cluster.close()


async def test_a_node_that_is_no_member_gets_nothing(cluster: PeerPair) -> None:
    pool = Pool("stranger", cluster.members, SECRET, Patience(10.0, 10.0))
    with pytest.raises(PeerUnreachable):
        await pool.ask(OWNER, AskStatus())
    await pool.close()


async def test_a_connection_led_to_another_node_is_cut(cluster: PeerPair) -> None:
    port = cluster.members.current().nodes[0].peer_port
    pool = Pool("reader", StaticMembers([Node("other", "127.0.0.1", port)]), SECRET, Patience(10.0, 10.0))
    with pytest.raises(PeerUnreachable):
        await pool.ask(Owner("other", 0), AskStatus())
    await pool.close()


async def test_a_replayed_frame_cuts_the_connection(cluster: PeerPair) -> None:
    pool = Pool("reader", cluster.members, SECRET, Patience(10.0, 10.0))
    link, _ = await pool.ask(OWNER, AskStatus())
    sequence = link.writer._sequence
    link.send(AskStatus())
    await link.next(10.0)
    link.writer._sequence = sequence  # the same bytes again
    link.send(AskStatus())
    with pytest.raises(PeerUnreachable):
        await link.next(10.0)
    await pool.close()


async def test_an_owner_that_falls_silent_halfway_is_unreachable(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    port = await cluster.serve(waiting_every_s=600.0)
    client = cluster.connect(cluster.members_with(port), silence_s=0.1)
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(UNIT_BYTES)
    async with client.relay(OWNER, CHUNK, SPAN) as units:
        assert await anext(units) == BODY[:UNIT_BYTES]
        with pytest.raises(PeerUnreachable):
            await anext(units)  # the wait's first sign of life comes at once, then nothing
    await cluster.close()


async def test_an_owner_that_restarted_is_asked_on_a_fresh_connection(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    assert await relayed(cluster.client) == BODY
    await cluster.server.close()
    await cluster.serve(port=cluster.members.current().nodes[0].peer_port)
    assert await relayed(cluster.client) == BODY


@pytest.mark.parametrize("junk", [b"\x00" * 64, b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", os.urandom(300)])
async def test_junk_is_cut_off_unanswered(cluster: PeerPair, junk: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.members.current().nodes[0].peer_port)
    hello = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
    assert hello
    writer.write(junk)
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


async def test_a_peer_that_accepts_and_says_nothing_is_unreachable(tmp_path: Path) -> None:
    cluster = PeerPair(tmp_path)
    async with raw_server(nothing) as port:
        client = cluster.connect(cluster.members_with(port))
        client._pool.patience = Patience(connect_s=0.1, silence_s=0.1)
        for _ in range(5):
            with pytest.raises(PeerUnreachable):
                await relayed(client)
        with pytest.raises(PeerUnreachable, match="not asked"):
            await relayed(client)
        await cluster.close()


async def test_reading_along_a_growing_file(node: PeerPair, tmp_path: Path) -> None:
    chunk = node.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(10)
    reader = await node.client.along(OWNER, CHUNK)
    assert await reader.reached(0) == 10
    assert not reader.ready(0, 11)
    waiters = [asyncio.create_task(reader.reached(10)) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    await chunk.grow(UNIT_BYTES + 1)
    assert await asyncio.gather(*waiters[1:]) == [UNIT_BYTES + 1] * 2
    assert reader.unit_hash(0) == xxh3_64_intdigest(BODY[:UNIT_BYTES])
    await chunk.grow(CHUNK_BYTES)
    bound = UNIT_BYTES + 1
    while bound < CHUNK_BYTES:
        bound = await reader.reached(bound)
    assert os.pread(reader.fd, reader.length, 0) == BODY
    assert reader.unit_hash(4) == xxh3_64_intdigest(BODY[4 * UNIT_BYTES :])


async def test_another_node_learns_no_path(cluster: PeerPair, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    with pytest.raises(PeerUnreachable):
        await cluster.client.along(OWNER, CHUNK)


async def test_a_fill_that_fails_is_told_to_who_reads_along(node: PeerPair, tmp_path: Path) -> None:
    chunk = node.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(10)
    reader = await node.client.along(OWNER, CHUNK)
    assert await reader.reached(0) == 10
    await chunk.fail(VersionChanged("x"))
    for _ in range(2):
        with pytest.raises(PeerPassedOn):
            await reader.reached(10)


async def test_a_chunk_sealed_meanwhile_comes_from_the_store(node: PeerPair, tmp_path: Path) -> None:
    node.host.reader = GrowingChunk(tmp_path / "chunk")
    with pytest.raises(PeerRefused):
        await node.client.along(OWNER, CHUNK)
    node.stored = node.host.reader
    assert await node.client.along(OWNER, CHUNK) is node.stored
    filling = GrowingChunk(tmp_path / "filling", whole=False)
    (tmp_path / "filling").unlink()
    node.host.reader = filling
    assert await node.client.along(OWNER, CHUNK) is node.stored


async def test_who_stops_reading_along_holds_no_descriptor(node: PeerPair, tmp_path: Path) -> None:
    node.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    reader = await node.client.along(OWNER, CHUNK)
    fd = reader.fd
    del reader
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


async def test_a_link_without_a_connection_is_unreachable() -> None:
    with pytest.raises(PeerUnreachable):
        await Link(ANSWERS).next(10.0)


@pytest.mark.parametrize(
    "scenario",
    [
        test_a_sealed_chunk_arrives_whole_and_by_span,
        test_the_first_unit_comes_before_the_chunk_is_complete,
        test_an_owner_that_dies_halfway_is_unreachable,
        test_a_file_that_is_too_short_ends_the_connection_not_the_chunk,
        test_a_reader_that_leaves_early_spoils_nothing,
        test_a_held_unit_stays_as_it_is_until_the_next,
        test_a_cancelled_relay_leaves_the_client_usable,
        test_many_relays_at_once,
        test_reading_along_a_growing_file,
    ],
)
def test_the_same_on_uvloop(tmp_path: Path, scenario: Callable[[PeerPair, Path], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        cluster = PeerPair(tmp_path)
        me = NEIGHBOUR if scenario is test_reading_along_a_growing_file else READER
        cluster.connect(cluster.members_with(await cluster.serve()), me=me)
        try:
            await scenario(cluster, tmp_path)
        finally:
            await cluster.close()

    uvloop.run(run())
