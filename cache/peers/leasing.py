"""Keeping leases and telling of writes: the two sides of the promise that no node serves an older version.

The rules are ``cache.members.leases``; they come in as narrow protocols, so that this floor does not know where grants
are kept. A :class:`LeaseKeeper` owns one task per other member, which asks for a renewal every quarter of a
lease and, when the answer names a new standing, distrusts everything before it asks again with that standing. It
distrusts too when a member turns out to be dead.
:class:`Herald` tells all members of an invalidation, in parallel, and returns when each has obeyed or can no longer
hold an old entry.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from cache.faults import PeerFault, PeerLied
from cache.peers.frames import REFS_MAX, REQUEST_BYTES_MAX, AskLease, Invalidate, Lease, Obeyed
from cache.peers.pool import NobodyListens, Pool
from cache.peers.reaching import reach
from cache.ports import Clock, Members
from cache.versions import ObjectRef
from cache.views import Node, View

REF_BYTES_MAX: Final = REQUEST_BYTES_MAX // 2  # per frame, as UTF-8: room for lengths and tags
TIMER_S: Final = 0.005  # by how much a timer may be early

_log: Final = logging.getLogger(__name__)


class Grants(Protocol):
    """What this node granted, shared by its workers: ``cache.members.leasefile.LeaseTable``."""

    def asked(self, node_id: str, standing: int) -> tuple[float, int]:
        """A member asks, quoting a standing: seconds (0: none) and the standing that it must quote."""
        ...

    def forgo(self, node_id: str) -> bool:
        """Whether the member need not be told of an invalidation; then it counts as missed."""
        ...

    def missed(self, node_id: str, *, began_at: float, gone: bool) -> float:
        """The member could not be told: until when (monotonic seconds) the write must wait."""
        ...


class Standings(Protocol):
    """What this node heard of the other members, shared by its workers; kept there too."""

    def obeyed(self, node_id: str) -> int:
        """The standing at that member since which this node has distrusted what it knew."""
        ...

    def obey(self, node_id: str, standing: int) -> None:
        """This node has distrusted everything after it learned ``standing``."""
        ...

    def heard(self, node_id: str) -> None:
        """The member itself just granted a lease."""
        ...

    def must_distrust(self, node_id: str) -> bool:
        """Every port of the member refused: whether this node must distrust everything now."""
        ...

    def distrusted(self, node_id: str, *, asked_at: float) -> None:
        """This node has distrusted everything after a refusal that was asked for at ``asked_at``."""
        ...


class Ledger(Grants, Standings, Protocol):
    """Both in one."""


class Held(Protocol):
    """What this worker holds: ``cache.members.leases.HeldLeases``."""

    def retain(self, members: Sequence[str]) -> None:
        """The other members of a new view."""
        ...

    def renewed(self, member: str, *, asked_at: float, seconds: float) -> None:
        """A lease counted from ``asked_at``."""
        ...

    def holds(self, member: str, now: float) -> bool:
        """Whether that member's lease has lasted until now."""
        ...

    def trusted(self, now: float) -> bool:
        """Whether a lease of every other member holds."""
        ...


