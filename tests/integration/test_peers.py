"""Workers that talk over real sockets: scripted hosts on one side, the client as the cache uses it on the other."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk
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
from cache.members.leasefile import LeaseTable
from cache.members.leases import HeldLeases
from cache.members.static import StaticMembers
from cache.peers.client import PeersClient, Trust
from cache.peers.frames import ANSWERS, AskStatus
from cache.peers.link import Link
from cache.peers.pool import Patience, Pool
from cache.peers.server import PeerServer
from cache.ports import ChunkReader
from cache.tally import Count, Tally
from cache.versions import ByteSpan, ObjectRef, ObjectVersion
from cache.views import Node, Owner

SECRET = b"s" * 32
CHUNK_BYTES = 5 * UNIT_BYTES - 100
BODY = os.urandom(CHUNK_BYTES)
CHUNK = Chunk(ObjectVersion("http://up", "b", "k/ä", '"e"', CHUNK_BYTES, "v1"), 8 * UNIT_BYTES, 0)
SPAN = ByteSpan(0, CHUNK_BYTES)


class MonotonicClock:
    def monotonic(self) -> float:
        return time.monotonic()


class WatchedLeases(HeldLeases):
    """Tells when there is a lease."""

    def __init__(self) -> None:
        super().__init__()
        self.any_renewed = asyncio.Event()

    def renewed(self, member: str, *, asked_at: float, seconds: float) -> None:
        super().renewed(member, asked_at=asked_at, seconds=seconds)
        self.any_renewed.set()


class GrowingChunk:
    """A chunk file that grows when the test says so. ``path`` is empty once it is sealed."""

    def __init__(self, path: Path, *, whole: bool = True) -> None:
        self._file = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.length = CHUNK_BYTES
        self.path = "" if whole else str(path)
        self.bound = 0
        self.fault: Fault | None = None
        self.grown = asyncio.Condition()
        self.lies_about = -1
        if whole:
            os.write(self.fd, BODY)
            self.bound = self.length

    def __del__(self) -> None:
        os.close(self.fd)

    async def grow(self, to: int) -> None:
        async with self.grown:
            os.pwrite(self.fd, BODY[self.bound : to], self.bound)
            self.bound = to
            self.grown.notify_all()

    async def fail(self, fault: Fault) -> None:
        async with self.grown:
            self.fault = fault
            self.grown.notify_all()

    async def reached(self, position: int) -> int:
        async with self.grown:
            await self.grown.wait_for(lambda: self.bound > position or self.fault)
        if self.bound <= position and self.fault:
            raise self.fault
        return self.bound

    def ready(self, span: ByteSpan) -> bool:
        return span.stop <= self.bound

    def unit_hash(self, unit: int) -> int:
        stop = min((unit + 1) * UNIT_BYTES, self.length)
        assert stop <= self.bound
        return xxh3_64_intdigest(BODY[unit * UNIT_BYTES : stop]) ^ (unit == self.lies_about)


class ScriptedHost:
    """What a worker does for its peers, as the test wants it."""

    def __init__(self) -> None:
        self.reader: GrowingChunk | None = None
        self.fault: Fault | None = None
        self.served: list[Chunk] = []
        self.invalidated: list[ObjectRef] = []
        self.lease_s = 60.0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def serve(self, chunk: Chunk) -> ChunkReader:
        self.served.append(chunk)
        self.asked.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        assert self.reader is not None
        return self.reader

    def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        self.invalidated.extend(refs)

    def grant(self, node_id: str) -> float:
        return self.lease_s

    def status(self) -> bytes:
        return b'{"node": "owner"}'


OWNER, NEIGHBOUR, READER = Owner("owner", 0), Owner("owner", 1), Owner("reader", 0)


class Cluster:
    """Node ``owner`` with a server; node ``reader`` with a client. Everything is in this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.host = ScriptedHost()
        self.tally = Tally()
        self.server_tally = Tally()
        self.distrusted = 0
        self.stored: ChunkReader | None = None
        self.members = StaticMembers([Node("reader", "127.0.0.1", 1)])
        self.server: PeerServer
        self.client: PeersClient
        self.held = WatchedLeases()
        self.tables: list[LeaseTable] = []

    def table(self, name: str, lease_s: float) -> LeaseTable:
        self.tables.append(LeaseTable(str(self.path / name), lease_s=lease_s, clock=MonotonicClock()))
        return self.tables[-1]

    def members_with(self, port: int, *, workers: int = 1) -> StaticMembers:
        return StaticMembers([Node("owner", "127.0.0.1", port, workers), Node("reader", "127.0.0.1", 1)])

    async def serve(self, *, secret: bytes = SECRET, port: int = 0, waiting_every_s: float = 0.05) -> int:
        self.server = PeerServer(
            self.host,
            node_id="owner",
            members=self.members_with(1),
            secret=secret,
            grants=self.table("owner", 60.0),
            tally=self.server_tally,
            waiting_every_s=waiting_every_s,
        )
        return await self.server.start(port=port)

    def connect(
        self, members: StaticMembers, *, lease_s: float = 60.0, silence_s: float = 30.0, me: Owner = READER
    ) -> PeersClient:
        self.members = members
        self.client = PeersClient(
            me=me,
            members=members,
            secret=SECRET,
            trust=Trust(self.table("reader", lease_s), self.held, self._distrust, lease_s),
            find=lambda chunk: self.stored,
            clock=MonotonicClock(),
            tally=self.tally,
            patience=Patience(connect_s=10.0, silence_s=silence_s),
        )
        return self.client

    def _distrust(self) -> None:
        self.distrusted += 1

    async def close(self) -> None:
        assert not list(self.client.check())
        await self.client.close()
        assert not list(self.client.check())
        if hasattr(self, "server"):
            await self.server.close()
        for table in self.tables:
            table.close()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(tmp_path)
    cluster.connect(cluster.members_with(await cluster.serve()))
    yield cluster
    await cluster.close()


