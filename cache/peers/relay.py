"""Relaying: a chunk's bytes from its owner on another node, each unit verified before it is passed on.

The owner sends units in order, each with its hash. A unit is checked for being the one expected, for its length and
for its hash, then yielded, cut to the span; the view is valid until the next one is asked for, and nothing more is read
meanwhile: a relay holds one unit buffer. The end must be announced: a connection that closes early is a fault.

An exchange that ended in order gives its link back; one that was left early, failed or was cancelled aborts it.
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
from cache.peers.frames import Accepted, AskChunk, Ended, Failed, Message, Unit, Waiting
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


async def accepted(pool: Pool, owner: Owner, request: AskChunk) -> Link:
    """Ask; the link, once the owner has said that it looks for the chunk. Raises any PeerFault."""
    link, answer = await pool.ask(owner, request)
    if isinstance(answer, Accepted):
        return link
    raise ended_by(answer, pool, owner, link)


def ended_by(answer: Message, pool: Pool, owner: Owner, link: Link) -> PeerFault:
    """The fault that ``answer`` means, where it ends an exchange; the link goes where it belongs."""
    if isinstance(answer, Failed):
        pool.give(owner, link)
        return fault_of(answer)
    link.abort()
    return PeerLied(f"{type(answer).__name__} does not belong here")


async def next_answer(pool: Pool, link: Link) -> Message:
    """The owner's next word that is more than a sign of life. Raises PeerUnreachable or PeerLied, and cuts the link."""
    try:
        while isinstance(answer := await link.next(pool.patience.silence_s), Waiting):
            pass
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

    async def __aenter__(self) -> Self:
        """Ask the owner. Raises any PeerFault."""
        try:
            self._link = await accepted(self._pool, self._owner, ask_for(self._chunk, self._span, same_node=False))
        except PeerFault as fault:
            self._report(fault)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the link back if the owner is at the end, which a reader with all its bytes may not have looked at."""
        if self._link is not None and kind is None and self._unit * UNIT_BYTES >= self._span.stop:
            await self._finish()
        if self._link is not None:  # left early
            if self._unit > self._span.start // UNIT_BYTES:
                self._report(None)
            self._link.abort()
            self._link = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        if self._link is None:
            raise StopAsyncIteration
        try:
            view = await self._next_view(self._link)
        except PeerFault as fault:
            self._report(fault)
            if self._link is not None:
                self._link.abort()
                self._link = None
            raise
        if view is None:
            raise StopAsyncIteration
        return view

    async def _next_view(self, link: Link) -> memoryview | None:
        answer = await next_answer(self._pool, link)
        if isinstance(answer, Unit):
            return self._verified(answer, link)
        self._link = None
        if not isinstance(answer, Ended):
            raise ended_by(answer, self._pool, self._owner, link)
        if self._unit * UNIT_BYTES < self._span.stop:
            link.abort()
            raise PeerLied("the owner ended early")
        self._report(None)
        self._pool.give(self._owner, link)
        return None

    def _verified(self, unit: Unit, link: Link) -> memoryview:
        """The unit's part of the span. Raises PeerLied when it is not what was asked."""
        start = self._unit * UNIT_BYTES
        stop = min(start + UNIT_BYTES, self._chunk.length)
        if (
            (unit.index, unit.length) != (self._unit, stop - start)
            or start >= self._span.stop
            or link.frames.unit is None
        ):
            raise PeerLied(f"unit {unit.index} of {unit.length} bytes, where {self._unit} was due")
        payload = link.frames.unit[: unit.length]
        if xxh3_64_intdigest(payload) != unit.hash:
            raise PeerLied(f"unit {unit.index} does not match its hash")
        self._unit += 1
        self._tally.add(Count.PEER_BYTES_IN, unit.length)
        return payload[max(0, self._span.start - start) : min(stop, self._span.stop) - start]

    async def _finish(self) -> None:
        try:
            await self.__anext__()
        except (StopAsyncIteration, PeerFault):
            return
