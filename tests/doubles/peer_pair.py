"""Two workers over real sockets, in one process: a scripted host behind the peer server, and a client of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import (
    Fault,
)
from cache.members.leasefile import LeaseTable
from cache.members.leases import HeldLeases
from cache.members.static import StaticMembers
from cache.peers.client import PeersClient, Trust
from cache.peers.pool import Patience
from cache.peers.server import PeerServer
from cache.ports import ChunkReader
from cache.tally import Tally
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from cache.views import Node, Owner

SECRET = b"s" * 32
CHUNK_BYTES = 5 * UNIT_BYTES - 100
BODY = os.urandom(CHUNK_BYTES)
CHUNK = Chunk(ObjectVersion("http://up", "b", "k/ä", '"e"', CHUNK_BYTES, "v1"), 8 * UNIT_BYTES, 0)
SPAN = ByteSpan(0, CHUNK_BYTES)


class MonotonicClock:
    def monotonic(self) -> float:
        return time.monotonic()


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


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
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.length = CHUNK_BYTES
        self.path = "" if whole else str(path)
        self.bound = 0
        self.fault: Fault | None = None
        self.grown = asyncio.Condition()
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

    def ready(self, start: int, stop: int) -> bool:
        return stop <= self.bound

    def unit_hash(self, unit: int) -> int:
        stop = min((unit + 1) * UNIT_BYTES, self.length)
        assert stop <= self.bound
        return xxh3_64_intdigest(BODY[unit * UNIT_BYTES : stop])


class ScriptedHost:
    """What a worker does for its peers, as the test wants it."""

    def __init__(self) -> None:
        self.reader: GrowingChunk | None = None
        self.fault: Fault | None = None
        self.served: list[Chunk] = []
        self.looked_up: list[tuple[ObjectRef, bool, float]] = []
        self.invalidated: list[ObjectRef] = []
        self.lease_s = 60.0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def look_up(self, ref: ObjectRef, *, checksums: bool, age_max_s: float) -> Entry:
        self.looked_up.append((ref, checksums, age_max_s))
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return Entry(CHUNK.version, (("etag", CHUNK.version.etag),), -0.5, 0, partial=not checksums)

    async def serve(self, chunk: Chunk, span: ByteSpan) -> ChunkReader:
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


class PeerPair:
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
        self.clock: MonotonicClock | FakeClock = MonotonicClock()
        self.tables: list[LeaseTable] = []

    def table(self, name: str, lease_s: float) -> LeaseTable:
        self.tables.append(LeaseTable(str(self.path / name), lease_s=lease_s, clock=self.clock))
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
            clock=self.clock,
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


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A peer that accepts, and says nothing."""
    await reader.read()
