import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from cache.cache import Cache
from cache.chunks import Chunk
from cache.faults import Fault
from cache.fills.driver import Fills
from cache.freshness import Freshness, FreshnessRule
from cache.lookups import Lookups
from cache.pieces import Cause, FilePiece, Piece
from cache.policy.crossings import Crossings
from cache.ports import Relayed
from cache.tally import Tally
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from cache.views import Owner
from cache.ways import Ports, Ways
from tests.doubles.memory_origin import MemoryOrigin
from tests.doubles.memory_store import MemoryCatalog, MemoryStore

CHUNK_BYTES = 1 << 20
ME = Owner("n1", 0)


@dataclass
class ManualClock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class RelayedInMemory:
    """Views of a relay that nothing but memory holds."""

    units: AsyncIterator[memoryview]
    passage: None = None

    def __aiter__(self) -> AsyncIterator[memoryview]:
        return self.units

    async def __anext__(self) -> memoryview:
        return await anext(self.units)


@dataclass
class MemoryPeers:
    """Other workers in memory: they serve ``origin``'s bytes, and break when told to (after so many bytes)."""

    origin: MemoryOrigin
    believed: bool = True
    breaks: list[tuple[int, Fault]] = field(default_factory=list)
    relayed: list[tuple[str, int, ByteSpan]] = field(default_factory=list)
    ridden: list[tuple[str, int]] = field(default_factory=list)
    told: list[ObjectRef] = field(default_factory=list)
    open_relays: int = 0
    elsewhere: Callable[[Chunk], object] | None = None
    looked_up: list[tuple[ObjectRef, bool, float]] = field(default_factory=list)
    found: Callable[[ObjectRef], Entry] | None = None

    async def look_up(self, owner, ref, *, checksums, age_max_s):
        self.looked_up.append((ref, checksums, age_max_s))
        if self.breaks:
            raise self.breaks.pop(0)[1]
        assert self.found is not None
        return self.found(ref)

    async def along(self, owner, chunk):
        self.ridden.append((chunk.version.key, chunk.index))
        if self.breaks:
            raise self.breaks.pop(0)[1]
        assert self.elsewhere is not None
        return self.elsewhere(chunk)

    def relay(self, owner, chunk, span) -> AbstractAsyncContextManager[Relayed]:
        self.relayed.append((chunk.version.key, chunk.index, span))
        return self._relay(chunk, span)

    @asynccontextmanager
    async def _relay(self, chunk, span):
        self.open_relays += 1
        try:
            yield RelayedInMemory(self._units(chunk, span))
        finally:
            self.open_relays -= 1

    async def _units(self, chunk, span):
        trouble = self.breaks.pop(0) if self.breaks else None
        data = self.origin.body(chunk.version)[chunk.span.start :][span.start : span.stop]
        for start in range(0, len(data), 256 * 1024):
            unit = data[start : start + 256 * 1024]
            if trouble is not None and start + len(unit) > trouble[0]:
                raise trouble[1]
            yield memoryview(unit)
        if trouble is not None:
            raise trouble[1]

    async def invalidate(self, refs):
        self.told.extend(refs)

    def trusted(self) -> bool:
        return self.believed


@dataclass
class Kit:
    """One worker's cache over memory ports. ``owners`` says who owns which chunk index (default: this worker)."""

    origin: MemoryOrigin
    store: MemoryStore
    catalog: MemoryCatalog
    clock: ManualClock
    tally: Tally
    fills: Fills
    peers: MemoryPeers
    lookups: Lookups
    cache: Cache
    ways: Ways
    owners: dict[int, Owner]
    waits: list[tuple[Cause, float]] = field(default_factory=list)

    def waited(self, cause: Cause, seconds: float) -> None:
        self.waits.append((cause, seconds))

    def held(self, version: ObjectVersion, span: ByteSpan) -> list[Piece] | None:
        return self.cache.held(self.cache.plan(version, span) or ())

    async def read(self, version: ObjectVersion, span: ByteSpan) -> bytes:
        return b"".join([data async for data in self.pieces(version, span)])

    async def pieces(self, version: ObjectVersion, span: ByteSpan) -> AsyncIterator[bytes]:
        async for piece in self.cache.read(version, span, self.waited):
            if isinstance(piece, FilePiece):
                yield os.pread(piece.reader.fd, piece.length, piece.offset)
            else:
                yield bytes(piece.data)

    async def settled(self) -> None:
        await self.fills.settled()


@pytest.fixture
async def kit():
    origin, store, catalog, clock, tally = MemoryOrigin(), MemoryStore(), MemoryCatalog(), ManualClock(), Tally()
    owners: dict[int, Owner] = {}
    peers = MemoryPeers(origin)
    real = type("Real", (), {"monotonic": staticmethod(time.monotonic)})()
    with ThreadPoolExecutor(2) as executor:
        fills = Fills(origin, store, real, tally=tally, executor=executor, fills_max=8)
        ports = Ports(origin, store, catalog, fills, clock, tally, peers)
        index_of = {}

        def owner_of(placement: int) -> Owner:
            return owners.get(index_of.get(placement, -1), ME)

        ways = Ways(ports, Crossings(8 * CHUNK_BYTES), me=ME, owner_of=owner_of)
        rules = Freshness([FreshnessRule(bucket="b", ttl_s=5.0)])
        lookups = Lookups(ports, ways, rules, chunk_bytes=CHUNK_BYTES)
        cache = Cache(ports, ways, lookups=lookups, chunk_bytes=CHUNK_BYTES, readahead_chunks=4)
        kit = Kit(origin, store, catalog, clock, tally, fills, peers, lookups, cache, ways, owners)
        put = origin.put

        def put_and_place(key: str, size: int, etag: str = '"v1"') -> ObjectVersion:
            version = put(key, size, etag)
            for index in range(-(-size // CHUNK_BYTES)):
                index_of[Chunk(version, CHUNK_BYTES, index).placement] = index
            return version

        origin.put = put_and_place
        yield kit
        await fills.close()
        assert not list(fills.check())
        assert not list(cache.check())
        assert peers.open_relays == 0
        assert origin.active == 0
