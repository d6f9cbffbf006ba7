"""A ride: a chunk on its way into a file, for everybody who waits for its bytes.

A ride knows the file, how far it is written and what ended it; the driver moves it on and wakes the riders, who look
again. Riders read the growing file through its descriptor, so that they cost no buffer; only the very first bytes may
be had from memory while they are being written, by whoever waits for them. Once the chunk is sealed, its
reader in the store answers for it. A rider that leaves ends only its own wait. Who brings the bytes (upstream, another
node) is the ``fetch`` of the ride.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import Fault
from cache.fills.fill import Fill
from cache.ports import ChunkReader, ChunkWriter
from cache.versions import ByteSpan

Bytes = AbstractAsyncContextManager[AsyncIterator[bytes | memoryview]]
Fetch = Callable[[ByteSpan], Bytes]


class Ride:
    """A chunk that is on its way, as a :class:`cache.ports.ChunkReader`; shared by everyone who rides.

    ``span``: only this part of it comes (None: all). ``fetch`` brings a span of the chunk.
    """

    def __init__(self, chunk: Chunk, fetch: Fetch, span: ByteSpan | None = None) -> None:
        self.chunk = chunk
        self.fetch = fetch
        self.span = span or ByteSpan(0, chunk.length)
        self.fill = Fill(self.span.length)
        self.early: bytes | memoryview = b""  # the first bytes, until they are on file
        self.taken = asyncio.Event()  # somebody who waited for them is done with them
        self.perhaps_here = False  # whether nobody has looked if the store has it already
        self.over = False
        self.writer: ChunkWriter | None = None
        self.sealed: ChunkReader | None = None
        self.fault: Fault | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.calls: list[Callable[[], None]] = []  # once each, when anything changes, before who waits goes on

    @property
    def fd(self) -> int:
        """The growing file; valid once ``opened`` or ``reached`` has returned."""
        file = self.sealed or self.writer
        assert file is not None, "a ride has a file once it is opened"  # noqa: S101 - a caller's bug
        return file.fd

    @property
    def path(self) -> str:
        """The temporary file, for another worker of this node; empty once the chunk is sealed."""
        return "" if self.sealed is not None or self.writer is None else self.writer.path

    @property
    def length(self) -> int:
        """Payload bytes of the whole chunk."""
        return self.chunk.length

    @property
    def bound(self) -> int:
        """Up to where the chunk has been written."""
        return self.span.start + self.fill.written

    async def opened(self) -> None:
        """Wait until the file exists. Raises the fault that ended the fill before that."""
        while self.writer is None and self.sealed is None:
            await self._woken()

    async def early_from(self, position: int) -> memoryview | None:
        """The bytes from ``position`` on that are here and not on file yet; None: they are on file.

        Waits until there are any; whoever got some sets ``taken`` when he is done with them. Raises the fault that
        ended the fill before.
        """
        at = position - self.span.start
        while self.bound <= position and len(self.early) <= at:
            await self._woken()
        if self.bound > position:
            return None
        return memoryview(self.early)[at:]

    async def reached(self, position: int) -> int:
        """As :meth:`cache.ports.ChunkReader.reached`."""
        while self.bound <= position:
            await self._woken()
        return self.bound if self.sealed is None else await self.sealed.reached(position)

    async def _woken(self) -> None:
        if self.fault is not None:
            raise self.fault
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        """Let everyone who waits look again."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def ready(self, start: int, stop: int) -> bool:
        """Whether bytes [start, stop) may be sent: just written, or, once the chunk is sealed, as its reader says."""
        if self.sealed is not None:
            return self.sealed.ready(start, stop)
        return self.span.start <= start and stop <= self.bound

    def unit_hash(self, unit: int) -> int:
        """The hash of a unit that has been written whole."""
        source = self.sealed or self.writer
        assert source is not None and self.bound >= min((unit + 1) * UNIT_BYTES, self.length)  # noqa: S101, PT018
        return source.unit_hash(unit)
