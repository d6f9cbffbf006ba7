"""Links to other workers, kept for the next question.

One pool serves one worker. A link is lent to one exchange at a time and comes back only when its exchange ended in
order; anything else aborts it. At most ``LINKS_MAX`` are open to a target, of which ``IDLE_MAX`` may wait unused.
The first ``WINDOWS_MAX`` relays at a time look ahead through windows of ``WINDOW_UNITS``, all further ones through one
unit; what they see there is passed on through one pipe, which is empty again whenever somebody has used it.
A reused link may have been closed by the other end a moment ago: when it fails before the first answer, the question
(all are repeatable) is asked once more on a fresh one.

Whoever connects proves the cluster secret and demands the same proof (``handshake``), within one deadline.
:class:`NobodyListens` tells a dead worker, whose port refuses, from one that is merely silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cache.chunks import UNIT_BYTES
from cache.faults import PeerFault, PeerRefused, PeerUnreachable
from cache.peers import handshake
from cache.peers.frames import (
    ANSWERS,
    HELLOS,
    AskChunk,
    BadFrame,
    Message,
    Request,
    ServerHello,
    ServerProof,
    make_window,
)
from cache.peers.link import Link, Silent
from cache.peers.passage import Pipe, PipePassage
from cache.ports import Members
from cache.views import Owner

LINKS_MAX: Final = 256
CLOSE_S: Final = 2.0
IDLE_MAX: Final = 8
WINDOWS_MAX: Final = 16
WINDOW_UNITS: Final = 4  # a step of a relay, in cold caches, costs half as much again as moving a unit: so fewer steps


class NobodyListens(PeerUnreachable):
    """The worker's port refuses connections: its process is gone."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for a connection with its handshake, and for the next frame."""

    connect_s: float = 1.0
    silence_s: float = 2.0


