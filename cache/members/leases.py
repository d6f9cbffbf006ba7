"""Bounded leases: how long a node may trust what it knows of keys without asking upstream.

A node may trust its catalog only while it holds a lease of EVERY other member. It asks each for a renewal every quarter
of a lease; a lease counts from the moment the request was *sent*, on the asker's own monotonic clock, so it ends at
the asker before the granter believes it over. No two clocks are compared. Sans-IO: a node's files: ``leasefile``.

A writer tells every member before its client's 200. If one cannot be told, the writer's node takes a new *standing*
for it (a fresh random number), which at once ends renewals, and waits until its last grant to that member is over.
Later writes wait no more: they only renew the standing. A member is granted a lease again once it quotes the present
standing, which it learns from the refusal and may quote only after it distrusted everything it knew: one distrust mends
whatever was missed. A node that just started has quoted nothing, a granter that lost its memory has other standings.

A member all of whose ports refuse connections is dead: it holds nothing and is not waited for. Its refusal is as good
as a lease counted from the asking, because a process that starts later counts its own start as a grant to everyone
(``opened_at``). But it may have given up telling *us* before, or have died between upstream's commit and the telling.
So a refusal after a gap, and the first after a lease that the member granted, makes the node distrust everything, once
more a lease later (a write may still have been on its way); others only prolong (:class:`Mourning`). A node that lives
on after a worker was killed renews all standings. It must listen for peers before it takes writes. Sans-IO: what
concerns a node is kept by ``leasefile``, what a worker holds is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Grant:
    """What this node has granted to one member: when last (monotonic s), its standing, and the standing granted on."""

    granted_at: float
    standing: int
    granted_standing: int = 0

    @property
    def suspended(self) -> bool:
        """Whether the member must distrust everything before it gets a lease again."""
        return self.standing != self.granted_standing


def judge_ask(grant: Grant, *, quoted: int, now: float) -> Grant | None:
    """The member asks for a lease, quoting a standing: the grant to remember, or None (refused)."""
    return Grant(now, quoted, quoted) if quoted == grant.standing else None


def judge_miss(
    grant: Grant, *, fresh: int, began_at: float, gone: bool, opened_at: float, lease_s: float
) -> tuple[Grant, float]:
    """Telling the member failed: the grant from now on, and until when (monotonic s) the write must wait.

    ``began_at``: when the telling began; ``gone``: every port refused; ``fresh``: a new standing. Whoever got a lease
    since the telling began was alive after all.
    """
    missed = replace(grant, standing=fresh)
    if gone and grant.granted_at < began_at:
        return missed, 0.0
    return missed, max(grant.granted_at, opened_at) + lease_s


def may_forgo(grant: Grant, *, now: float, opened_at: float, lease_s: float) -> bool:
    """Whether the member need not be told at all: it is suspended and its last lease is over."""
    return grant.suspended and now >= max(grant.granted_at, opened_at) + lease_s


@dataclass(frozen=True, slots=True)
class Mourning:
    """What this node heard of one member (monotonic s; 0.0: never).

    ``heard_at``: the last lease that the member granted to any worker came in. ``refused_at``: the first refusal since
    was asked for; ``distrusted_at``: the last one that made the node distrust everything was.
    """

    heard_at: float = 0.0
    refused_at: float = 0.0
    distrusted_at: float = 0.0

    @property
    def first(self) -> bool:
        """Whether no refusal since the last granted lease has made the node distrust."""
        return self.refused_at <= self.heard_at

    def must_distrust(self, *, now: float, lease_s: float) -> bool:
        """Whether one more refusal, just received, makes the node distrust everything."""
        return self.first or self.distrusted_at < self.refused_at + lease_s <= now

    def distrusted(self, *, asked_at: float) -> Mourning:
        """It did, for a refusal asked for at ``asked_at``. A lease that came in after that still counts as heard."""
        return replace(self, refused_at=asked_at if self.first else self.refused_at, distrusted_at=asked_at)


class HeldLeases:
    """The leases that one worker holds of the other members. With no other member, trust is unlimited."""

    __slots__ = ("_trusted_until", "_until")

    def __init__(self, members: Iterable[str] = ()) -> None:
        self._until = dict.fromkeys(members, float("-inf"))
        self._trusted_until = self._earliest()

    def retain(self, members: Iterable[str]) -> None:
        """A new view: leases of those who left are not needed, those of newcomers are not held yet."""
        self._until = {member: self._until.get(member, float("-inf")) for member in members}
        self._trusted_until = self._earliest()

    def renewed(self, member: str, *, asked_at: float, seconds: float) -> None:
        """The member granted, asked at ``asked_at`` of our monotonic clock; or it is dead, see ``holds``."""
        if member in self._until:
            self._until[member] = max(self._until[member], asked_at + seconds)
            self._trusted_until = self._earliest()

    def holds(self, member: str, now: float) -> bool:
        """Whether the member's lease has lasted until ``now``, so that it cannot have returned from a write unheard."""
        return now < self._until.get(member, float("-inf"))

    def trusted(self, now: float) -> bool:
        """Whether a lease of every other member holds at ``now``."""
        return now < self._trusted_until

    def lacking(self, now: float) -> list[str]:
        """The members whose lease is not held at ``now``."""
        return [member for member, until in self._until.items() if now >= until]

    def _earliest(self) -> float:
        return min(self._until.values(), default=float("inf"))
