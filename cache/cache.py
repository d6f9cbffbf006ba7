"""The read page: what a key holds, and its bytes, from wherever they are nearest.

This is the one class that ``gateway/`` talks to; it takes ports and knows no adapter. Two questions are answered
without waiting (:meth:`Cache.known`, :meth:`Cache.held`), for the fast lane; their waiting twins are
:meth:`Cache.entry` and :meth:`Cache.read`. A read walks its chunks in order and, while it is cold, keeps the next few
under way. Every chunk is pinned to one version, so the bytes of two versions never meet in one body.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from cache.budgets import Budget
from cache.crowds import Arrival, Call, Waiter
from cache.faults import VersionChanged
from cache.lookups import Lookups
from cache.pieces import Cause, FilePiece, MemoryPiece, Piece, Source
from cache.plan import Step, plan_steps
from cache.readahead import Window
from cache.staging import Staging
from cache.tally import Count
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from cache.ways import Opened, Ports, Waited, Ways

HELD_CHUNKS_MAX: Final = 64
TAKEN_BYTES_MAX: Final = 64 * 1024
AHEAD_CHUNKS_MAX: Final = 64
SAID_MAX: Final = 1024

_UnderWay = deque[tuple[Step, asyncio.Future[Opened]]]


class Cache:
    """The chunk cache of one worker."""

    def __init__(
        self,
        ports: Ports,
        ways: Ways,
        *,
        lookups: Lookups,
        chunk_bytes: int,
        readahead_chunks: int,
    ) -> None:
        self._ports = ports
        self._ways = ways
        self._lookups = lookups
        self.known = lookups.known
        self._chunk_bytes = chunk_bytes
        self._readahead_chunks = readahead_chunks
        self._ahead = Budget("readahead_chunks", AHEAD_CHUNKS_MAX)
        self._said: dict[ObjectVersion, None] = {}  # versions that all nodes were told are outdated
        self._leaving: set[asyncio.Task[None]] = set()
        self._staging = Staging(ways, chunk_bytes)
        self.stage = self._staging.begin

    async def entry(
        self, ref: ObjectRef, *, start: int | None = None, checksums: bool = False, waited: Waited | None = None
    ) -> Entry:
        """As :meth:`cache.lookups.Lookups.entry`: asks upstream if need be. Raises upstream's fault."""
        asked_at = self._ports.clock.monotonic()
        try:
            return await self._lookups.entry(ref, start=start, checksums=checksums)
        finally:
            if waited is not None:
                waited(Cause.UPSTREAM, self._ports.clock.monotonic() - asked_at)

    def plan(self, version: ObjectVersion, span: ByteSpan) -> tuple[Step, ...] | None:
        """How :meth:`held` finds the span; None: it is longer than it looks for. It may be kept and used again."""
        if span.length > HELD_CHUNKS_MAX * self._chunk_bytes:
            return None
        return tuple(plan_steps(version, span, self._chunk_bytes))

    def held(self, plan: Sequence[Step]) -> list[Piece] | None:
        """The whole span as verified pieces in memory on this node, or None. Never waits."""
        ports, pieces = self._ports, list[Piece]()
        for chunk, span in plan:
            if chunk.length <= TAKEN_BYTES_MAX and len(plan) == 1:
                data = ports.store.take(chunk)
                if data is not None:
                    whole = span.stop - span.start == chunk.length
                    pieces.append(MemoryPiece(data if whole else data[span.start : span.stop], Source.LOCAL))
                    break
            reader = ports.store.find_ready(chunk, span)
            if reader is None:
                return None
            pieces.append(FilePiece(reader, span.start, span.stop - span.start, Source.LOCAL))
        ports.tally.words[Count.CHUNK_HITS_LOCAL] += len(pieces)
        return pieces

    def arrived(self, arrival: Arrival, span: ByteSpan) -> Piece | None:
        """The span, or its beginning, if it has come with the answer; it is to be sent in this turn of the loop."""
        chunk, early = arrival.chunk, arrival.early
        if early is not None and span.start < len(early.data):
            self._ports.tally.add(Count.CHUNK_COALESCED)
            return MemoryPiece(memoryview(early.data)[span.start : span.stop], early.source)
        if chunk is None or span.stop > chunk.length:
            return None
        self._ports.tally.add(Count.CHUNK_COALESCED)
        return FilePiece(chunk.reader, span.start, span.length, chunk.source)

    def expect(
        self, ref: ObjectRef, call: Call, *, start: int | None = None, checksums: bool = False, known: bool = False
    ) -> Waiter | None:
        """As :meth:`cache.lookups.Lookups.expect`: wait for an answer that others wait for, without a task."""
        return self._lookups.expect(ref, call, start=start, checksums=checksums, known=known)

    async def read(self, version: ObjectVersion, span: ByteSpan, waited: Waited) -> AsyncGenerator[Piece, None]:
        """The span's bytes in order, as they become available. Raises the fault that no other source could mend."""
        steps = plan_steps(version, span, self._chunk_bytes)
        window = Window(self._readahead_chunks)
        under_way: _UnderWay = deque()
        try:
            while True:
                self._ask_ahead(steps, under_way, window.ahead)
                if not under_way:
                    return
                step, opening = under_way[0]
                async with aclosing(self._ways.pieces(step, opening, waited)) as pieces:
                    async for piece in pieces:
                        yield piece
                window.passed(cold=opening.exception() is not None or opening.result().source is not Source.LOCAL)
                under_way.popleft()
                self._ahead.give(min(1, len(under_way)))
        except VersionChanged:
            await self._outdated(version)
            raise
        finally:
            self._ahead.give(max(0, len(under_way) - 1))
            if under_way:
                await asyncio.shield(self._let_go([opening for _, opening in under_way]))

    def _ask_ahead(
        self, steps: Iterator[Step], under_way: deque[tuple[Step, asyncio.Future[Opened]]], ahead: int
    ) -> None:
        """Ask for the chunk to send next (always) and for those ahead of it (while the budget lasts)."""
        while len(under_way) <= ahead and (not under_way or self._ahead.take()):
            step = next(steps, None)
            if step is None:
                self._ahead.give(min(1, len(under_way)))
                return
            under_way.append((step, self._ways.ask(step)))

    def _let_go(self, openings: Sequence[asyncio.Future[Opened]]) -> asyncio.Task[None]:
        """A task, since whoever reads may be cancelled once more while he waits for it."""
        leaving = asyncio.create_task(_let_go(openings))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        return leaving

    async def _outdated(self, version: ObjectVersion) -> None:
        """Upstream holds another version, by a write past the cluster: whoever knows this one, on any node, asks anew.

        The first read that notices says so; once it was said and nothing here names the version, others need not. (That
        nothing names it is not enough: this node may have distrusted all it knew, and others not.)
        """
        refs = [ObjectRef(version.bucket, version.key), ObjectRef(version.bucket, version.key, version.version_id)]
        entries = [self._ports.catalog.find(ref) for ref in refs]
        named = any(entry is not None and entry.version == version for entry in entries)
        if named or version not in self._said:
            if len(self._said) >= SAID_MAX:
                del self._said[next(iter(self._said))]
            self._said[version] = None
            await self.invalidate(refs[:1])

    async def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        """After a write: no node serves what was known of these keys once this returns."""
        self.forget(refs)
        if self._ports.peers is not None:
            await self._ports.peers.invalidate(refs)

    def forget(self, refs: Sequence[ObjectRef]) -> None:
        """Invalidate on this node alone."""
        self._ports.catalog.invalidate(refs)
        self._ports.tally.add(Count.INVALIDATIONS, len(refs))

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._staging.close()
        await asyncio.gather(*self._leaving)

    def check(self) -> Iterator[str]:
        """What is wrong, one line each; silent when nobody reads."""
        if self._ahead.used:
            yield f"{self._ahead.used} chunks count as asked for ahead"
        yield from self._ahead.check()
        yield from self._staging.check()


async def _let_go(openings: Sequence[asyncio.Future[Opened]]) -> None:
    """Nobody will read these chunks here any more: end the waits for them, not the fills."""
    for opening in openings:
        opening.cancel()
    for opened in await asyncio.gather(*openings, return_exceptions=True):
        if isinstance(opened, Opened):
            await opened.aclose()
