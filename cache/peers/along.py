"""Reading along: another worker of this node fills a chunk, and we read the same file while it grows.

The owning worker says where its file is (or that the chunk is sealed by now), then how far it is verified, with the
hashes of the units done. We open the file ourselves: its pages are the machine's, so nothing is copied. A file that
was renamed into the store between the two is found there.

An :class:`Along` is a ``cache.ports.ChunkReader``: shared by whoever holds it, and when the last holder lets it go its
descriptor closes and an unfinished exchange is cut (the fill goes on). It reads the owner's reports only when someone
waits in ``reached``; one waiter reads for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import PeerFault, PeerLied, PeerRefused
from cache.peers.frames import Filling, Progress, Sealed
from cache.peers.link import Link
from cache.peers.pool import Pool
from cache.peers.relay import ask_chunk, ask_for, ended_by, next_answer
from cache.ports import ChunkReader
from cache.versions import ByteSpan
from cache.views import Owner

Find = Callable[[Chunk], ChunkReader | None]


async def open_along(pool: Pool, owner: Owner, chunk: Chunk, find: Find) -> ChunkReader:
    """A reader on the file that ``owner`` fills or has filled. Raises any PeerFault."""
    request = ask_for(chunk, ByteSpan(0, chunk.length), same_node=True)
    link, first = await ask_chunk(pool, owner, request)
    try:
        answer = await next_answer(pool, link, first)
        if isinstance(answer, Filling):
            return Along(pool, owner, chunk, link, os.open(answer.path, os.O_RDONLY | os.O_CLOEXEC), find)
        if not isinstance(answer, Sealed):
            raise ended_by(answer, pool, owner, link)
        pool.give(owner, link)
    except FileNotFoundError:
        link.abort()  # sealed, or given up, since it told us
    except OSError as error:
        link.abort()
        raise PeerRefused(f"its file cannot be opened: {error}") from error
    except asyncio.CancelledError:
        link.abort()
        raise
    reader = find(chunk)
    if reader is None:
        raise PeerRefused("the chunk is sealed, and not in the store")
    return reader


class Along:
    """See the theory. It owns ``fd`` and, until the owner's end, the link."""

    def __init__(self, pool: Pool, owner: Owner, chunk: Chunk, link: Link, fd: int, find: Find) -> None:
        self._chunk, self._find = chunk, find
        self._stored: ChunkReader | None = None
        self._loop = asyncio.get_running_loop()
        self._pool, self._owner = pool, owner
        self._link: Link | None = link
        self._fd = fd
        self._length = chunk.length
        self._bound = 0
        self._hashes: list[int] = []
        self._fault: PeerFault | None = None
        self._turn = asyncio.Lock()

    def __del__(self) -> None:
        os.close(self._fd)
        if self._link is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the link with it
                self._loop.call_soon_threadsafe(self._link.abort)  # the last holder may be a thread

    @property
    def fd(self) -> int:
        """The growing file, open for reading."""
        return self._fd

    @property
    def length(self) -> int:
        """Payload bytes of the whole chunk."""
        return self._length

    async def reached(self, position: int) -> int:
        """As ``ChunkReader.reached``. Raises any PeerFault."""
        while self._bound <= position:
            async with self._turn:
                if self._bound <= position:
                    await self._hear()
        stored = self._whole()
        return self._bound if stored is None else await stored.reached(position)

    def ready(self, start: int, stop: int) -> bool:
        """Whether bytes [start, stop) may be sent: just arrived, or, once the chunk is stored, as its reader says."""
        stored = self._whole()
        return stop <= self._bound if stored is None else stored.ready(start, stop)

    def _whole(self) -> ChunkReader | None:
        """The store's reader, once the chunk is there: it sees to it that what is sent is what was verified."""
        if self._stored is None and self._bound == self._length:
            self._stored = self._find(self._chunk)
        return self._stored

    def unit_hash(self, unit: int) -> int:
        """The xxh3-64 of a unit whose end has been reached."""
        return self._hashes[unit]

    async def _hear(self) -> None:
        """One more report of the owner."""
        if self._fault is not None or self._link is None:
            raise self._fault or PeerLied("the owner ended early")
        link = self._link
        try:
            answer = await next_answer(self._pool, link)
            if not isinstance(answer, Progress):
                self._link = None
                raise ended_by(answer, self._pool, self._owner, link)
            self._take(answer)
        except PeerFault as fault:
            self._fault = fault
            if self._link is not None:
                self._link.abort()
                self._link = None
            raise
        if self._bound == self._length:
            self._link = None
            self._pool.give(self._owner, link)

    def _take(self, progress: Progress) -> None:
        self._hashes.extend(progress.hashes)
        received = progress.received
        if not self._bound < received <= self._length or len(self._hashes) < self._units_done(received):
            raise PeerLied(f"progress from {self._bound} to {received} of {self._length}")
        if os.fstat(self._fd).st_size < received:
            raise PeerRefused("the file is shorter than its fill")
        self._bound = received

    def _units_done(self, received: int) -> int:
        return received // UNIT_BYTES + (received == self._length and received % UNIT_BYTES > 0)
