"""What does a key hold? Answered from the catalog while that counts, else by one request to upstream.

A key of which nothing is known, and whose beginning will be read, costs one request: a GET of its first chunk, whose
answer says what the key holds while its body fills the chunk. Placement leaves the version out, so the owner of that
chunk can be named before: it is asked (:meth:`Lookups.look_up` there), and all who ask it at once share one request. An
entry that has only grown old is asked about by HEAD, since its chunks may still be good; so is a key whose first chunk
seems to be here (all entries of a node cease to count when it may have missed a write), and what nobody reads now.
If the owner fails or the answer is of no use, HEAD is the way too.

The token is read before anybody is asked, and questions are shared by ref *and* token: one that began before a write
ended is never joined after it. While a write may have been missed, tokens do not tell, and everybody asks for himself;
so does who wants to know at every read (``always``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from cache.chunks import Chunk, chunk_of
from cache.crowds import TURN, Arrival, Call, Crowd, Waiter
from cache.faults import (
    BudgetSpent,
    Fault,
    PeerFault,
    PeerPassedOn,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
)
from cache.freshness import Freshness, Verdict
from cache.pieces import FilePiece, MemoryPiece, Source
from cache.ports import Told
from cache.tally import Count
from cache.versions import Entry, ObjectRef
from cache.ways import Ports, Ways

START_MAX: Final = 1024 * 1024
ARRIVING_BYTES_MAX: Final = 256 * 1024
ARRIVAL_S: Final = 0.01  # of a small object, while a crowd waits that can be sent all of it in one go then
BEGUN_MAX: Final = 4096
FINAL: Final = frozenset({401, 403, 404})
_Begin = Callable[[Told], Awaitable[Entry]]
_Place = tuple[ObjectRef, int, bool]


class Lookups:
    """The questions of one worker. ``stale_if_error_s``: how long after its time an entry serves when upstream fails.

    Chunks are cut at ``chunk_bytes``.
    """

    def __init__(
        self, ports: Ports, ways: Ways, freshness: Freshness, *, chunk_bytes: int, stale_if_error_s: float = 0.0
    ) -> None:
        self._ports = ports
        self._find, self._monotonic, self._words = ports.catalog.find, ports.clock.monotonic, ports.tally.words
        self._ways = ways
        self._freshness = freshness
        self._chunk_bytes = chunk_bytes
        self.stale_if_error_s = stale_if_error_s
        self._asking: dict[_Place, asyncio.Task[Entry]] = {}
        self._learnt: dict[_Place, Entry] = {}  # from answers whose tasks do not know it yet
        self._crowds: dict[_Place, Crowd] = {}  # who waits for those answers without a task
        self._letting_go: set[asyncio.Task[None]] = set()
        self._begun_for: dict[ObjectRef, tuple[int, Chunk]] = {}

    def known(self, ref: ObjectRef) -> Entry | None:
        """What the catalog says and freshness lets count; None: upstream has to be asked."""
        entry = self._find(ref)
        if entry is None or not self._counts(ref, entry):
            return None
        self._words[Count.CATALOG_HITS] += 1
        return entry

    def _counts(self, ref: ObjectRef, entry: Entry) -> bool:
        return self._freshness.judge(ref, entry, now=self._monotonic(), trusted=self._trusted()) is Verdict.FRESH

    async def entry(self, ref: ObjectRef, *, start: int | None, checksums: bool) -> Entry:
        """What the key holds, asking upstream if need be. Raises upstream's fault, BudgetSpent.

        ``start``: where a read will begin; None: nothing will be read, or nobody knows. ``checksums``: those of the
        whole object must be among the headers.
        """
        entry = self.known(ref)
        if entry is None:
            entry = await self._joined(ref, self._beginning(ref, start=start, checksums=checksums))
        return await self._joined(ref, None, again=True) if checksums and entry.partial else entry

    def expect(
        self, ref: ObjectRef, call: Call, *, start: int | None, checksums: bool, known: bool = False
    ) -> Waiter | None:
        """Have ``call`` called when the question is answered, and the bytes that came with it are here.

        It begins now, unless it is under way. None: others may not share it, or there is nothing to ask. ``known``:
        the entry has just been found to count.
        Whoever is called may find that he has to wait once more.
        """
        if not self._shares(ref):
            return None
        place = (ref, self._ports.catalog.token(ref), False)
        asking = self._asking.get(place)
        if asking is None:
            if known or ((entry := self._find(ref)) is not None and self._counts(ref, entry)):
                return None
            self._start(place, self._beginning(ref, start=start, checksums=checksums))
        elif asking.done():
            return None
        return self._crowds.setdefault(place, Crowd()).join(call)

    async def look_up(self, ref: ObjectRef, *, checksums: bool, age_max_s: float) -> Entry:
        """As :meth:`cache.ports.PeerHost.look_up`, for who takes us for the owner: asks nobody but upstream."""
        asked_at = self._ports.clock.monotonic()
        entry = self.known(ref)
        if entry is None or asked_at - entry.checked_at > age_max_s:
            entry = await self._joined(ref, lambda told: self._begin(ref, told, checksums=checksums))
        if checksums and entry.partial:
            entry = await self._joined(ref, None, again=True)
        return replace(entry, token=0, checked_at=min(0.0, entry.checked_at - asked_at))

    def serving(self, chunk: Chunk) -> None:
        """Another node is served this chunk, and may know more of its key than we: it need not be begun again."""
        if chunk.index == 0:
            if len(self._begun_for) >= BEGUN_MAX:
                del self._begun_for[next(iter(self._begun_for))]
            ref = ObjectRef(chunk.version.bucket, chunk.version.key)
            self._begun_for[ref] = self._ports.catalog.token(ref), chunk

    async def _joined(self, ref: ObjectRef, begin: _Begin | None, *, again: bool = False) -> Entry:
        """The answer to the question that is under way, or to a new one; ``begin`` None: by HEAD."""
        token = self._ports.catalog.token(ref)
        if not self._shares(ref):
            return await self._ask((ref, token, again), None, self._ports.clock.monotonic())
        place = (ref, token, again)
        if place not in self._asking:
            self._start(place, begin)
        return await asyncio.shield(self._asking[place])

    def _shares(self, ref: ObjectRef) -> bool:
        """Whether one question may do for all who ask meanwhile."""
        return self._trusted() and self._freshness.rule_for(ref).mode != "always"

    def _start(self, place: _Place, begin: _Begin | None) -> None:
        """What can be sent to upstream at once is: a turn of the loop is long while a crowd comes in."""
        ref, asked_at = place[0], self._monotonic()
        begun = None
        if begin is not None and self._find(ref) is None:
            begun = begin(lambda entry: self._told(place, asked_at, entry))
        asking = asyncio.create_task(self._ask(place, begun, asked_at), name=f"ask {ref.bucket}")
        self._asking[place] = asking
        asking.add_done_callback(lambda task: self._answered(place, task))

    def _answered(self, place: _Place, asking: asyncio.Task[Entry]) -> None:
        """Perhaps everybody who waited has left; then nobody looks at a fault."""
        entry = None if asking.cancelled() or asking.exception() is not None else asking.result()
        self._learnt.pop(place, None)
        crowd = self._crowds.pop(place, None)
        if crowd is None:
            del self._asking[place]
            return
        if entry is not None and len(crowd) <= TURN and self._stands(place, entry):
            del self._asking[place]
            _go(crowd, Arrival(entry, None))
            return
        letting_go = asyncio.create_task(self._let_go(place, entry, crowd))
        self._letting_go.add(letting_go)
        letting_go.add_done_callback(self._letting_go.discard)

    def _stands(self, place: _Place, entry: Entry) -> bool:
        """Whether the answer counts for those who waited for it."""
        return self._unchanged(place) and self._counts(place[0], entry)

    def _unchanged(self, place: _Place) -> bool:
        """Whether no write has come since the question began, nor may have been missed."""
        ref, token, _ = place
        return token == self._ports.catalog.token(ref) and self._trusted()

    def _let_in(self, place: _Place, entry: Entry, crowd: Crowd) -> None:
        """Let a few go: as soon as the first bytes have come with the answer, or at once if none do."""
        riding = None
        if entry.version.size:
            riding = self._ports.fills.under_way(chunk_of(entry.version, self._chunk_bytes, 0))
        if riding is None or riding.ready(0, 1):
            _go(crowd, Arrival(entry, None))
            return
        waiting = [crowd]

        def go() -> None:
            late.cancel()
            if waiting:
                early = MemoryPiece(riding.early, Source.UPSTREAM) if riding.early else None
                _go(waiting.pop(), Arrival(entry, None, early) if self._unchanged(place) else None)
                if early is not None:
                    riding.taken.set()

        late = asyncio.get_running_loop().call_later(ARRIVAL_S, go)
        if riding.early:
            go()
        else:
            riding.calls.append(go)

    async def _let_go(self, place: _Place, entry: Entry | None, crowd: Crowd) -> None:
        """Let a crowd go: with what has arrived, or else to join the question, which has just been answered.

        Those who come meanwhile have no part in that answer, unless it is a refusal of a moment ago.
        """
        ref = place[0]
        if entry is not None and self._stands(place, entry):
            del self._asking[place]
            chunk = None
            try:
                chunk = await self._arrived(ref, entry)
            finally:  # whatever became of the bytes, nobody is left waiting
                await _call(crowd, Arrival(entry, chunk), TURN)
            return
        try:
            await _call(crowd, None, len(crowd))
            await asyncio.sleep(0)  # whoever goes on in a task has joined the question in its first step
        finally:
            del self._asking[place]

    async def _ask(self, place: _Place, begun: Awaitable[Entry] | None, asked_at: float) -> Entry:
        ref = place[0]
        self._ports.tally.add(Count.CATALOG_MISSES)
        try:
            entry = await self._answer(ref, begun)
        except (UpstreamUnreachable, UpstreamBusy):
            if (stale := self._bearable(ref, asked_at)) is None:
                raise
            return stale
        learnt = None if begun is None else self._learnt.get(place)  # who asks for himself has his own answer
        return learnt or self._learn(place, asked_at, entry)

    def _learn(self, place: _Place, asked_at: float, entry: Entry) -> Entry:
        """Remember an answer; as what it is remembered."""
        ref, token, _ = place
        entry = Entry(entry.version, entry.headers, asked_at + entry.checked_at, token, entry.partial)
        self._ports.catalog.put(ref, entry)
        return entry

    def _told(self, place: _Place, asked_at: float, entry: Entry) -> None:
        """The answer is there, and its bytes will be: a few who wait for them need not wait for the task that asked.

        Unless it does not count any more: then they join the question, as long as that is there.
        """
        entry = self._learnt[place] = self._learn(place, asked_at, entry)
        crowd = self._crowds.get(place)
        if crowd is not None and len(crowd) <= TURN and self._stands(place, entry):
            del self._crowds[place]
            self._let_in(place, entry, crowd)

    async def _answer(self, ref: ObjectRef, begun: Awaitable[Entry] | None) -> Entry:
        if begun is not None:
            try:
                return await begun
            except (PeerFault, UpstreamBroken, UpstreamRefused, BudgetSpent) as fault:
                cause = fault.cause if isinstance(fault, PeerPassedOn) else fault
                if not self._may_ask_by_head(cause):
                    raise cause from fault
        return await self._ports.origin.head(ref)

    def _may_ask_by_head(self, fault: Fault) -> bool:
        """Whether a HEAD may have an answer where the first way had this one."""
        if isinstance(fault, PeerFault):
            self._ports.tally.add(Count.PEER_ERRORS)
            return True
        return isinstance(fault, UpstreamBroken | BudgetSpent) or (
            isinstance(fault, UpstreamRefused) and fault.status not in FINAL
        )

    async def _arrived(self, ref: ObjectRef, entry: Entry) -> FilePiece | None:
        """Wait for a small chunk that the answer brings, but not for long; None: not all of it is on file."""
        length = min(entry.version.size, self._chunk_bytes)
        if not 0 < length <= ARRIVING_BYTES_MAX or self._ways.beginner(ref) is not None:
            return None
        chunk = chunk_of(entry.version, self._chunk_bytes, 0)
        if not self._ports.fills.coming(ref, chunk):
            return None
        with suppress(Fault, TimeoutError):
            ride = self._ports.fills.ride(chunk)
            ride.taken.set()  # a crowd waits for the file
            async with asyncio.timeout(ARRIVAL_S):
                await ride.reached(length - 1)
            return FilePiece(ride, 0, length, Source.UPSTREAM)
        return None

    def _beginning(self, ref: ObjectRef, *, start: int | None, checksums: bool) -> _Begin | None:
        """How to ask for who will read from ``start``; None: by HEAD."""
        begins = start is not None and start < START_MAX and not ref.version_id
        return (lambda told: self._begun(ref, told, checksums=checksums)) if begins else None

    def _begun(self, ref: ObjectRef, told: Told, *, checksums: bool) -> Awaitable[Entry]:
        """By the owner of the first chunk: ourselves, or the worker that is."""
        owner, peers = self._ways.beginner(ref), self._ports.peers
        if owner is None or peers is None:
            return self._begin(ref, told, checksums=checksums)
        return peers.look_up(owner, ref, checksums=checksums, age_max_s=self._freshness.age_max_s(ref))

    def _begin(self, ref: ObjectRef, told: Told, *, checksums: bool) -> Awaitable[Entry]:
        """We own the first chunk: by the GET that brings it, unless it seems to be here."""
        if self._may_have_begun(ref):
            return self._ports.origin.head(ref)
        return self._ports.fills.begin(ref, self._chunk_bytes, told, whole=checksums)

    def _may_have_begun(self, ref: ObjectRef) -> bool:
        """Whether another node was just served the first chunk, or the store has that of the version last heard of.

        Of a version without a byte there is nothing to bring.
        """
        token, served = self._begun_for.get(ref, (None, None))
        if token == self._ports.catalog.token(ref) or self._is_here(ref, served):
            return True
        last = self._ports.catalog.recall(ref)
        return last is not None and (not last.size or self._is_here(ref, chunk_of(last, self._chunk_bytes, 0)))

    def _is_here(self, ref: ObjectRef, chunk: Chunk | None) -> bool:
        stored = chunk is not None and self._ports.store.find(chunk) is not None
        return stored or self._ports.fills.coming(ref, chunk)

    def _bearable(self, ref: ObjectRef, now: float) -> Entry | None:
        """An entry that is stale but, upstream being down, may be served: a choice of the operator's.

        Never while a write of the cluster may have been missed.
        """
        entry = self._ports.catalog.find(ref) if self.stale_if_error_s and self._trusted() else None
        ttl_s = self._freshness.rule_for(ref).ttl_s
        return entry if entry is not None and now - entry.checked_at < ttl_s + self.stale_if_error_s else None

    def _trusted(self) -> bool:
        return self._ports.peers is None or self._ports.peers.trusted()


def _go(crowd: Crowd, arrival: Arrival | None) -> None:
    """Call them all at once. They raise nothing; if one does, it is his own misfortune."""
    for turn in crowd.turns():
        for waiter in turn:
            try:
                waiter.go(arrival)
            except Exception as error:  # noqa: BLE001 - the others wait, and so does the fill that called
                context = {"message": "a call to one of a crowd failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)


async def _call(crowd: Crowd, arrival: Arrival | None, size: int) -> None:
    """Call them all, so many in one turn of the loop; when this returns, the last one was called."""
    loop = asyncio.get_running_loop()
    for turn in crowd.turns(size):
        seen = None if arrival is None else arrival.seen()
        for waiter in turn:
            loop.call_soon(waiter.go, seen)
        await asyncio.sleep(0)
