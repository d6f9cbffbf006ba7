"""The driver acts for the fill machines: it owns the task, the upstream exchange and the file of every fill.

At most one fill per chunk is under way in this worker, and the ring sends every request for a chunk to one worker, so
there is at most one in the cluster. Riders (local reads, peers) share it: they read the growing file through its
descriptor and wait on ``reached``. A rider that leaves ends only its own wait; the fill goes on, and the chunk is warm
for the next reader. At most ``fills_max`` fills are active; the others queue, at most ``QUEUED_MAX`` of them.
Beside fills, and bounded apart, go a small span far inside a cold chunk (``glimpse``: the first who asks does not wait
for what lies before it) and a chunk of another node of which a copy is kept (``copy``).
A question about a key nothing is known of (``begin``) is a fill too: its answer says what the key holds and brings the
first chunk. File work happens in the executor; between reading state and changing it there is no ``await``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from typing import Final, TypeVar

from cache.budgets import Budget
from cache.chunks import Chunk, chunk_of
from cache.faults import BudgetSpent, DiskFailed, DiskFault, Fault, OwnFault
from cache.fills.fill import Append, Discard, Resume, Seal
from cache.fills.ride import Bytes, Fetch, Ride
from cache.fills.scratch import Scratch
from cache.ports import ChunkReader, ChunkWriter, Clock, Origin, Pouring, Store
from cache.tally import Count, Tally
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion

_T = TypeVar("_T")
DISK_TIMEOUT_S: Final = 5.0
DISK_OFF_S: Final = 10.0
QUEUED_MAX: Final = 4096
BESIDE_MAX: Final = 32
COMING_BYTES_MAX: Final = 256 * 1024  # so few come with the answer sooner than a disk says whether they are here
WRITES_MAX: Final = 8
HEAD_START_S: Final = 0.002  # at most, for the first bytes to be sent: a thread would take the interpreter from him


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

    def ride(self, chunk: Chunk) -> Ride:
        """Join the fill of ``chunk``, or begin it. Raises BudgetSpent when too many wait already."""
        ride = self._rides.get(chunk.id)
        if ride is not None:
            self._tally.add(Count.CHUNK_COALESCED)
            return ride
        self._expect_room()
        ride = self._new_ride(chunk)
        hoping = self._hoping.get(ObjectRef(chunk.version.bucket, chunk.version.key)) if chunk.index == 0 else None
        if hoping is None:
            self._launch(ride)
        else:
            hoping.append(ride)
        return ride

    def glimpse(self, chunk: Chunk, span: ByteSpan) -> Ride | None:
        """A ride for ``span`` alone, by an exchange of its own, beside the chunk's fill, which begins too.

        None: somebody fills the chunk already, or too many do so. Raises BudgetSpent.
        """
        if chunk.id in self._rides or self._beside.used >= self._beside.limit:
            return None
        self._expect_room()
        ride = Ride(chunk, self._from_upstream(chunk), span)
        self._start_beside(self._glimpse(ride), f"glimpse {chunk.id.hex()}", ride)
        self._tally.add(Count.GLIMPSES)
        self.ride(chunk)
        return ride

    def copy(self, chunk: Chunk, fetch: Fetch) -> Ride | None:
        """Join the chunk's way into the store, or bring a copy by ``fetch``; None: too many do so."""
        ride = self._rides.get(chunk.id)
        if ride is None and self._beside.used < self._beside.limit:
            self._tally.add(Count.PEER_COPIES)
            ride = self._rides[chunk.id] = Ride(chunk, fetch)
            self._start_beside(self._copy(ride), f"copy {chunk.id.hex()}", ride)
        return ride

    def begin(self, ref: ObjectRef, chunk_bytes: int, *, whole: bool) -> asyncio.Future[Entry]:
        """Ask what the key holds; the answer's bytes fill its first chunk. It raises upstream's fault, and BudgetSpent.

        See ``Origin.begin``. A caller that is cancelled ends its own wait. A question never waits behind fills: when
        too many are under way it is refused, and may be asked by HEAD.
        """
        found: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        full = self._queue if self._queue.used >= self._queue.limit else self._questions
        if full is self._queue or not self._questions.take():
            found.set_exception(BudgetSpent(full.name))
            return found
        task = self._start(self._begin(ref, chunk_bytes, found, whole=whole), f"begin {ref.bucket}")
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
        with self._told(ride):
            async with self._slots:
                await self._fill(ride, ride.fetch(ride.span))

    async def _glimpse(self, ride: Ride) -> None:
        """A part of a chunk, into memory."""
        with self._told(ride):
            ride.writer = Scratch(ride.span.start)
            ride.wake()
            await self._bring(ride, ride.fetch(ride.span))

    async def _copy(self, ride: Ride) -> None:
        """A chunk of another node's, into this one's store."""
        with self._told(ride):
            await self._open(ride)
            await self._store_all(ride, ride.fetch(ride.span))

    async def _begin(self, ref: ObjectRef, chunk_bytes: int, found: asyncio.Future[Entry], *, whole: bool) -> None:
        """A question whose answer becomes a fill, unless the chunk is here, or on its way, by now."""
        try:
            async with self._origin.begin(ref, chunk_bytes, whole=whole) as beginning:
                ride = self._ride_for(ref, beginning.entry.version, chunk_bytes)
                self._disappoint(ref)
                if not found.done():
                    found.set_result(beginning.entry)
                if ride is not None:
                    with self._told(ride):
                        await self._fill(ride, nullcontext(beginning.body), begun=True)
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
        self._start(self._run(ride), f"fill {ride.chunk.id.hex()}").add_done_callback(lambda _: self._gone(ride))

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

    async def _fill(self, ride: Ride, exchange: Bytes, *, begun: bool = False) -> None:
        """Bring the chunk in, beginning with ``exchange``. Raises the fault that ends the fill.

        ``begun``: the exchange is under way, so that the first bytes need not wait for a file to be made before.
        """
        self._tally.add(Count.FILLS_STARTED)
        self._tally.add(Count.FILLS_NOW)
        try:
            if not begun:
                await self._open(ride)
            await self._store_all(ride, exchange)
            self._tally.add(Count.FILLS_SEALED)
        finally:
            self._tally.add(Count.FILLS_NOW, -1)

    async def _open(self, ride: Ride) -> None:
        """Before upstream is asked: a disk that takes nothing costs no exchange."""
        await self._on_disk(_make_file, self._store, ride, ())
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
            ride.sealed = here or await self._on_disk(_store_whole, self._store, ride, work.pieces)
        elif ride.writer is None:
            await self._on_disk(_make_file, self._store, ride, work.pieces)
        else:
            await self._on_disk(_append_all, ride.writer, work.pieces)
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
        working = asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        working.add_done_callback(_heed)
        done, _ = await asyncio.wait([working], timeout=DISK_TIMEOUT_S)  # whoever leaves, the thread ends its work
        if not done:
            self._disk_off_until = self._clock.monotonic() + DISK_OFF_S
            raise DiskFailed(f"no answer from the disk in {DISK_TIMEOUT_S} s")
        return working.result()


def _heed(working: asyncio.Future[_T]) -> None:
    """Nobody may be left to hear how it ended."""
    if not working.cancelled():
        working.exception()


def _make_file(store: Store, ride: Ride, pieces: tuple[bytes | memoryview, ...]) -> ChunkWriter:
    """In a thread: a file for the ride, and its first bytes.

    The ride may be over by the time that a slow disk has made it. Whoever is second, this thread or the loop, sees what
    the other did, and drops the file.
    """
    writer = ride.writer = store.create(ride.chunk)
    if pieces:
        _append_all(writer, pieces)
    if ride.over:
        writer.abandon()
    return writer


def _store_whole(store: Store, ride: Ride, pieces: tuple[bytes | memoryview, ...]) -> ChunkReader:
    """In a thread, once for all: the file of a chunk whose bytes, and upstream's word that they are all, are here."""
    return _make_file(store, ride, pieces).seal()


def _append_all(writer: ChunkWriter, pieces: tuple[bytes | memoryview, ...]) -> None:
    """In a thread: one way there and back for all of them; many small ones become one write."""
    for piece in pieces if len(pieces) <= WRITES_MAX else (b"".join(pieces),):
        writer.append(piece)
