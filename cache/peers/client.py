"""The other workers, as the cache sees them: implements ``cache.ports.Peers`` over the peer protocol.

It owns the links (``pool``), a breaker for every worker that it reads from, the tasks that keep leases and the telling
of invalidations (``leasing``). Breakers count reads only: leases and invalidations need the truth each time.
Start it on the loop that uses it; ``close`` ends every task and link. The bytes of relays are counted here, relays and
errors by the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from cache.chunks import Chunk
from cache.faults import PeerFault, PeerLied, PeerUnreachable
from cache.peers.along import Find, open_along
from cache.peers.blame import fault_of
from cache.peers.breaker import Breaker
from cache.peers.frames import AskStatus, Failed, Found, LookUp, Status
from cache.peers.leasing import Held, Herald, LeaseKeeper, Ledger
from cache.peers.pool import Patience, Pool
from cache.peers.reaching import reach
from cache.peers.relay import Relay, ended_by, next_answer
from cache.ports import ChunkReader, Clock, Members, Relayed
from cache.tally import Tally
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from cache.views import Owner


@dataclass(frozen=True, slots=True)
class Trust:
    """What leases work with: what this node granted and heard, what this worker holds, how the node distrusts all."""

    grants: Ledger
    held: Held
    distrust: Callable[[], None]
    lease_s: float = 5.0


class PeersClient:
    """See the theory. ``find`` looks a chunk up in the local store. Raises ValueError for a short secret."""

    def __init__(  # noqa: PLR0913 - what it works with, by name
        self,
        *,
        me: Owner,
        members: Members,
        secret: bytes,
        trust: Trust,
        find: Find,
        clock: Clock,
        tally: Tally,
        patience: Patience | None = None,
    ) -> None:
        self._me = me
        self._members, self._clock, self._tally, self._find = members, clock, tally, find
        self._trust = trust
        self._pool = Pool(me.node_id, members, secret, patience or Patience())
        self._breakers: dict[Owner, Breaker] = {}
        worker = (me.node_id, me.worker)
        self._herald = Herald(pool=self._pool, members=members, me=worker, grants=trust.grants, clock=clock)
        self._keeper = LeaseKeeper(
            pool=self._pool,
            members=members,
            me=worker,
            standings=trust.grants,
            held=trust.held,
            distrust=trust.distrust,
            clock=clock,
            lease_s=trust.lease_s,
        )

    def start(self) -> None:
        """Begin to keep leases."""
        self._keeper.start()

    async def close(self) -> None:
        """End every task and cut every link."""
        await self._keeper.close()
        await self._pool.close()

    async def look_up(self, owner: Owner, ref: ObjectRef, *, checksums: bool, age_max_s: float) -> Entry:
        """As ``Peers.look_up``."""
        breaker = self._breaker(owner)
        try:
            found = await self._found(owner, LookUp(ref.bucket, ref.key, ref.version_id, checksums, age_max_s))
            version = _version_of(found, ref)
        except PeerFault as fault:
            self._report(breaker, fault)
            raise
        breaker.succeeded()
        return Entry(version, found.headers, -max(0.0, found.age_s), 0, found.partial)

    async def along(self, owner: Owner, chunk: Chunk) -> ChunkReader:
        """As ``Peers.along``."""
        breaker = self._breaker(owner)
        try:
            reader = await open_along(self._pool, owner, chunk, self._find)
        except PeerFault as fault:
            self._report(breaker, fault)
            raise
        breaker.succeeded()
        return reader

    def relay(self, owner: Owner, chunk: Chunk, span: ByteSpan) -> AbstractAsyncContextManager[Relayed]:
        """As ``Peers.relay``. Raises PeerUnreachable here when the owner's breaker is open."""
        breaker = self._breaker(owner)
        return Relay(self._pool, owner, (chunk, span), self._tally, lambda fault: self._report(breaker, fault))

    async def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        """As ``Peers.invalidate``. A caller that is cancelled has told some members and not others."""
        await self._herald.tell(refs, within_s=min(2.0, self._trust.lease_s / 2))

    def trusted(self) -> bool:
        """As ``Peers.trusted``; a comparison."""
        return self._trust.held.trusted(self._clock.monotonic())

    async def status(self, node_id: str) -> bytes:
        """A node's status document (JSON). Raises any PeerFault."""
        node = self._members.current().node(node_id)
        if node is None:
            raise PeerUnreachable(f"no node {node_id!r} in the view")
        answer = await reach(self._pool, node, AskStatus(), first=self._me.worker, within_s=2.0)
        if isinstance(answer, Failed):
            raise fault_of(answer)
        if not isinstance(answer, Status):
            raise PeerLied(f"{type(answer).__name__} for a status")
        return answer.document

    def check(self) -> Iterator[str]:
        """What is wrong with me, one line each; silent when well."""
        yield from self._pool.check()

    async def _found(self, owner: Owner, request: LookUp) -> Found:
        link, first = await self._pool.ask(owner, request)
        try:
            answer = await next_answer(self._pool, link, first)
        except asyncio.CancelledError:
            link.abort()
            raise
        if not isinstance(answer, Found):
            raise ended_by(answer, self._pool, owner, link)
        self._pool.give(owner, link)
        return answer

    def _breaker(self, owner: Owner) -> Breaker:
        """The owner's, closed or probing. Raises PeerUnreachable."""
        breaker = self._breakers.get(owner)
        if breaker is None:
            breaker = self._breakers[owner] = Breaker()
        if not breaker.allows(self._clock.monotonic()):
            raise PeerUnreachable(f"{owner} fails too often; not asked")
        return breaker

    def _report(self, breaker: Breaker, fault: PeerFault | None) -> None:
        if isinstance(fault, PeerUnreachable | PeerLied):
            breaker.failed(self._clock.monotonic())
        else:
            breaker.succeeded()


def _version_of(found: Found, ref: ObjectRef) -> ObjectVersion:
    """Raises PeerLied for what is no version."""
    try:
        return ObjectVersion(found.origin, ref.bucket, ref.key, found.etag, found.size, found.version_id)
    except ValueError as error:
        raise PeerLied(str(error)) from error