class Pool:
    """See the theory. ``node_id`` is this node; raises ValueError for a short secret."""

    def __init__(self, node_id: str, members: Members, secret: bytes, patience: Patience) -> None:
        self._node_id = node_id
        self._members = members
        self._secret = handshake.checked_secret(secret)
        self._idle: dict[Owner, list[Link]] = {}
        self._links: dict[Owner, set[Link]] = {}  # all, those being connected too
        self._windows = 0  # in use or spare
        self._spare: list[memoryview] = []
        self._pipe = Pipe()
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None
        self.patience = patience

    async def ask(self, owner: Owner, request: Request) -> tuple[Link, Message]:
        """Put a question; the link and the first answer. Raises PeerUnreachable, PeerLied, PeerRefused."""
        link = self._take_idle(owner)
        if link is not None:
            try:
                return link, await self._first_answer(link, request)
            except Silent:
                raise
            except PeerUnreachable:
                pass  # it was closed under us: once more, on a fresh one
        link = await self._connect(owner)
        return link, await self._first_answer(link, request)

    async def ask_once(self, owner: Owner, request: Request) -> Message:
        """Put a question that has one answer. Raises as ``ask``."""
        link, answer = await self.ask(owner, request)
        self.give(owner, link)
        return answer

    def give(self, owner: Owner, link: Link) -> None:
        """Hand back a link whose exchange has ended in order."""
        idle = self._idle.setdefault(owner, [])
        if link.alive and len(idle) < IDLE_MAX and link in self._links.get(owner, ()):
            if (window := _lent_to(link)) is not None:
                self._spare.append(window)
            link.frames.window = None
            link.await_nothing()
            idle.append(link)
        else:
            link.abort()

    def check(self) -> Iterator[str]:
        """What is wrong with the links that wait unused, and with the windows, one line each; silent when well."""
        for owner, idle in self._idle.items():
            if len(idle) > IDLE_MAX or len(set(idle)) < len(idle):
                yield f"{len(idle)} links to {owner} wait unused"
            if strays := set(idle) - self._links.get(owner, set()):
                yield f"{len(strays)} links to {owner} wait unused, and are gone"
        lent = sum(_lent_to(link) is not None for links in self._links.values() for link in links)
        if lent + len(self._spare) != self._windows or self._windows > WINDOWS_MAX:
            yield f"{lent} windows are lent and {len(self._spare)} spare, of {self._windows}"

    async def close(self) -> None:
        """Abort every link, and wait until each is gone."""
        self._closed = True
        self._pipe.close()
        for link in [link for links in self._links.values() for link in links]:
            link.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while any(self._links.values()):
                    self._emptied = asyncio.get_running_loop().create_future()
                    await self._emptied

    async def _first_answer(self, link: Link, request: Request) -> Message:
        if isinstance(request, AskChunk) and not request.same_node:
            link.frames.window = self._window()
        link.send(request)
        try:
            return await link.next(self.patience.silence_s)
        except BaseException:
            link.abort()
            raise

    def _window(self) -> memoryview | None:
        if self._spare:
            return self._spare.pop()
        if self._windows >= WINDOWS_MAX:
            return None
        self._windows += 1
        return make_window(WINDOW_UNITS)

    def _take_idle(self, owner: Owner) -> Link | None:
        idle = self._idle.get(owner, [])
        while idle:
            link = idle.pop()
            if link.alive:
                return link
            link.abort()
        return None

    async def _connect(self, owner: Owner) -> Link:
        node = self._members.current().node(owner.node_id)
        if node is None:
            raise PeerUnreachable(f"no node {owner.node_id!r} in the view")
        links = self._links.setdefault(owner, set())
        if self._closed or len(links) >= LINKS_MAX:
            raise PeerRefused(f"{len(links)} links to {owner} are in use")
        link = Link(HELLOS, lost=lambda link: self._drop(owner, link), passage=PipePassage(self._pipe))
        links.add(link)
        try:
            async with asyncio.timeout(self.patience.connect_s):
                await asyncio.get_running_loop().create_connection(
                    lambda: link, node.host, node.peer_port + owner.worker
                )
                await self._shake_hands(link, owner)
        except BaseException as error:
            link.abort()
            if not link.made:
                self._drop(owner, link)  # else the connection's end does
            raise _blamed(error, owner) from error
        return link

    async def _shake_hands(self, link: Link, owner: Owner) -> None:
        hello = await link.next(self.patience.connect_s)
        if not isinstance(hello, ServerHello):
            raise BadFrame("a greeting was expected")
        answer = handshake.call(self._secret, hello, os.urandom(handshake.NONCE_BYTES), self._node_id, owner.node_id)
        link.send(answer)
        proof = await link.next(self.patience.connect_s)
        if not isinstance(proof, ServerProof):
            raise BadFrame("a proof was expected")
        handshake.judge_proof(self._secret, hello, answer, proof)
        keys = handshake.keys_of(self._secret, hello, answer)
        link.writer.use_key(keys.from_caller)
        link.frames.use_key(keys.to_caller)
        link.frames.expect(ANSWERS)

    def _drop(self, owner: Owner, link: Link) -> None:
        self._links[owner].discard(link)
        if _lent_to(link) is not None:
            self._windows -= 1  # not spare: somebody may still be sending from it
            link.frames.window = None
        if link in (idle := self._idle.get(owner, [])):
            idle.remove(link)
        if not any(self._links.values()) and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)


def _lent_to(link: Link) -> memoryview | None:
    """The window that the link has of its pool."""
    window = link.frames.window
    return window if window is not None and len(window) > UNIT_BYTES else None


def _blamed(error: BaseException, owner: Owner) -> BaseException:
    """What went wrong with connecting, as a fault; cancels and our own bugs as they are."""
    if isinstance(error, PeerFault):
        return error
    if isinstance(error, ConnectionRefusedError):
        return NobodyListens(f"{owner} refuses connections")
    if isinstance(error, OSError):  # TimeoutError is one
        return PeerUnreachable(f"{owner}: {str(error) or 'no connection in time'}")
    return error