@pytest.fixture
async def node(cluster: Cluster) -> Cluster:
    """The client is another worker of the owner's node."""
    await cluster.client.close()
    cluster.connect(cluster.members, me=NEIGHBOUR)
    return cluster


async def relayed(client: PeersClient, span: ByteSpan = SPAN) -> bytes:
    body = bytearray()
    async with client.relay(OWNER, CHUNK, span) as units:
        async for view in units:
            body += view
    return bytes(body)


@asynccontextmanager
async def raw_server(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[int]:
    """A listener that talks nonsense, or nothing."""
    writers: list[asyncio.StreamWriter] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await talk(reader, writer)

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


async def test_a_sealed_chunk_arrives_whole_and_by_span(cluster: Cluster, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    assert await relayed(cluster.client) == BODY
    span = ByteSpan(UNIT_BYTES - 5, 3 * UNIT_BYTES + 1)
    assert await relayed(cluster.client, span) == BODY[span.start : span.stop]
    assert cluster.host.served == [CHUNK, CHUNK]
    sent = CHUNK_BYTES + 4 * UNIT_BYTES
    assert cluster.tally.words[Count.PEER_BYTES_IN] == cluster.server_tally.words[Count.PEER_BYTES_OUT] == sent


async def test_the_first_unit_comes_before_the_chunk_is_complete(cluster: Cluster, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        await chunk.grow(UNIT_BYTES + 10)
        first = bytes(await anext(units))
        assert first == BODY[:UNIT_BYTES]
        await chunk.grow(CHUNK_BYTES)
        rest = b"".join([bytes(view) async for view in units])
    assert first + rest == BODY


async def test_a_slow_upstream_is_told_from_a_dead_owner(cluster: Cluster, tmp_path: Path) -> None:
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
async def test_faults_of_upstream_are_passed_on(cluster: Cluster, fault: Fault, kind: type[Fault]) -> None:
    cluster.host.fault = fault
    with pytest.raises(PeerPassedOn) as caught:
        await relayed(cluster.client)
    assert isinstance(caught.value.cause, kind)
    assert vars(caught.value.cause) == vars(fault)


async def test_a_fault_of_the_owner_alone_is_a_refusal(cluster: Cluster) -> None:
    cluster.host.fault = DiskFull("full")
    with pytest.raises(PeerRefused, match="DiskFull"):
        await relayed(cluster.client)


async def test_a_fill_that_fails_halfway_is_told(cluster: Cluster, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(UNIT_BYTES)
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        assert bytes(await anext(units)) == BODY[:UNIT_BYTES]
        await chunk.fail(VersionChanged("now"))
        with pytest.raises(PeerPassedOn, match="now"):
            await anext(units)


async def test_an_owner_that_dies_halfway_is_unreachable(cluster: Cluster, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(UNIT_BYTES)
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        await anext(units)
        await cluster.server.close()
        with pytest.raises(PeerUnreachable):
            await anext(units)


async def test_a_unit_that_does_not_match_its_hash_is_never_yielded(cluster: Cluster, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    os.pwrite(chunk.fd, bytes([BODY[UNIT_BYTES + 7] ^ 1]), UNIT_BYTES + 7)
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        assert await anext(units) == BODY[:UNIT_BYTES]
        with pytest.raises(PeerLied, match="hash"):
            await anext(units)


async def test_a_file_that_is_too_short_ends_the_connection_not_the_chunk(cluster: Cluster, tmp_path: Path) -> None:
    chunk = cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    os.ftruncate(chunk.fd, UNIT_BYTES + 5)
    with pytest.raises(PeerUnreachable):
        await relayed(cluster.client)


async def test_a_reader_that_leaves_early_spoils_nothing(cluster: Cluster, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    for _ in range(3):
        async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
            await anext(units)
        assert await relayed(cluster.client) == BODY


async def test_a_held_unit_stays_as_it_is_until_the_next(cluster: Cluster, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    async with cluster.client.relay(OWNER, CHUNK, SPAN) as units:
        view = await anext(units)
        assert await cluster.client.status("owner") == b'{"node": "owner"}'  # the loop turned meanwhile
        assert view == BODY[:UNIT_BYTES]


async def test_a_cancelled_relay_leaves_the_client_usable(cluster: Cluster, tmp_path: Path) -> None:
    cluster.host.gate.clear()
    reading = asyncio.create_task(relayed(cluster.client))
    await cluster.host.asked.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    cluster.host.gate.set()
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    assert await relayed(cluster.client) == BODY


async def test_many_relays_at_once(cluster: Cluster, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk")
    assert set(await asyncio.gather(*(relayed(cluster.client) for _ in range(40)))) == {BODY}


async def test_another_secret_gets_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.connect(cluster.members_with(await cluster.serve(secret=b"t" * 32)))
    with pytest.raises(PeerUnreachable):
        await relayed(cluster.client)
    assert not cluster.host.served
    await cluster.close()


async def test_a_node_that_is_no_member_gets_nothing(cluster: Cluster) -> None:
    pool = Pool("stranger", cluster.members, SECRET, Patience(10.0, 10.0))
    with pytest.raises(PeerUnreachable):
        await pool.ask(OWNER, AskStatus())
    await pool.close()


async def test_a_connection_led_to_another_node_is_cut(cluster: Cluster) -> None:
    port = cluster.members.current().nodes[0].peer_port
    pool = Pool("reader", StaticMembers([Node("other", "127.0.0.1", port)]), SECRET, Patience(10.0, 10.0))
    with pytest.raises(PeerUnreachable):
        await pool.ask(Owner("other", 0), AskStatus())
    await pool.close()


async def test_a_replayed_frame_cuts_the_connection(cluster: Cluster) -> None:
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


@pytest.mark.parametrize("junk", [b"\x00" * 64, b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", os.urandom(300)])
async def test_junk_is_cut_off_unanswered(cluster: Cluster, junk: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.members.current().nodes[0].peer_port)
    hello = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
    assert hello
    writer.write(junk)
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


async def test_a_peer_that_accepts_and_says_nothing_is_unreachable(tmp_path: Path) -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    cluster = Cluster(tmp_path)
    async with raw_server(nothing) as port:
        client = cluster.connect(cluster.members_with(port))
        client._pool.patience = Patience(connect_s=0.1, silence_s=0.1)
        for _ in range(5):
            with pytest.raises(PeerUnreachable):
                await relayed(client)
        with pytest.raises(PeerUnreachable, match="not asked"):
            await relayed(client)
        await cluster.close()


async def test_reading_along_a_growing_file(node: Cluster, tmp_path: Path) -> None:
    chunk = node.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(10)
    reader = await node.client.along(OWNER, CHUNK)
    assert await reader.reached(0) == 10
    assert not reader.ready(ByteSpan(0, 11))
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


async def test_another_node_learns_no_path(cluster: Cluster, tmp_path: Path) -> None:
    cluster.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    with pytest.raises(PeerUnreachable):
        await cluster.client.along(OWNER, CHUNK)


async def test_a_fill_that_fails_is_told_to_who_reads_along(node: Cluster, tmp_path: Path) -> None:
    chunk = node.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    await chunk.grow(10)
    reader = await node.client.along(OWNER, CHUNK)
    assert await reader.reached(0) == 10
    await chunk.fail(VersionChanged("x"))
    for _ in range(2):
        with pytest.raises(PeerPassedOn):
            await reader.reached(10)


async def test_a_chunk_sealed_meanwhile_comes_from_the_store(node: Cluster, tmp_path: Path) -> None:
    node.host.reader = GrowingChunk(tmp_path / "chunk")
    with pytest.raises(PeerRefused):
        await node.client.along(OWNER, CHUNK)
    node.stored = node.host.reader
    assert await node.client.along(OWNER, CHUNK) is node.stored
    filling = GrowingChunk(tmp_path / "filling", whole=False)
    (tmp_path / "filling").unlink()
    node.host.reader = filling
    assert await node.client.along(OWNER, CHUNK) is node.stored


async def test_who_stops_reading_along_holds_no_descriptor(node: Cluster, tmp_path: Path) -> None:
    node.host.reader = GrowingChunk(tmp_path / "chunk", whole=False)
    reader = await node.client.along(OWNER, CHUNK)
    fd = reader.fd
    del reader
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


REFS = [ObjectRef("b", f"key-{index}") for index in range(2500)]


async def test_an_invalidation_is_obeyed_before_it_returns(cluster: Cluster) -> None:
    await cluster.client.invalidate(REFS)
    assert cluster.host.invalidated == REFS


async def test_a_lease_is_granted_after_one_distrust(cluster: Cluster) -> None:
    assert not cluster.client.trusted()
    cluster.client.start()
    await cluster.held.any_renewed.wait()
    assert cluster.client.trusted()
    assert cluster.distrusted == 1


async def test_a_dead_member_is_neither_waited_for_nor_needed(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    async with raw_server(lambda reader, writer: reader.read()) as port:
        pass  # the port is free again: it refuses
    client = cluster.connect(cluster.members_with(port, workers=1), lease_s=600.0)
    client.start()
    await client.invalidate(REFS[:1])  # with a lease of ten minutes: the test's own limit would end a wait
    await cluster.held.any_renewed.wait()
    assert client.trusted()
    await cluster.close()


async def test_a_hung_member_is_waited_for_one_lease_and_then_no_more(tmp_path: Path) -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    cluster = Cluster(tmp_path)
    async with raw_server(nothing) as port:
        client = cluster.connect(cluster.members_with(port), lease_s=0.4)
        table = cluster.tables[-1]
        _, standing = table.asked("owner", 0)
        assert table.asked("owner", standing)[0] == 0.4  # it holds a lease from now on
        granted_at = time.monotonic()
        await client.invalidate(REFS[:1])
        assert time.monotonic() >= granted_at + 0.4
        assert table.asked("owner", standing)[0] == 0  # and gets none until it distrusted
        assert table.forgo("owner")
        assert not client.trusted()
        await cluster.close()


async def test_a_member_that_missed_a_write_distrusts_before_it_trusts_again(cluster: Cluster, tmp_path: Path) -> None:
    cluster.client.start()
    await cluster.held.any_renewed.wait()
    assert cluster.client.trusted()
    granting = cluster.tables[0]
    granting.missed("reader", began_at=0.0, gone=False)
    await cluster.client._keeper._renew(cluster.members.current().nodes[0])
    assert cluster.distrusted == 2


async def test_a_draining_member_grants_nothing(cluster: Cluster) -> None:
    cluster.host.lease_s = 0.0
    await cluster.client._keeper._renew(cluster.members.current().nodes[0])
    assert not cluster.client.trusted()


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
def test_the_same_on_uvloop(tmp_path: Path, scenario: Callable[[Cluster, Path], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        cluster = Cluster(tmp_path)
        me = NEIGHBOUR if scenario is test_reading_along_a_growing_file else READER
        cluster.connect(cluster.members_with(await cluster.serve()), me=me)
        try:
            await scenario(cluster, tmp_path)
        finally:
            await cluster.close()

    uvloop.run(run())
