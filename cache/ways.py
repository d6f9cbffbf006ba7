"""The ways to one chunk, nearest first: each pinned to the version, each going on where the last one broke off.

First :meth:`Ways.ask`: the local store; else the owner (this worker fills; another worker of the node fills and we
read along; another node relays verified units, which are kept as a copy when the chunk has crossed before). If that
fails while the bytes may still be had elsewhere: a fill here in the owner's stead; if the disk fails too: a direct
stream from upstream that keeps nothing. A fault that no other source can mend is raised as it is; what an owner reports
of upstream counts as upstream's own word. ``Cache.read`` calls this for every chunk of a read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from cache.chunks import UNIT_BYTES, Chunk, placement_of
from cache.faults import DiskFault, Fault, PeerFault, PeerPassedOn
from cache.pieces import Cause, FilePiece, MemoryPiece, Piece, Source
from cache.plan import Step, Way, is_glimpse, judge_way
from cache.policy.crossings import Crossings
from cache.ports import Catalog, ChunkReader, Clock, Origin, Peers, Relayed, Store, Told
from cache.tally import Count, Tally
from cache.versions import ByteSpan, Entry, ObjectRef
from cache.views import Owner

WAYS_LEFT_AFTER_THE_FIRST: Final = 2
PIECE_BYTES: Final = 1024 * 1024
Fetch = Callable[[ByteSpan], AbstractAsyncContextManager[AsyncIterator[bytes | memoryview]]]
Waited = Callable[[Cause, float], None]
CAUSE_OF: Final = {Source.LOCAL: Cause.DISK, Source.PEER: Cause.PEER, Source.UPSTREAM: Cause.UPSTREAM}
_T = TypeVar("_T")


class Riding(ChunkReader, Protocol):
    """A fill that one may wait for.

    ``early``: its first bytes, until they are on file; ``taken``: who got them is done, and the file can be made.
    ``calls``: called when anything changes, once each; they raise nothing.
    """

    early: bytes | memoryview
    taken: asyncio.Event
    calls: list[Callable[[], None]]

    async def opened(self) -> None:
        """Wait until there is a file to read from."""
        ...

    async def early_from(self, position: int) -> memoryview | None:
        """Wait for bytes at ``position``: those that are in memory and not on file yet, or None."""
        ...


class Filling(Protocol):
    """The fills of this worker (:class:`cache.fills.driver.Fills`)."""

    def ride(self, chunk: Chunk, span: ByteSpan | None = None) -> Riding:
        """Join or begin the fill of a chunk; what is wanted of it may come by itself, if it is small and far inside."""
        ...

    def under_way(self, chunk: Chunk) -> Riding | None:
        """The fill of this chunk, if there is one now."""
        ...

    def copy(self, chunk: Chunk, fetch: Fetch) -> Riding | None:
        """Begin a copy of another node's chunk, or join it; None: no copy now."""
        ...

    def begin(self, ref: ObjectRef, chunk_bytes: int, told: Told, *, whole: bool) -> Awaitable[Entry]:
        """Ask upstream what the key holds, and fill its first chunk from the answer."""
        ...

    def coming(self, ref: ObjectRef | None, chunk: Chunk | None) -> bool:
        """Whether the key's first chunk is on its way, or this one: asked for, or being filled."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What the cache acts through."""

    origin: Origin
    store: Store
    catalog: Catalog
    fills: Filling
    clock: Clock
    tally: Tally
    peers: Peers | None = None


@dataclass(slots=True)
class Opened:
    """A chunk that has been asked for: a file to send from, or another node's units."""

    source: Source
    reader: ChunkReader | None = None
    riding: Riding | None = None
    units: Relayed | None = None
    relay: AbstractAsyncContextManager[Relayed] | None = None

    async def aclose(self) -> None:
        """Let go of it; a fill that is under way goes on."""
        if self.relay is not None:
            await self.relay.__aexit__(None, None, None)