class LeaseKeeper:
    """Asks every other member for leases. ``distrust`` makes the whole node forget what it knows of keys."""

    def __init__(  # noqa: PLR0913 - what it works with, by name
        self,
        *,
        pool: Pool,
        members: Members,
        me: tuple[str, int],
        standings: Standings,
        held: Held,
        distrust: Callable[[], None],
        clock: Clock,
        lease_s: float,
    ) -> None:
        self._pool, self._members, self._me = pool, members, me
        self._standings, self._held, self._distrust = standings, held, distrust
        self._clock, self._lease_s = clock, lease_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unwatch: Callable[[], None] | None = None
        self._retain(members.current())

    def start(self) -> None:
        """Begin to ask."""
        self._unwatch = self._members.watch(self._follow)
        self._follow(self._members.current())

    async def close(self) -> None:
        """Stop asking; what is held runs out."""
        if self._unwatch is not None:
            self._unwatch()
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self, view: View) -> None:
        others = self._retain(view)
        for gone in self._tasks.keys() - {node.id for node in others}:
            self._tasks.pop(gone).cancel()
        for node in others:
            if node.id not in self._tasks:
                self._tasks[node.id] = asyncio.create_task(self._keep(node.id))

    def _retain(self, view: View) -> list[Node]:
        others = [node for node in view.nodes if node.id != self._me[0]]
        self._held.retain([node.id for node in others])
        return others

    async def _keep(self, node_id: str) -> None:
        while True:
            began_at = self._clock.monotonic()
            node = self._members.current().node(node_id)
            if node is not None:
                await self._renew(node)
            rest_s = began_at + self._lease_s / 4 - self._clock.monotonic()
            await asyncio.sleep(min(max(rest_s, self._lease_s / 20), self._lease_s / 4))

    async def _renew(self, node: Node) -> None:
        asked_at = self._clock.monotonic()
        try:
            lease = await self._ask(node, standing := self._standings.obeyed(node.id))
            if lease.standing != standing:
                self._distrust()
                self._standings.obey(node.id, lease.standing)
                asked_at = self._clock.monotonic()
                lease = await self._ask(node, lease.standing)
        except NobodyListens:
            self._outlive(node.id, asked_at)
        except PeerFault as fault:
            _log.debug("no lease of node %s: %s", node.id, fault)
        else:
            if lease.seconds > 0:
                self._standings.heard(node.id)
            self._held.renewed(node.id, asked_at=asked_at, seconds=min(lease.seconds, self._lease_s))

    def _outlive(self, node_id: str, asked_at: float) -> None:
        """The member is dead: as good as a lease, but it may have given up telling us, or have died in mid-write."""
        if not self._held.holds(node_id, self._clock.monotonic()) or self._standings.must_distrust(node_id):
            self._distrust()
            self._standings.distrusted(node_id, asked_at=asked_at)
        self._held.renewed(node_id, asked_at=asked_at, seconds=self._lease_s)

    async def _ask(self, node: Node, standing: int) -> Lease:
        answer = await reach(
            self._pool, node, AskLease(standing), first=self._me[1], within_s=max(self._lease_s / 2, 0.2)
        )
        if not isinstance(answer, Lease):
            raise PeerLied(f"{type(answer).__name__} for a lease")
        return answer


class Herald:
    """Tells the other members which keys changed."""

    def __init__(self, *, pool: Pool, members: Members, me: tuple[str, int], grants: Grants, clock: Clock) -> None:
        self._pool, self._members, self._me = pool, members, me
        self._grants, self._clock = grants, clock

    async def tell(self, refs: Sequence[ObjectRef], *, within_s: float) -> None:
        """Return when each other member obeyed (tried for ``within_s``), or its lease is over. Never raises."""
        others = [node for node in self._members.current().nodes if node.id != self._me[0]]
        if refs and others:
            frames = list(batches(refs))
            await asyncio.gather(*(self._tell(node, frames, within_s) for node in others))

    async def _tell(self, node: Node, frames: list[Invalidate], within_s: float) -> None:
        if self._grants.forgo(node.id):
            return
        began_at, gone = self._clock.monotonic(), False
        try:
            for frame in frames:
                answer = await reach(self._pool, node, frame, first=self._me[1], within_s=within_s)
                if not isinstance(answer, Obeyed):
                    raise PeerLied(f"{type(answer).__name__} for an invalidation")
        except PeerFault as fault:
            gone = isinstance(fault, NobodyListens)
            _log.warning("node %s was not told of %d writes: %s", node.id, len(frames), fault)
        else:
            return
        until = self._grants.missed(node.id, began_at=began_at, gone=gone)
        if (left_s := until - self._clock.monotonic()) > 0:
            await asyncio.sleep(left_s + TIMER_S)


def batches(refs: Sequence[ObjectRef]) -> Iterator[Invalidate]:
    """The refs in frames: at most REFS_MAX, at most REF_BYTES_MAX of names each."""
    batch: list[tuple[str, str, str]] = []
    size = 0
    for ref in refs:
        names = (ref.bucket, ref.key, ref.version_id)
        weight = sum(len(name.encode()) for name in names)
        if batch and (len(batch) == REFS_MAX or size + weight > REF_BYTES_MAX):
            yield Invalidate(batch)
            batch, size = [], 0
        batch.append(names)
        size += weight
    if batch:
        yield Invalidate(batch)
