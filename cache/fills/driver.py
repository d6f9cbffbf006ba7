"""The driver acts for the fill machines: it owns the task, the upstream exchange and the file of every fill.

At most one fill per chunk is under way in this worker, and the ring sends every request for a chunk to one worker, so
there is at most one in the cluster. Riders (local reads, peers) share it: they read the growing file through its
descriptor and wait on ``reached``. A rider that leaves ends only its own wait; the fill goes on, and the chunk is warm
for the next reader. At most ``fills_max`` fills are active; the others queue, at most ``QUEUED_MAX`` of them.
A question about a key nothing is known of (``begin``) is a fill too: its answer says what the key holds and brings the
first chunk. File work happens in the executor; between reading state and changing it there is no ``await``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Final

from cache.budgets import Budget
from cache.chunks import UNIT_BYTES, Chunk, chunk_of
from cache.faults import BudgetSpent, DiskFault, Fault, OwnFault
from cache.fills.fill import Append, Discard, Fill, Resume, Seal
from cache.ports import ChunkReader, ChunkWriter, Clock, Origin, Store
from cache.tally import Count, Tally
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion

QUEUED_MAX: Final = 4096
_Exchange = AbstractAsyncContextManager[AsyncIterator[bytes]]


class Ride:
    """A chunk that is being filled, as a :class:`cache.ports.ChunkReader`; shared by everyone who rides on the fill."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.fill = Fill(chunk.length)
        self.writer: ChunkWriter | None = None
        self.sealed: ChunkReader | None = None
        self.fault: Fault | None = None
        self._waiters: list[asyncio.Future[None]] = []

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

    async def opened(self) -> None:
        """Wait until the file exists. Raises the fault that ended the fill before that."""
        while self.writer is None:
            await self._woken()

    async def reached(self, position: int) -> int:
        """As :meth:`cache.ports.ChunkReader.reached`."""
        while self.fill.written <= position:
            await self._woken()
        return self.fill.written if self.sealed is None else await self.sealed.reached(position)

    async def _woken(self) -> None:
        if self.fault is not None:
            raise self.fault
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        """Let everyone who waits look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def ready(self, span: ByteSpan) -> bool:
        """Whether the span may be sent: written a moment ago, or, once the chunk is sealed, as its reader says."""
        return span.stop <= self.fill.written if self.sealed is None else self.sealed.ready(span)

    def unit_hash(self, unit: int) -> int:
        """The hash of a unit that has been written whole."""
        source = self.sealed or self.writer
        assert source is not None and self.fill.written >= min((unit + 1) * UNIT_BYTES, self.length)  # noqa: S101, PT018
        return source.unit_hash(unit)


class Fills:
    """Every fill of this worker."""

    def __init__(
        self, origin: Origin, store: Store, clock: Clock, *, tally: Tally, executor: Executor, fills_max: int
    ) -> None:
        self._origin = origin
        self._store = store
        self._clock = clock
        self._tally = tally
        self._executor = executor
        self._slots = asyncio.Semaphore(fills_max)
        self._queue = Budget("fills_queued", QUEUED_MAX)
        self._rides: dict[bytes, Ride] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ride(self, chunk: Chunk) -> Ride:
        """Join the fill of ``chunk``, or begin it. Raises BudgetSpent when too many wait already."""
        ride = self._rides.get(chunk.id)
        if ride is not None:
            self._tally.add(Count.CHUNK_COALESCED)
            return ride
        self._expect_room()
        ride = self._new_ride(chunk)
        task = self._start(self._run(ride), f"fill {chunk.id.hex()}")
        task.add_done_callback(lambda _: self._gone(ride))
        return ride

    async def begin(self, ref: ObjectRef, chunk_bytes: int, *, whole: bool) -> Entry:
        """Ask what the key holds; the answer's bytes fill its first chunk. Raises upstream's fault, and BudgetSpent.

        See ``Origin.begin``. A caller that is cancelled ends its own wait.
        """
        self._expect_room()
        found: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        task = self._start(self._begin(ref, chunk_bytes, found, whole=whole), f"begin {ref.bucket}")
        task.add_done_callback(lambda _: _unanswered(found))
        return await found

    def under_way(self, chunk: Chunk) -> bool:
        """Whether this worker is filling the chunk now."""
        return chunk.id in self._rides

    async def close(self) -> None:
        """End every fill; riders get a fault, files are dropped."""
        for task in self._tasks:
            task.cancel()
        await self.settled()

    async def settled(self) -> None:
        """Wait until none of the fills that are under way now is."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> Iterator[str]:
        """What is wrong, one line each; silent when well."""
        if self._queue.used != len(self._tasks) or len(self._rides) > len(self._tasks):
            yield f"{len(self._rides)} fills, {len(self._tasks)} tasks, budget fills_queued: {self._queue.used}"
        yield from self._queue.check()

    def _expect_room(self) -> None:
        if self._queue.used >= self._queue.limit:
            raise BudgetSpent(self._queue.name)

    def _start(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        self._queue.take()
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._queue.give()

    def _new_ride(self, chunk: Chunk) -> Ride:
        self._tally.add(Count.CHUNK_MISSES)
        ride = self._rides[chunk.id] = Ride(chunk)
        return ride

    async def _run(self, ride: Ride) -> None:
        """One fill from its place in the queue to its end."""
        with self._told(ride):
            async with self._slots:
                await self._fill(ride, self._fetch(ride, ByteSpan(0, ride.length)))

    async def _begin(self, ref: ObjectRef, chunk_bytes: int, found: asyncio.Future[Entry], *, whole: bool) -> None:
        """A question whose answer becomes a fill, unless the chunk is here, or on its way, by now."""
        try:
            async with self._slots, self._origin.begin(ref, chunk_bytes, whole=whole) as beginning:
                ride = self._ride_for(beginning.entry.version, chunk_bytes)
                if not found.done():
                    found.set_result(beginning.entry)
                if ride is not None:
                    with self._told(ride):
                        await self._fill(ride, nullcontext(beginning.body))
        except Fault as fault:
            if not found.done():
                found.set_exception(fault)

    def _ride_for(self, version: ObjectVersion, chunk_bytes: int) -> Ride | None:
        """A new ride for the version's first chunk, where there is something to fill."""
        if not version.size or not version.etag:
            return None
        chunk = chunk_of(version, chunk_bytes, 0)
        known = chunk.id in self._rides or self._store.find(chunk) is not None
        return None if known else self._new_ride(chunk)

    @contextmanager
    def _told(self, ride: Ride) -> Iterator[None]:
        """Whatever happens inside, riders are told, and nothing is left behind."""
        try:
            yield
        except Fault as fault:
            ride.fault = fault
            self._tally.add(Count.DISK_ERRORS if isinstance(fault, DiskFault) else Count.FILLS_FAILED)
        finally:
            self._gone(ride)

    def _gone(self, ride: Ride) -> None:
        """The fill is over; its task may have been cancelled, even before it began."""
        if self._rides.get(ride.chunk.id) is not ride:
            return
        del self._rides[ride.chunk.id]
        if ride.sealed is None:
            ride.fault = ride.fault or OwnFault("the fill was ended")
            if ride.writer is not None:
                self._executor.submit(ride.writer.abandon)
        ride.wake()

    def _fetch(self, ride: Ride, span: ByteSpan) -> _Exchange:
        start = ride.chunk.span.start
        return self._origin.fetch(ride.chunk.version, ByteSpan(start + span.start, start + span.stop))

    async def _fill(self, ride: Ride, exchange: _Exchange) -> None:
        """Bring the chunk in, beginning with ``exchange``. Raises the fault that ends the fill."""
        self._tally.add(Count.FILLS_STARTED)
        self._tally.add(Count.FILLS_NOW)
        try:
            loop = asyncio.get_running_loop()
            ride.writer = await loop.run_in_executor(self._executor, self._store.create, ride.chunk)
            ride.wake()
            work = await self._receive(ride, exchange)
            while isinstance(work, Resume):
                work = await self._receive(ride, self._fetch(ride, work.span))
            if isinstance(work, Discard):
                raise work.fault
            ride.sealed = await loop.run_in_executor(self._executor, ride.writer.seal)
            self._tally.add(Count.FILLS_SEALED)
        finally:
            self._tally.add(Count.FILLS_NOW, -1)

    async def _receive(self, ride: Ride, exchange: _Exchange) -> Resume | Seal | Discard:
        """One upstream exchange for the rest of the chunk; what to do when it is over."""
        try:
            async with exchange as body:
                async for data in body:
                    work = ride.fill.arrived(data, self._clock.monotonic())
                    if isinstance(work, Discard):
                        return work
                    if work is not None:
                        await self._append(ride, work)
        except Fault as fault:
            if isinstance(fault, DiskFault):
                raise
            while isinstance(rest := ride.fill.broke(fault), Append):
                await self._append(ride, rest)
            return rest
        return ride.fill.ended()

    async def _append(self, ride: Ride, work: Append) -> None:
        assert ride.writer is not None  # noqa: S101 - opened before anything is received
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, _append_all, ride.writer, work.pieces)
        ride.fill.wrote(work.length)
        self._tally.add(Count.FILL_BYTES, work.length)
        ride.wake()


def _append_all(writer: ChunkWriter, pieces: tuple[bytes, ...]) -> None:
    """In a thread: one way there and back for all of them."""
    for piece in pieces:
        writer.append(piece)


def _unanswered(found: asyncio.Future[Entry]) -> None:
    """The question is over; its task may have been cancelled before there was an answer."""
    if not found.done():
        found.set_exception(OwnFault("the question was ended"))
