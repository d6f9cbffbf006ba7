"""All wires to upstream: opened when none is at rest, kept for a while, and never more in use than the limit.

Wires are kept per authority, because buckets may stand in host names. The one that rested shortest is taken first;
what has rested for ``KEEP_S`` is closed, before a server that keeps connections no longer does it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final
from urllib.parse import SplitResult

from cache.faults import UpstreamUnreachable
from gateway.wires.wire import Wire

KEEP_S: Final = 15.0
_SCRATCH_BYTES: Final = 256 * 1024
_PORTS: Final = {"http": 80, "https": 443}


class Wires:
    """Wires of one loop. ``limit``: how many are in use at once; ``connect_s``: how long opening one may take.

    ``tls`` is what https hosts are held against.
    """

    def __init__(self, *, limit: int, connect_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._connect_s, self._tls = connect_s, tls
        self._free = asyncio.Semaphore(limit)
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._resting: dict[str, list[tuple[float, Wire]]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, place: SplitResult, wait_s: float) -> Wire:
        """A wire to ``place`` (scheme and authority) on which a request may go out; waits ``wait_s`` for its turn.

        ``give`` it back. Raises UpstreamUnreachable.
        """
        if self._free.locked():
            try:
                async with asyncio.timeout(wait_s):
                    await self._free.acquire()
            except TimeoutError as error:
                raise UpstreamUnreachable("all connections to upstream are in use") from error
        else:
            await self._free.acquire()
        try:
            return self._rested(place) or await self._open(place)
        except BaseException:
            self._free.release()
            raise

    def give(self, place: SplitResult, wire: Wire) -> None:
        """The request on it is over: keep the wire if it is at rest, else cut it."""
        self._free.release()
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
        secure = place.scheme == "https"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                _, wire = await loop.create_connection(
                    lambda: Wire(self._scratch),
                    place.hostname or "",
                    place.port or _PORTS[place.scheme],
                    ssl=self._tls if secure else None,
                )
        except (OSError, TimeoutError) as error:
            raise UpstreamUnreachable(f"{type(error).__name__}: {error}") from error
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
