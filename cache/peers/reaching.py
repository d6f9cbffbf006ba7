"""Reaching a node: any one live worker will do, for what concerns the node as a whole.

Its workers are tried in turn, beginning with the one of our own number, so that the workers of two nodes pair up. One
that hangs costs a share of the time only. That *every* port refused is told apart (:class:`NobodyListens`): such a node
is dead, while one of which a single worker is merely silent may be alive.
"""

from __future__ import annotations

import asyncio

from cache.faults import PeerFault, PeerUnreachable
from cache.peers.frames import Message, Request
from cache.peers.pool import NobodyListens, Pool
from cache.views import Node, Owner


async def reach(pool: Pool, node: Node, request: Request, *, first: int, within_s: float) -> Message:
    """The answer of any worker of ``node``. Raises NobodyListens (all refused), PeerUnreachable, another PeerFault."""
    worst: PeerFault | None = None
    try:
        async with asyncio.timeout(within_s):
            for turn in range(node.workers):
                try:
                    owner = Owner(node.id, (first + turn) % node.workers)
                    return await _ask(pool, owner, request, within_s / min(node.workers, 4))
                except NobodyListens as fault:
                    worst = worst or fault
                except PeerFault as fault:
                    worst = fault if worst is None or isinstance(worst, NobodyListens) else worst
    except TimeoutError as error:
        raise PeerUnreachable(f"node {node.id} does not answer within {within_s} s") from error
    raise worst or PeerUnreachable(f"node {node.id} has no worker")


async def _ask(pool: Pool, owner: Owner, request: Request, within_s: float) -> Message:
    try:
        async with asyncio.timeout(within_s):
            return await pool.ask_once(owner, request)
    except TimeoutError as error:
        raise PeerUnreachable(f"{owner} does not answer within {within_s} s") from error
