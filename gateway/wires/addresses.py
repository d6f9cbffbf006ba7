"""Where hosts are: the resolver's word, believed for ``TTL_S``, and each time beginning with another address.

A service such as S3 answers with several addresses of which any may be dead: whoever connects tries the next one a
moment later (RFC 8305), and not all connections go to the first.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohappyeyeballs import AddrInfoType

TTL_S: Final = 30.0
HOSTS_MAX: Final = 1024


Resolve = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]


async def resolve(host: str, port: int) -> Sequence[AddrInfoType]:
    """The system's word. Raises OSError."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Addresses:
    """What ``resolve`` has said of hosts; for one loop."""

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._known: dict[tuple[str, int], tuple[float, list[AddrInfoType]]] = {}

    async def of(self, host: str, port: int) -> list[AddrInfoType]:
        """The addresses to try, in this order. Raises OSError: there are none."""
        loop = asyncio.get_running_loop()
        asked_s, found = self._known.get((host, port), (0.0, []))
        if not found or loop.time() - asked_s > TTL_S:
            try:
                found = list(await self._resolve(host, port))
            except UnicodeError as error:  # a label that no name can have
                raise OSError(f"{host}: {error}") from error
            if len(self._known) >= HOSTS_MAX:
                self._known.clear()
            self._known[host, port] = loop.time(), found
        order = list(found)
        found.append(found.pop(0))
        return order

    def doubt(self, host: str, port: int) -> None:
        """Nobody was there: ask the resolver again next time."""
        self._known.pop((host, port), None)
