"""The read page: what a key holds, and its bytes, from wherever they are nearest.

This is the one class that ``gateway/`` talks to; it takes ports and knows no adapter. Two questions are answered
without waiting (:meth:`Cache.known`, :meth:`Cache.held`), for the fast lane; their waiting twins are
:meth:`Cache.entry` and :meth:`Cache.read`. A read walks its chunks in order and, while it is cold, keeps the next few
under way. Every chunk is pinned to one version, so the bytes of two versions never meet in one body.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from cache.budgets import Budget
from cache.chunks import chunk_of
from cache.faults import UpstreamBusy, UpstreamUnreachable
from cache.freshness import Freshness, Verdict
from cache.pieces import FilePiece, Piece, Source
from cache.plan import Step, plan_steps
from cache.readahead import Window
from cache.tally import Count
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from cache.ways import Opened, Ports, Waited, Ways

HELD_CHUNKS_MAX: Final = 64
AHEAD_CHUNKS_MAX: Final = 64

_UnderWay = deque[tuple[Step, asyncio.Task[Opened]]]


class Cache:
    """The chunk cache of one worker."""

    def __init__(
        self,
        ports: Ports,
        ways: Ways,
        *,
        freshness: Freshness,
        chunk_bytes: int,
        readahead_chunks: int,
        stale_if_error_s: float = 0.0,
    ) -> None:
        self._ports = ports
        self._ways = ways
        self._freshness = freshness
        self._chunk_bytes = chunk_bytes
        self._readahead_chunks = readahead_chunks
        self.stale_if_error_s = stale_if_error_s
        self._ahead = Budget("readahead_chunks", AHEAD_CHUNKS_MAX)
        self._asking: dict[ObjectRef, asyncio.Task[Entry]] = {}

    def known(self, ref: ObjectRef) -> Entry | None:
        """What the catalog says and freshness lets count; None: upstream has to be asked."""
        entry = self._ports.catalog.find(ref)
        if entry is None:
            return None
        trusted = self._ports.peers is None or self._ports.peers.trusted()
        now = self._ports.clock.monotonic()
        if self._freshness.judge(ref, entry, now=now, trusted=trusted) is Verdict.STALE:
            return None
        self._ports.tally.add(Count.CATALOG_HITS)
        return entry

    async def entry(self, ref: ObjectRef) -> Entry:
        """What the key holds, asking upstream if need be (once, however many wait). Raises upstream's fault."""
        if (entry := self.known(ref)) is not None:
            return entry
        asking = self._asking.get(ref)
        if asking is None:
            asking = self._asking[ref] = asyncio.create_task(self._ask(ref), name=f"head {ref.bucket}")
        return await asyncio.shield(asking)

    async def _ask(self, ref: ObjectRef) -> Entry:
        token = self._ports.catalog.token(ref)
        asked_at = self._ports.clock.monotonic()
        self._ports.tally.add(Count.CATALOG_MISSES)
        try:
            entry = replace(await self._ports.origin.head(ref), token=token, checked_at=asked_at)
        except (UpstreamUnreachable, UpstreamBusy):
            if (stale := self._bearable(ref, asked_at)) is None:
                raise
            return stale
        finally:
            if self._asking.get(ref) is asyncio.current_task():
                del self._asking[ref]
        self._ports.catalog.put(ref, entry)
        return entry

    def _bearable(self, ref: ObjectRef, now: float) -> Entry | None:
        """An entry that is stale but, upstream being down, may be served: a choice of the operator's.

        Never while a write of the cluster may have been missed.
        """
        trusted = self._ports.peers is None or self._ports.peers.trusted()
        entry = self._ports.catalog.find(ref) if self.stale_if_error_s and trusted else None
        ttl_s = self._freshness.rule_for(ref).ttl_s
        return entry if entry is not None and now - entry.checked_at < ttl_s + self.stale_if_error_s else None

    def held(self, version: ObjectVersion, span: ByteSpan) -> list[FilePiece] | None:
        """The whole span as verified pieces in memory on this node, or None. Never waits."""
        store, pieces, chunk_bytes = self._ports.store, list[FilePiece](), self._chunk_bytes
        if span.stop <= chunk_bytes:
            steps: Iterable[Step] = (Step(chunk_of(version, chunk_bytes, 0), span),)
        else:
            steps = plan_steps(version, span, chunk_bytes)
        for step in steps:
            reader = store.find_ready(step.chunk, step.span)
            if reader is None or len(pieces) == HELD_CHUNKS_MAX:
                return None
            pieces.append(FilePiece(reader, step.span.start, step.span.length, Source.LOCAL))
            store.touch(step.chunk)
        self._ports.tally.add(Count.CHUNK_HITS_LOCAL, len(pieces))
        return pieces

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
        finally:
            self._ahead.give(max(0, len(under_way) - 1))
            for _, opening in under_way:
                await _let_go(opening)

    def _ask_ahead(
        self, steps: Iterator[Step], under_way: deque[tuple[Step, asyncio.Task[Opened]]], ahead: int
    ) -> None:
        """Ask for the chunk to send next (always) and for those ahead of it (while the budget lasts)."""
        while len(under_way) <= ahead and (not under_way or self._ahead.take()):
            step = next(steps, None)
            if step is None:
                self._ahead.give(min(1, len(under_way)))
                return
            under_way.append((step, asyncio.create_task(self._ways.open(step))))

    async def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        """After a write: no node serves what was known of these keys once this returns."""
        self.forget(refs)
        if self._ports.peers is not None:
            await self._ports.peers.invalidate(refs)

    def forget(self, refs: Sequence[ObjectRef]) -> None:
        """Invalidate on this node alone."""
        for ref in refs:
            self._asking.pop(ref, None)
        self._ports.catalog.invalidate(refs)
        self._ports.tally.add(Count.INVALIDATIONS, len(refs))

    def check(self) -> Iterator[str]:
        """What is wrong, one line each; silent when nobody reads."""
        if self._ahead.used:
            yield f"{self._ahead.used} chunks count as asked for ahead"
        yield from self._ahead.check()


async def _let_go(opening: asyncio.Task[Opened]) -> None:
    """Nobody will read this chunk here any more: end the wait for it, not the fill."""
    opening.cancel()
    (opened,) = await asyncio.gather(opening, return_exceptions=True)
    if isinstance(opened, Opened):
        await opened.aclose()
