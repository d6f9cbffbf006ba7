"""All wires to upstream: opened when none is at rest, kept for a while, and never more in use than the limit.

Wires are kept per authority, because buckets may stand in host names. The one that rested shortest is taken first;
what has rested for ``KEEP_S`` is closed, before a server that keeps connections no longer does it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from contextlib import suppress
from typing import Final
from urllib.parse import SplitResult

from aiohappyeyeballs import start_connection

from cache.budgets import Budget
from cache.faults import UpstreamUnreachable
from gateway.wires.addresses import Addresses
from gateway.wires.blocks import Blocks
from gateway.wires.wire import PlainWire, SecureWire, Wire

KEEP_S: Final = 15.0
NEXT_ADDRESS_S: Final = 0.25
_PORTS: Final = {"http": 80, "https": 443}


class Wires:
    """Wires of one loop. ``limit``: how many are in use at once; ``connect_s``: how long opening one may take.

    ``tls`` is what https hosts are held against.
    """

    def __init__(
        self, *, limit: int, connect_s: float, tls: ssl.SSLContext | None = None, addresses: Addresses | None = None
    ) -> None:
        self._connect_s, self._tls = connect_s, tls
        self._used = Budget("upstream_wires", limit)
        self._queue: deque[asyncio.Future[None]] = deque()  # for a place in it
        self._addresses = addresses or Addresses()
        self._blocks = Blocks()
        self._resting: dict[str, list[tuple[float, Wire]]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, place: SplitResult, wait_s: float, *, fresh: bool = False) -> Wire:
        """A wire to ``place`` (scheme and authority) on which a request may go out; waits ``wait_s`` for its turn.

        ``fresh``: one that had none before. ``give`` it back. Raises UpstreamUnreachable.
        """
        if self._queue or not self._used.take():
            await self._turn(wait_s)
        try:
            rested = None if fresh else self._rested(place)
            return rested or await self._open(place)
        except BaseException:
            self._give_place()
            raise

    def take_rested(self, place: SplitResult) -> Wire | None:
        """As :meth:`take`, if that takes no waiting."""
        if self._queue or not self._used.take():
            return None
        wire = self._rested(place)
        if wire is None:
            self._give_place()
        return wire

    async def _turn(self, wait_s: float) -> None:
        """Wait for a place among those in use."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except BaseException as error:
            if turn.cancelled():
                with suppress(ValueError):  # it was passed over already
                    self._queue.remove(turn)
            else:
                self._give_place()  # it came in the last moment
            if isinstance(error, TimeoutError):
                raise UpstreamUnreachable("all connections to upstream are in use") from error
            raise

    def _give_place(self) -> None:
        """To the first who waits, else back."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._used.give()

    def give(self, place: SplitResult, wire: Wire) -> None:
        """The request on it is over: keep the wire if it is at rest, else cut it."""
        self._give_place()
        if not wire.release(keep=not self._closed):
            return
        loop = asyncio.get_running_loop()
        self._resting.setdefault(place.netloc, []).append((loop.time(), wire))
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_S, self._close_rested)

    def close(self) -> None:
        """Cut what rests, and everything else as soon as it is given back."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for resting in self._resting.values():
            for _, wire in resting:
                wire.release(keep=False)
        self._resting.clear()

    def _rested(self, place: SplitResult) -> Wire | None:
        resting = self._resting.get(place.netloc, [])
        while resting:
            _, wire = resting.pop()
            if wire.fit():
                return wire
            wire.release(keep=False)
        return None

    async def _open(self, place: SplitResult) -> Wire:
        host, port = place.hostname or "", place.port or _PORTS[place.scheme]
        try:
            async with asyncio.timeout(self._connect_s):
                addresses = await self._addresses.of(host, port)
                link = await start_connection(
                    addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1, loop=asyncio.get_running_loop()
                )
                return await self._connected(link, host if place.scheme == "https" else None)
        except (OSError, TimeoutError) as error:
            self._addresses.doubt(host, port)
            raise UpstreamUnreachable(f"{type(error).__name__}: {error}") from error

    async def _connected(self, link: socket.socket, secure: str | None) -> Wire:
        """The wire on a socket; ``secure``: whose certificate it shall be. Raises OSError."""
        kind: type[PlainWire | SecureWire] = SecureWire if secure else PlainWire
        tls = self._tls if secure else None
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: kind(self._blocks), sock=link, ssl=tls, server_hostname=secure
            )
        except BaseException:
            link.close()
            raise
        return wire

    def _close_rested(self) -> None:
        """Close what has rested long enough; look again while something rests."""
        loop = asyncio.get_running_loop()
        self._sweep, due_s = None, loop.time() - KEEP_S
        for name, resting in list(self._resting.items()):
            for _, wire in [one for one in resting if one[0] <= due_s]:
                wire.release(keep=False)
            kept = [one for one in resting if one[0] > due_s]
            if kept:
                self._resting[name] = kept
            else:
                del self._resting[name]
        first = min((resting[0][0] for resting in self._resting.values()), default=None)
        if first is not None:
            self._sweep = loop.call_later(max(0.1, first - due_s), self._close_rested)
