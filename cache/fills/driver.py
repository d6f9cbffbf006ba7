"""The driver acts for the fill machines: it owns the task, the upstream exchange and the file of every fill.

At most one fill per chunk is under way in this worker, and the ring sends every request for a chunk to one worker, so
there is at most one in the cluster. Riders (local reads, peers) share it: they read the growing file through its
descriptor and wait on ``reached``. A rider that leaves ends only its own wait; the fill goes on, and the chunk is warm
for the next reader. At most ``fills_max`` fills are active; the others queue, at most ``QUEUED_MAX`` of them.
File work happens in the executor; between reading state and changing it there is no ``await``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Final, assert_never

from cache.budgets import Budget
from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import BudgetSpent, DiskFault, Fault, OwnFault
from cache.fills.fill import Append, Discard, Fill, Resume, Seal
from cache.ports import ChunkReader, ChunkWriter, Clock, Origin, Store
from cache.tally import Count, Tally
from cache.versions import ByteSpan

QUEUED_MAX: Final = 4096


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
        return self.fill.written

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
        """Whether the span is on file (it was written a moment ago, so its pages are in memory)."""
        return span.stop <= self.fill.written

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
        if not self._queue.take():
            raise BudgetSpent(self._queue.name)
        self._tally.add(Count.CHUNK_MISSES)
        ride = self._rides[chunk.id] = Ride(chunk)
        task = asyncio.create_task(self._run(ride), name=f"fill {chunk.id.hex()}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ride

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

    async def _run(self, ride: Ride) -> None:
        """One fill from its place in the queue to its end; whatever happens, riders are told."""
        try:
            async with self._slots:
                self._tally.add(Count.FILLS_STARTED)
                self._tally.add(Count.FILLS_NOW)
                try:
                    await self._fill(ride)
                finally:
                    self._tally.add(Count.FILLS_NOW, -1)
        except Fault as fault:
            ride.fault = fault
            self._tally.add(Count.DISK_ERRORS if isinstance(fault, DiskFault) else Count.FILLS_FAILED)
        except BaseException as error:
            ride.fault = OwnFault(f"the fill was ended: {error!r}")
            raise
        finally:
            if ride.sealed is None and ride.writer is not None:
                self._executor.submit(ride.writer.abandon)
            self._rides.pop(ride.chunk.id, None)
            self._queue.give()
            ride.wake()

    async def _fill(self, ride: Ride) -> None:
        """Bring the chunk in. Raises the fault that ends the fill."""
        loop = asyncio.get_running_loop()
        ride.writer = await loop.run_in_executor(self._executor, self._store.create, ride.chunk)
        ride.wake()
        work: Resume | Seal | Discard = Resume(ByteSpan(0, ride.length))
        while not isinstance(work, Seal):
            match work:
                case Resume(span):
                    work = await self._receive(ride, span)
                case Discard(fault):
                    raise fault
                case _:
                    assert_never(work)
        ride.sealed = await loop.run_in_executor(self._executor, ride.writer.seal)
        self._tally.add(Count.FILLS_SEALED)

    async def _receive(self, ride: Ride, span: ByteSpan) -> Resume | Seal | Discard:
        """One upstream exchange for ``span`` of the chunk; what to do when it is over."""
        start = ride.chunk.span.start
        try:
            asked = ByteSpan(start + span.start, start + span.stop)
            async with self._origin.fetch(ride.chunk.version, asked) as body:
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
        await loop.run_in_executor(self._executor, ride.writer.append, work.data)
        ride.fill.wrote(len(work.data))
        self._tally.add(Count.FILL_BYTES, len(work.data))
        ride.wake()

    def check(self) -> Iterator[str]:
        """What is wrong, one line each; silent when well."""
        if self._queue.used != len(self._rides):
            yield f"{len(self._rides)} fills, budget fills_queued counts {self._queue.used}"
        yield from self._queue.check()
