"""Relaying: a chunk's bytes from its owner on another node, each unit verified before it is passed on.

The owner sends units in order, each with its hash. A unit is checked for being the one expected, for its length and
for its hash, then yielded, cut to the span; the view is valid until the next one is asked for, and nothing more is read
meanwhile: a relay holds one unit buffer. It ends with the span's last unit; a connection that closes before is a fault.

A relay that is complete gives its link back when it is left; one left early, failed or cancelled aborts it.
``PeersClient.relay`` makes these; what to do after a fault is the cache's business.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import PeerFault, PeerLied
from cache.peers.blame import fault_of
from cache.peers.frames import AskChunk, Failed, Message, Unit, Waiting
from cache.peers.link import Link
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
        self._unit = self._span.start // UNIT_BYTES
        self._link: Link | None = None
        self._first: Message | None = None

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
            self._report(None)
        if self._complete:
            self._pool.give(self._owner, link)
        else:
            link.abort()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        if self._link is None or self._complete:
            raise StopAsyncIteration
        try:
            return await self._next_view(self._link)
        except PeerFault as fault:
            self._link = None
            self._report(fault)
            raise

    @property
    def _complete(self) -> bool:
        return self._unit * UNIT_BYTES >= self._span.stop

    async def _next_view(self, link: Link) -> memoryview:
        first, self._first = self._first, None
        answer = await next_answer(self._pool, link, first)
        if not isinstance(answer, Unit):
            raise ended_by(answer, self._pool, self._owner, link)
        try:
            return self._verified(answer, link)
        except PeerLied:
            link.abort()
            raise

    def _verified(self, unit: Unit, link: Link) -> memoryview:
        """The unit's part of the span. Raises PeerLied when it is not what was asked."""
        start = self._unit * UNIT_BYTES
        stop = min(start + UNIT_BYTES, self._chunk.length)
        if (unit.index, unit.length) != (self._unit, stop - start) or link.frames.unit is None:
            raise PeerLied(f"unit {unit.index} of {unit.length} bytes, where {self._unit} was due")
        payload = link.frames.unit[: unit.length]
        if xxh3_64_intdigest(payload) != unit.hash:
            raise PeerLied(f"unit {unit.index} does not match its hash")
        self._unit += 1
        self._tally.add(Count.PEER_BYTES_IN, unit.length)
        return payload[max(0, self._span.start - start) : min(stop, self._span.stop) - start]
