"""Relaying: a chunk's bytes from its owner on another node, each unit verified before it is passed on.

The owner sends runs of units, in order, with a hash for each. A run is checked for being the one expected and for its
length, every unit for its hash; those that have come are then yielded together, cut to the span. They are looked at
where they lie, on the connection, so that whoever is to have them can have them from there (``passage``); only one that
has to be waited for is received. The view is valid until the next one is asked for, and nothing more is read meanwhile:
a relay holds one window. It ends with the span's last unit; a connection that closes before is a fault. What has come
is taken without waiting, so the loop is let turn in between.

A relay that is complete gives its link back when it is left; one left early, failed or cancelled aborts it.
``PeersClient.relay`` makes these; what to do after a fault is the cache's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import PeerFault, PeerLied, PeerUnreachable
from cache.peers.blame import fault_of
from cache.peers.frames import AskChunk, Failed, Message, Units, Waiting
from cache.peers.link import Link
from cache.peers.passage import PipePassage
from cache.peers.pool import Pool
from cache.tally import Count, Tally
from cache.versions import ByteSpan
from cache.views import Owner

Report = Callable[[PeerFault | None], None]


def ask_for(chunk: Chunk, span: ByteSpan, *, same_node: bool) -> AskChunk:
    """The question for a span of a chunk."""
    version = chunk.version
    return AskChunk(
        version.origin,
        version.bucket,
        version.key,
        version.etag,
        version.size,
        version.version_id,
        chunk.chunk_bytes,
        chunk.index,
        span.start,
        span.stop,
        same_node,
    )


async def ask_chunk(pool: Pool, owner: Owner, request: AskChunk) -> tuple[Link, Message]:
    """Ask; the link and the first answer, which is no fault. Raises any PeerFault."""
    link, answer = await pool.ask(owner, request)
    if isinstance(answer, Failed):
        raise ended_by(answer, pool, owner, link)
    return link, answer


def ended_by(answer: Message, pool: Pool, owner: Owner, link: Link) -> PeerFault:
    """The fault that ``answer`` means, where it ends an exchange; the link goes where it belongs."""
    if isinstance(answer, Failed):
        pool.give(owner, link)
        return fault_of(answer)
    link.abort()
    return PeerLied(f"{type(answer).__name__} does not belong here")


async def next_answer(pool: Pool, link: Link, answer: Message | None = None) -> Message:
    """``answer``, or the next one that is more than a sign of life. A PeerFault is raised, the link is cut."""
    try:
        while answer is None or isinstance(answer, Waiting):
            answer = await link.next(pool.patience.silence_s)
    except PeerFault:
        link.abort()
        raise
    return answer


class Relay:
    """One relay: a context to enter, then an iterator of views. ``report`` hears how it went, once."""

    def __init__(self, pool: Pool, owner: Owner, asked: tuple[Chunk, ByteSpan], tally: Tally, report: Report) -> None:
        self._pool, self._owner = pool, owner
        self._chunk, self._span = asked
        self._tally = tally
        self._report = report
        self._unit, self._end = self._span.start // UNIT_BYTES, -(-self._span.stop // UNIT_BYTES)
        self._run = self._unit  # where the run that is arriving began, and the hashes of its units
        self._hashes: tuple[int, ...] = ()
        self._lie: PeerLied | None = None
        self._link: Link | None = None
        self._first: Message | None = None
        self.passage: PipePassage | None = None

    async def __aenter__(self) -> Self:
        """Ask the owner; it has answered when this returns. Raises any PeerFault."""
        request = ask_for(self._chunk, self._span, same_node=False)
        try:
            self._link, self._first = await ask_chunk(self._pool, self._owner, request)
        except PeerFault as fault:
            self._report(fault)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the link back if all has come; else cut it."""
        link, self._link = self._link, None
        if link is None:
            return
        if self._unit > self._span.start // UNIT_BYTES:
            self._report(self._lie)
        if self._unit >= self._end:
            self._finish_last(link)
            self._pool.give(self._owner, link)
        else:
            link.abort()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        link = self._link
        if link is None:
            raise StopAsyncIteration
        try:
            if self._unit >= self._end:
                raise StopAsyncIteration
            self._finish_last(link)
            if self._unit == self._run + len(self._hashes):
                await self._begin_run(link)
            else:
                await asyncio.sleep(0)
            try:
                return await self._next(link)
            except PeerFault:
                link.abort()
                raise
        except PeerFault as fault:
            self._link = None
            self._report(fault)
            raise

    async def _begin_run(self, link: Link) -> None:
        first, self._first = self._first, None
        answer = await next_answer(self._pool, link, first)
        if not isinstance(answer, Units):
            raise ended_by(answer, self._pool, self._owner, link)
        start, stop = self._unit * UNIT_BYTES, (self._unit + len(answer.hashes)) * UNIT_BYTES
        if (
            answer.index != self._unit
            or stop > self._end * UNIT_BYTES
            or answer.length != min(stop, self._chunk.length) - start
        ):
            link.abort()
            raise PeerLied(f"units {answer.index} of {answer.length} bytes, where {self._unit} was due")
        self._run, self._hashes = self._unit, answer.hashes

    async def _next(self, link: Link) -> memoryview:
        """The span's part of the next verified units: of those that have come, or of the one to wait for."""
        if self._lie is not None:
            raise self._lie
        start, span = self._unit * UNIT_BYTES, self._span
        skipped = span.start - start if start < span.start else 0
        seen = link.ahead()
        if seen is None:
            units = self._verified(await link.unit(self._pool.patience.silence_s))
        else:
            units = self._verified(seen)
            self.passage = link.pass_on(units)
            self.passage.drop(skipped)
        return units[skipped : span.stop - start]

    def _finish_last(self, link: Link) -> None:
        """What was yielded last is done with: what of it was not moved on goes. A link where it cannot is cut."""
        passage, self.passage = self.passage, None
        try:
            if passage is not None:
                passage.drop()
        except PeerUnreachable:
            link.abort()

    def _verified(self, units: memoryview) -> memoryview:
        """As many of the units as match their hashes. Raises PeerLied when that is none."""
        for at in range(0, len(units), UNIT_BYTES):
            if xxh3_64_intdigest(units[at : at + UNIT_BYTES]) != self._hashes[self._unit - self._run]:
                self._lie = PeerLied(f"unit {self._unit} does not match its hash")
                if not at:
                    raise self._lie
                units = units[:at]  # good so far; the next one who asks hears it
                break
            self._unit += 1
        self._tally.add(Count.PEER_BYTES_IN, len(units))
        return units
