"""The driver acts for the fill machines: it owns the task, the upstream exchange and the file of every fill.

At most one fill per chunk is under way in this worker, and the ring sends every request for a chunk to one worker, so
there is at most one in the cluster. Riders (local reads, peers) share it: they read the growing file through its
descriptor and wait on ``reached``. A rider that leaves ends only its own wait; the fill goes on, and the chunk is warm
for the next reader. At most ``fills_max`` fills are active; the others queue, at most ``QUEUED_MAX`` of them.
Beside fills, and bounded apart, go a small span far inside a cold chunk (a glimpse: the first who asks does not wait
for what lies before it) and a chunk of another node of which a copy is kept (``copy``).
A question about a key nothing is known of (``begin``) is a fill too: its answer says what the key holds and brings the
first chunk. File work happens in the executor; between reading state and changing it there is no ``await``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from cache.budgets import Budget
from cache.chunks import Chunk, chunk_of
from cache.faults import BudgetSpent, DiskFailed, DiskFault, Fault, OwnFault
from cache.fills.fill import Append, Discard, Resume, Seal
from cache.fills.on_disk import append_all, make_file, store_whole
from cache.fills.ride import Bytes, Fetch, Ride
from cache.fills.scratch import Scratch
from cache.plan import is_glimpse
from cache.ports import Beginning, Clock, Origin, Pouring, Store, Told
from cache.tally import Count, Tally
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion

_T = TypeVar("_T")
DISK_TIMEOUT_S: Final = 5.0
DISK_OFF_S: Final = 10.0
QUEUED_MAX: Final = 4096
BESIDE_MAX: Final = 32
COMING_BYTES_MAX: Final = 256 * 1024  # so few come with the answer sooner than a disk says whether they are here
HEAD_START_S: Final = 0.002  # at most, for the first bytes to be sent: a thread would take the interpreter from him


@dataclass(slots=True)
class _Question:
    """What a key holds; the answer."""

    ref: ObjectRef
    chunk_bytes: int
    found: asyncio.Future[Entry]
    told: Told


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
        self._questions = Budget("questions", 2 * fills_max)
        self._disk_off_until = float("-inf")
        self._queue = Budget("fills_queued", QUEUED_MAX)
        self._beside = Budget("fills_beside", BESIDE_MAX)
        self._rides: dict[bytes, Ride] = {}
        self._hoping: dict[ObjectRef, list[Ride]] = {}  # on the answer to a question that is under way
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def ride(self, chunk: Chunk, span: ByteSpan | None = None) -> Ride:
        """Join the fill of ``chunk``, or begin it. Raises BudgetSpent when too many wait already.

        ``span``: what is wanted of it; one that is small and far inside a cold chunk comes by an exchange of its own,
        beside the chunk's fill, unless too many do so.
        """
        ride = self._rides.get(chunk.id)
        if ride is not None:
            self._tally.add(Count.CHUNK_COALESCED)
            return ride
        self._expect_room()
        if span is not None and is_glimpse(chunk, span) and self._beside.used < self._beside.limit:
            return self._glimpsed(chunk, span)
        ride = self._new_ride(chunk)
        hoping = self._hoping.get(ObjectRef(chunk.version.bucket, chunk.version.key)) if chunk.index == 0 else None
        if hoping is None:
            self._launch(ride)
        else:
            hoping.append(ride)
        return ride

    def under_way(self, chunk: Chunk) -> Ride | None:
        """The ride on this chunk, if there is one now."""
        return self._rides.get(chunk.id)

    def _glimpsed(self, chunk: Chunk, span: ByteSpan) -> Ride:
        ride = Ride(chunk, self._from_upstream(chunk), span)
        self._start_beside(self._told(self._glimpse, ride), f"glimpse {chunk.id.hex()}", ride)
        self._tally.add(Count.GLIMPSES)
        self.ride(chunk)
        return ride

    def copy(self, chunk: Chunk, fetch: Fetch) -> Ride | None:
        """Join the chunk's way into the store, or bring a copy by ``fetch``; None: too many do so."""
        ride = self._rides.get(chunk.id)
        if ride is None and self._beside.used < self._beside.limit:
            self._tally.add(Count.PEER_COPIES)
            ride = self._rides[chunk.id] = Ride(chunk, fetch)
            self._start_beside(self._told(self._copy, ride), f"copy {chunk.id.hex()}", ride)
        return ride

    def begin(self, ref: ObjectRef, chunk_bytes: int, told: Told, *, whole: bool) -> asyncio.Future[Entry]:
        """Ask what the key holds; the answer's bytes fill its first chunk. It raises upstream's fault, and BudgetSpent.

        ``told`` is called in the moment in which the answer is there, before any byte. See ``Origin.begin``. A caller
        that is cancelled ends its own wait. A question never waits behind fills: when too many are under way it is
        refused, and may be asked by HEAD.
        """
        found: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        for budget in (self._queue, self._questions):
            if budget.used >= budget.limit:
                found.set_exception(BudgetSpent(budget.name))
                return found
        asked = self._origin.begin(ref, chunk_bytes, whole=whole)  # it may be on its way already
        self._questions.take()
        task = self._start(self._begin(_Question(ref, chunk_bytes, found, told), asked), f"begin {ref.bucket}")
        self._hoping.setdefault(ref, [])
        task.add_done_callback(lambda _: self._asked(ref, found))
        return found

    def coming(self, ref: ObjectRef | None, chunk: Chunk | None) -> bool:
        """Whether the key's first chunk is on its way, or this one: by a question, or by a fill."""
        return ref in self._hoping or (chunk is not None and chunk.id in self._rides)

    async def close(self) -> None:
        """End every fill; riders get a fault, files are dropped."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await self.settled()

    async def settled(self) -> None:
        """Wait until none of the fills that are under way now is."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> Iterator[str]:
        """What is wrong, one line each; silent when well."""
        hoping = sum(map(len, self._hoping.values()))
        if self._queue.used != len(self._tasks) or len(self._rides) > len(self._tasks) + hoping:
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

    def _start_beside(self, work: Coroutine[None, None, None], name: str, ride: Ride) -> None:
        self._beside.take()
        task = self._start(work, name)
        task.add_done_callback(lambda _: self._gone(ride))
        task.add_done_callback(lambda _: self._beside.give())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._queue.give()

    def _new_ride(self, chunk: Chunk) -> Ride:
        self._tally.add(Count.CHUNK_MISSES)
        ride = self._rides[chunk.id] = Ride(chunk, self._from_upstream(chunk))
        return ride

    def _from_upstream(self, chunk: Chunk) -> Fetch:
        start = chunk.span.start
        return lambda span: self._origin.fetch(chunk.version, ByteSpan(start + span.start, start + span.stop))

    async def _run(self, ride: Ride) -> None:
        """One fill from its place in the queue to its end."""
        async with self._slots:
            await self._fill(ride)

    async def _glimpse(self, ride: Ride) -> None:
        """A part of a chunk, into memory."""
        ride.writer = Scratch(ride.span.start)
        ride.wake()
        await self._bring(ride, ride.fetch(ride.span))

    async def _copy(self, ride: Ride) -> None:
        """A chunk of another node's, into this one's store."""
        await self._open(ride)
        await self._store_all(ride, ride.fetch(ride.span))

    async def _told(self, work: Callable[..., Coroutine[None, None, None]], ride: Ride, *more: Bytes) -> None:
        """Do it; whatever happens, riders are told, and nothing is left behind."""
        try:
            await work(ride, *more)
        except Fault as fault:
            ride.fault = fault
            self._tally.add(Count.DISK_ERRORS if isinstance(fault, DiskFault) else Count.FILLS_FAILED)
        finally:
            self._gone(ride)

    async def _begin(self, question: _Question, asked: AbstractAsyncContextManager[Beginning]) -> None:
        """A question whose answer becomes a fill, unless the chunk is here, or on its way, by now."""
        ref, found = question.ref, question.found
        try:
            async with asked as beginning:
                ride = self._ride_for(ref, beginning.entry.version, question.chunk_bytes)
                self._disappoint(ref)
                if not found.done():
                    question.told(beginning.entry)
                    found.set_result(beginning.entry)
                if ride is not None:
                    await self._told(self._fill, ride, nullcontext(beginning.body))
        except Fault as fault:
            if not found.done():
                found.set_exception(fault)

    def _asked(self, ref: ObjectRef, found: asyncio.Future[Entry]) -> None:
        """A question is over; its task may have been cancelled before there was an answer."""
        self._questions.give()
        if not found.done():
            found.set_exception(OwnFault("the question was ended"))
        self._disappoint(ref)

    def _launch(self, ride: Ride) -> None:
        filling = self._start(self._told(self._run, ride), f"fill {ride.chunk.id.hex()}")
        filling.add_done_callback(lambda _: self._gone(ride))

    def _disappoint(self, ref: ObjectRef) -> None:
        """The question is answered, or over: the rides that it did not bring have to be fetched."""
        for ride in self._hoping.pop(ref, ()):
            if self._closed:
                self._gone(ride)
            else:
                self._launch(ride)

    def _ride_for(self, ref: ObjectRef, version: ObjectVersion, chunk_bytes: int) -> Ride | None:
        """The ride on the version's first chunk: one that hopes for it, or a new one; None: nothing is to be filled."""
        if not version.size or not version.etag:
            return None
        chunk = chunk_of(version, chunk_bytes, 0)
        hoping = self._hoping.get(ref, [])
        for ride in hoping:
            if ride.chunk.id == chunk.id:
                hoping.remove(ride)
                return ride
        known = chunk.id in self._rides or (chunk.length > COMING_BYTES_MAX and self._store.find(chunk) is not None)
        if known:
            return None
        ride = self._new_ride(chunk)
        ride.perhaps_here = chunk.length <= COMING_BYTES_MAX
        return ride

    def _gone(self, ride: Ride) -> None:
        """It is over; its task may have been cancelled, even before it began."""
        if ride.over:
            return
        ride.over = True
        if self._rides.get(ride.chunk.id) is ride:
            del self._rides[ride.chunk.id]
        if ride.sealed is None:
            ride.fault = ride.fault or OwnFault("the fill was ended")
            if ride.writer is not None:
                self._executor.submit(ride.writer.abandon)
        ride.wake()

    async def _fill(self, ride: Ride, begun: Bytes | None = None) -> None:
        """Bring the chunk in. Raises the fault that ends the fill.

        ``begun``: an exchange that is under way, whose first bytes need not wait for a file to be made before.
        """
        self._tally.add(Count.FILLS_STARTED)
        self._tally.add(Count.FILLS_NOW)
        try:
            if begun is None:
                await self._open(ride)
            await self._store_all(ride, begun or ride.fetch(ride.span))
            self._tally.add(Count.FILLS_SEALED)
        finally:
            self._tally.add(Count.FILLS_NOW, -1)

    async def _open(self, ride: Ride) -> None:
        """Before upstream is asked: a disk that takes nothing costs no exchange."""
        await self._on_disk(make_file, self._store, ride, ())
        ride.wake()

    async def _store_all(self, ride: Ride, exchange: Bytes) -> None:
        await self._bring(ride, exchange)
        if ride.sealed is None:
            assert ride.writer is not None  # noqa: S101 - a chunk has a byte at least
            ride.sealed = await self._on_disk(ride.writer.seal)

    async def _bring(self, ride: Ride, exchange: Bytes) -> None:
        """All that the ride is about, into its file."""
        work = await self._receive(ride, exchange)
        while isinstance(work, Resume):
            start = ride.span.start
            work = await self._receive(ride, ride.fetch(ByteSpan(start + work.span.start, start + work.span.stop)))
        if isinstance(work, Discard):
            raise work.fault

    async def _receive(self, ride: Ride, exchange: Bytes) -> Resume | Seal | Discard:
        """One upstream exchange for the rest of the chunk; what to do when it is over."""
        try:
            async with exchange as body:
                async for data in body:
                    work = ride.fill.arrived(data, self._clock.monotonic())
                    if isinstance(work, Discard):
                        return work
                    if work is not None:
                        await self._append(ride, work)
                        await self._pour(ride, body)
        except Fault as fault:
            if isinstance(fault, DiskFault):
                raise
            while isinstance(rest := ride.fill.broke(fault), Append):
                await self._append(ride, rest)
            return rest
        return ride.fill.ended()

    async def _append(self, ride: Ride, work: Append) -> None:
        if not ride.fill.written:
            ride.early = work.pieces[0]
            ride.wake()
            late = asyncio.get_running_loop().call_later(HEAD_START_S, ride.taken.set)
            try:
                await ride.taken.wait()
            finally:
                late.cancel()
        if ride.writer is None and work.length == ride.chunk.length:
            here = self._store.find(ride.chunk) if ride.perhaps_here else None
            ride.sealed = here or await self._on_disk(store_whole, self._store, ride, work.pieces)
        elif ride.writer is None:
            await self._on_disk(make_file, self._store, ride, work.pieces)
        else:
            await self._on_disk(append_all, ride.writer, work.pieces)
        ride.early = b""
        ride.fill.wrote(work.length)
        self._tally.add(Count.FILL_BYTES, work.length)
        ride.wake()

    async def _pour(self, ride: Ride, body: AsyncIterator[bytes | memoryview]) -> None:
        """Have what still comes received straight into the file, if that can be."""
        fill, writer = ride.fill, ride.writer
        if writer is None or not fill.pourable or not isinstance(body, Pouring):
            return
        while count := await body.pour(writer.append, self._on_disk):
            fill.poured(count)
            self._tally.add(Count.FILL_BYTES, count)
            ride.wake()

    async def _on_disk(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Blocking work in a thread. Raises DiskFailed when the disk does not answer, and for a while after that."""
        now = self._clock.monotonic()
        if now < self._disk_off_until:
            raise DiskFailed("the disk did not answer a moment ago")
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        working = self._executor.submit(work, *arguments)  # whoever leaves, the thread ends its work
        working.add_done_callback(lambda _: _tell(loop, over))
        late = loop.call_later(DISK_TIMEOUT_S, _end, over)
        try:
            await over
        finally:
            late.cancel()
        if not working.done():
            self._disk_off_until = self._clock.monotonic() + DISK_OFF_S
            raise DiskFailed(f"no answer from the disk in {DISK_TIMEOUT_S} s")
        return working.result()


def _tell(loop: asyncio.AbstractEventLoop, over: asyncio.Future[None]) -> None:
    """In a thread, which has ended its work; perhaps nobody is left to hear of it."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_end, over)


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