class Ways:
    """By which way worker ``me`` comes by a chunk; ``owner_of`` is the ring's look-up in the view in force.

    ``crossings`` decides which chunks of other nodes are copied.
    """

    def __init__(self, ports: Ports, crossings: Crossings, *, me: Owner, owner_of: Callable[[int], Owner]) -> None:
        self._ports = ports
        self._crossings = crossings
        self._me = me
        self._owner_of = owner_of

    def ask(self, step: Step) -> asyncio.Future[Opened]:
        """Ask for a chunk by the nearest way; done when its first byte can be waited for."""
        owner, peers = self._owner_of(step.chunk.placement), self._ports.peers
        way = Way.FILL if peers is None else judge_way(owner, self._me)
        opened = asyncio.get_running_loop().create_future()
        try:
            filled_here = way is Way.FILL or peers is None
            coming = filled_here and self._ports.fills.coming(None, step.chunk)
            if not coming and (reader := self._stored(step.chunk, Count.CHUNK_HITS_LOCAL)) is not None:
                opened.set_result(Opened(Source.LOCAL, reader))
            elif filled_here or peers is None:
                riding = self._ports.fills.ride(step.chunk, step.span)
                opened.set_result(Opened(Source.UPSTREAM, riding, riding))
            else:
                return asyncio.create_task(self._reach(step, owner, peers, way))
        except Fault as fault:
            opened.set_exception(fault)
        return opened

    async def _reach(self, step: Step, owner: Owner, peers: Peers, way: Way) -> Opened:
        """A chunk of another worker's."""
        far = is_glimpse(step.chunk, step.span)
        if way is Way.ALONG and not far:
            return Opened(Source.UPSTREAM, await peers.along(owner, step.chunk))
        copy = self._copy(peers, owner, step) if way is Way.RELAY else None
        if copy is not None and not far:
            await copy.opened()
            return Opened(Source.PEER, copy)
        return await self._relay(peers, owner, step)

    async def _relay(self, peers: Peers, owner: Owner, step: Step) -> Opened:
        relay = peers.relay(owner, step.chunk, step.span)
        units = await relay.__aenter__()
        self._ports.tally.add(Count.PEER_RELAYS)
        return Opened(Source.PEER, units=units, relay=relay)

    def _copy(self, peers: Peers, owner: Owner, step: Step) -> Riding | None:
        """A copy of the chunk, on its way here, if it has crossed often enough."""
        if not self._crossings.admits(step.chunk.id, step.span.length, step.chunk.length):
            return None

        @asynccontextmanager
        async def fetch(span: ByteSpan) -> AsyncGenerator[AsyncIterator[bytes], None]:
            async with peers.relay(owner, step.chunk, span) as units:
                yield (
                    bytes(some[at : at + UNIT_BYTES]) async for some in units for at in range(0, len(some), UNIT_BYTES)
                )

        return self._ports.fills.copy(step.chunk, fetch)

    def beginner(self, ref: ObjectRef) -> Owner | None:
        """The other worker that owns the key's first chunk, whatever its version; None: it is this one."""
        owner = self._owner_of(placement_of(ref, 0))
        return None if owner == self._me or self._ports.peers is None else owner

    async def serve(self, chunk: Chunk, span: ByteSpan) -> ChunkReader:
        """The chunk for a peer that takes us for its owner and wants ``span`` of it, in whole units.

        From the store, or from the one fill of it.
        """
        start, stop = span.start // UNIT_BYTES * UNIT_BYTES, -(-span.stop // UNIT_BYTES) * UNIT_BYTES
        units = ByteSpan(start, min(stop, chunk.length))
        return self._stored(chunk, Count.CHUNK_HITS_PEER) or await self._ride(chunk, units)

    async def pieces(self, step: Step, opening: asyncio.Future[Opened], waited: Waited) -> AsyncGenerator[Piece, None]:
        """One chunk's part of a read, from the nearest source that can give it."""
        position = step.span.start
        ways = [lambda _: self._as_opened(step, opening, waited), self._in_its_stead(waited), self._direct(waited)]
        while True:
            way = ways.pop(0)
            try:
                async with aclosing(way(Step(step.chunk, ByteSpan(position, step.span.stop)))) as pieces:
                    async for piece in pieces:
                        yield piece
                        position += len(piece)
            except Fault as fault:
                if position == step.span.stop:
                    return  # nothing is missing
                if isinstance(fault, PeerPassedOn):
                    raise fault.cause from fault
                if not fault.another_source_may_help or not ways:
                    raise
                self._ports.tally.add(Count.PEER_ERRORS if isinstance(fault, PeerFault) else Count.DISK_ERRORS)
                if isinstance(fault, DiskFault) and len(ways) == WAYS_LEFT_AFTER_THE_FIRST:
                    ways[:0] = self._without_disk(step, waited)
            else:
                return

    async def _as_opened(
        self, step: Step, opening: asyncio.Future[Opened], waited: Waited
    ) -> AsyncGenerator[Piece, None]:
        """The way that :meth:`ask` chose."""
        asked_at = self._ports.clock.monotonic()
        opened = await _opened(opening)
        waited(CAUSE_OF[opened.source], self._ports.clock.monotonic() - asked_at)
        try:
            if opened.reader is not None:
                start = step.span.start
                if opened.riding is not None and (early := await self._early(opened.riding, step.span, waited)):
                    yield MemoryPiece(early, opened.source)
                    opened.riding.taken.set()
                    start += len(early)
                file = self._from_file(opened.reader, start, step.span.stop, opened.source, waited)
                async with aclosing(file) as pieces:
                    async for piece in pieces:
                        yield piece
            elif opened.units is not None:
                async for units in self._timed(opened.units, Cause.PEER, waited):
                    yield MemoryPiece(units, Source.PEER, opened.units.passage)
        finally:
            await opened.aclose()

    def _without_disk(self, step: Step, waited: Waited) -> list[Callable[[Step], AsyncGenerator[Piece, None]]]:
        """Our own copy failed: another node that owns the chunk still has it."""
        peers, owner = self._ports.peers, self._owner_of(step.chunk.placement)
        if peers is None or judge_way(owner, self._me) is not Way.RELAY:
            return []

        async def pieces(step: Step) -> AsyncGenerator[Piece, None]:
            opening = asyncio.create_task(self._relay(peers, owner, step))
            async with aclosing(self._as_opened(step, opening, waited)) as pieces:
                async for piece in pieces:
                    yield piece

        return [pieces]

    def _in_its_stead(self, waited: Waited) -> Callable[[Step], AsyncGenerator[Piece, None]]:
        """The owner failed us: fill the chunk here (it may also have come into the store meanwhile)."""

        async def pieces(step: Step) -> AsyncGenerator[Piece, None]:
            reader = self._ports.store.find(step.chunk) or await self._ride(step.chunk, step.span)
            async for piece in self._from_file(reader, step.span.start, step.span.stop, Source.UPSTREAM, waited):
                yield piece

        return pieces

    def _direct(self, waited: Waited) -> Callable[[Step], AsyncGenerator[Piece, None]]:
        """The disk failed us too: serve through."""

        async def pieces(step: Step) -> AsyncGenerator[Piece, None]:
            self._ports.tally.add(Count.DIRECT_READS)
            start = step.chunk.span.start
            asked = ByteSpan(start + step.span.start, start + step.span.stop)
            async with self._ports.origin.fetch(step.chunk.version, asked) as body:
                async for data in self._timed(body, Cause.UPSTREAM, waited):
                    yield MemoryPiece(data, Source.UPSTREAM)

        return pieces

    def _stored(self, chunk: Chunk, hit: Count) -> ChunkReader | None:
        reader = self._ports.store.find(chunk)
        if reader is not None:
            self._ports.tally.add(hit)
            self._ports.store.touch(chunk)
        return reader

    async def _ride(self, chunk: Chunk, span: ByteSpan) -> ChunkReader:
        riding = self._ports.fills.ride(chunk, span)
        await riding.opened()
        return riding

    async def _early(self, riding: Riding, span: ByteSpan, waited: Waited) -> memoryview | None:
        """The first bytes of the span, if they have come from upstream and are not on file yet."""
        asked_at = self._ports.clock.monotonic()
        early = await riding.early_from(span.start)
        waited(Cause.UPSTREAM, self._ports.clock.monotonic() - asked_at)
        return None if early is None else early[: span.length]

    async def _from_file(
        self, reader: ChunkReader, position: int, stop: int, source: Source, waited: Waited
    ) -> AsyncGenerator[Piece, None]:
        while position < stop:
            bound = min(stop, position + PIECE_BYTES)
            if not reader.ready(position, bound):
                asked_at = self._ports.clock.monotonic()
                bound = min(await reader.reached(position), bound)
                waited(CAUSE_OF[source], self._ports.clock.monotonic() - asked_at)
            yield FilePiece(reader, position, bound - position, source)
            position = bound

    async def _timed(self, items: AsyncIterator[_T], cause: Cause, waited: Waited) -> AsyncGenerator[_T, None]:
        asked_at = self._ports.clock.monotonic()
        async for item in items:
            waited(cause, self._ports.clock.monotonic() - asked_at)
            yield item
            asked_at = self._ports.clock.monotonic()


async def _opened(opening: asyncio.Future[Opened]) -> Opened:
    """What comes of it. Who is cancelled when it has come, and he does not know it yet, lets go of it."""
    try:
        return await opening
    except asyncio.CancelledError:
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            await opening.result().aclose()
        raise
