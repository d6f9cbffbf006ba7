"""The ways to one chunk, nearest first: each pinned to the version, each going on where the last one broke off.

First :meth:`Ways.open`: the local store; else the owner (this worker fills; another worker of the node fills and we
read along; another node relays verified units). If that fails while the bytes may still be had elsewhere: a fill here
in the owner's stead; if the disk fails too: a direct stream from upstream that keeps nothing. A fault that no other
source can mend is raised as it is; what an owner reports of upstream counts as upstream's own word. ``Cache.read``
calls this for every chunk of a read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from cache.chunks import Chunk, placement_of
from cache.faults import Fault, PeerFault, PeerPassedOn
from cache.pieces import Cause, FilePiece, MemoryPiece, Piece, Source
from cache.plan import Step, Way, judge_way
from cache.ports import Catalog, ChunkReader, Clock, Origin, Peers, Store
from cache.tally import Count, Tally
from cache.versions import ByteSpan, Entry, ObjectRef
from cache.views import Owner

PIECE_BYTES: Final = 1024 * 1024
Waited = Callable[[Cause, float], None]
CAUSE_OF: Final = {Source.LOCAL: Cause.DISK, Source.PEER: Cause.PEER, Source.UPSTREAM: Cause.UPSTREAM}
_T = TypeVar("_T")


class Riding(ChunkReader, Protocol):
    """A fill that one may wait for."""

    async def opened(self) -> None:
        """Wait until there is a file to read from."""
        ...


class Filling(Protocol):
    """The fills of this worker (:class:`cache.fills.driver.Fills`)."""

    def ride(self, chunk: Chunk) -> Riding:
        """Join or begin the fill of a chunk."""
        ...

    async def begin(self, ref: ObjectRef, chunk_bytes: int, *, whole: bool) -> Entry:
        """Ask upstream what the key holds, and fill its first chunk from the answer."""
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
    units: AsyncIterator[memoryview] | None = None
    stack: AsyncExitStack | None = None

    async def aclose(self) -> None:
        """Let go of it; a fill that is under way goes on."""
        if self.stack is not None:
            await self.stack.aclose()


class Ways:
    """By which way worker ``me`` comes by a chunk; ``owner_of`` is the ring's look-up in the view in force."""

    def __init__(self, ports: Ports, *, me: Owner, owner_of: Callable[[int], Owner]) -> None:
        self._ports = ports
        self._me = me
        self._owner_of = owner_of

    async def open(self, step: Step) -> Opened:
        """Ask for a chunk by the nearest way; returns when its first byte can be waited for."""
        if (reader := self._stored(step.chunk, Count.CHUNK_HITS_LOCAL)) is not None:
            return Opened(Source.LOCAL, reader)
        owner, peers = self._owner_of(step.chunk.placement), self._ports.peers
        way = judge_way(owner, self._me)
        if way is Way.FILL or peers is None:
            return Opened(Source.UPSTREAM, await self._ride(step.chunk))
        if way is Way.ALONG:
            return Opened(Source.UPSTREAM, await peers.along(owner, step.chunk))
        stack = AsyncExitStack()
        units = await stack.enter_async_context(peers.relay(owner, step.chunk, step.span))
        self._ports.tally.add(Count.PEER_RELAYS)
        return Opened(Source.PEER, units=units, stack=stack)

    def beginner(self, ref: ObjectRef) -> Owner | None:
        """The other worker that owns the key's first chunk, whatever its version; None: it is this one."""
        owner = self._owner_of(placement_of(ref, 0))
        return None if owner == self._me or self._ports.peers is None else owner

    async def serve(self, chunk: Chunk) -> ChunkReader:
        """The chunk for a peer that takes us for its owner: from the store, or from the one fill of it."""
        return self._stored(chunk, Count.CHUNK_HITS_PEER) or await self._ride(chunk)

    async def pieces(self, step: Step, opening: asyncio.Task[Opened], waited: Waited) -> AsyncGenerator[Piece, None]:
        """One chunk's part of a read, from the nearest source that can give it."""
        position = step.span.start
        ways = (lambda _: self._as_opened(step, opening, waited), self._in_its_stead(waited), self._direct(waited))
        for number, way in enumerate(ways, start=1):
            try:
                async with aclosing(way(Step(step.chunk, ByteSpan(position, step.span.stop)))) as pieces:
                    async for piece in pieces:
                        yield piece
                        position += piece.length if isinstance(piece, FilePiece) else len(piece.data)
            except PeerPassedOn as fault:
                raise fault.cause from fault
            except Fault as fault:
                if not fault.another_source_may_help or number == len(ways):
                    raise
                self._ports.tally.add(Count.PEER_ERRORS if isinstance(fault, PeerFault) else Count.DISK_ERRORS)
            else:
                return

    async def _as_opened(
        self, step: Step, opening: asyncio.Task[Opened], waited: Waited
    ) -> AsyncGenerator[Piece, None]:
        """The way that :meth:`open` chose."""
        asked_at = self._ports.clock.monotonic()
        opened = await opening
        waited(CAUSE_OF[opened.source], self._ports.clock.monotonic() - asked_at)
        try:
            if opened.reader is not None:
                async with aclosing(self._from_file(opened.reader, step.span, opened.source, waited)) as pieces:
                    async for piece in pieces:
                        yield piece
            elif opened.units is not None:
                async for unit in self._timed(opened.units, Cause.PEER, waited):
                    yield MemoryPiece(unit, Source.PEER)
        finally:
            await opened.aclose()

    def _in_its_stead(self, waited: Waited) -> Callable[[Step], AsyncGenerator[Piece, None]]:
        """The owner failed us: fill the chunk here (it may also have come into the store meanwhile)."""

        async def pieces(step: Step) -> AsyncGenerator[Piece, None]:
            reader = self._ports.store.find(step.chunk) or await self._ride(step.chunk)
            async for piece in self._from_file(reader, step.span, Source.UPSTREAM, waited):
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

    async def _ride(self, chunk: Chunk) -> ChunkReader:
        riding = self._ports.fills.ride(chunk)
        await riding.opened()
        return riding

    async def _from_file(
        self, reader: ChunkReader, span: ByteSpan, source: Source, waited: Waited
    ) -> AsyncGenerator[Piece, None]:
        position = span.start
        while position < span.stop:
            bound = min(span.stop, position + PIECE_BYTES)
            if not reader.ready(ByteSpan(position, bound)):
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
