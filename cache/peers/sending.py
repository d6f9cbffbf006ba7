"""Sending past asyncio: bytes and file slices straight to a connection's socket, by ``send`` and ``sendfile``.

uvloop has no ``loop.sendfile``, and what goes through a transport's buffer is copied. A :class:`Sender` owns a
duplicate of the transport's descriptor, so that it may watch it for writability beside the transport (the loops refuse
a second watcher on the same number). Its user makes sure that the transport's own write buffer is empty, and closes the
sender in ``connection_lost``: the connection is not closed before the duplicate is. Nothing here knows a protocol; the
peer server and the gateway's HTTP body both send through it. The methods that end in ``_now`` never wait.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from cache.faults import DiskDamaged

SLICE_BYTES: Final = 512 * 1024
TURN_BYTES: Final = 4 * 1024 * 1024
_MSG_MORE: Final = socket.MSG_MORE


class Sender:
    """The sending half of one TCP connection. ``sent`` is told, after each call, how many bytes the socket took."""

    __slots__ = ("_closed", "_fd", "_loop", "_sock", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock_fd: int) -> None:
        self._loop = loop
        self._fd = os.dup(sock_fd)
        self._sock = socket.socket(fileno=self._fd)
        self._sock.settimeout(0)
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def send_now(self, data: bytes | memoryview, *, more: bool = False) -> int:
        """Offer bytes; how many the socket took (0: it is full). Raises ConnectionError."""
        try:
            return self._sock.send(data, _MSG_MORE if more else 0)
        except BlockingIOError:
            return 0

    def sendfile_now(self, fd: int, offset: int, count: int) -> int:
        """Offer a file slice; how many bytes the socket took (0: it is full). Raises ConnectionError, DiskDamaged."""
        try:
            taken = os.sendfile(self._fd, fd, offset, count)
        except BlockingIOError:
            return 0
        if taken == 0:
            raise DiskDamaged("a chunk file is shorter than its footer says")
        return taken

    async def send(self, data: bytes | memoryview, sent: Callable[[int], None], *, more: bool = False) -> None:
        """Send all of ``data``. Raises ConnectionError."""
        while True:
            taken = self.send_now(data, more=more)
            sent(taken)
            if taken == len(data):
                return
            data = memoryview(data)[taken:]
            await self.writable()

    async def sendfile(self, fd: int, offset: int, count: int, sent: Callable[[int], None]) -> None:
        """Send ``count`` bytes of a file, in slices; lets the loop turn now and then. Raises ConnectionError."""
        turn = 0
        while count:
            taken = self.sendfile_now(fd, offset, min(count, SLICE_BYTES))
            sent(taken)
            offset += taken
            count -= taken
            turn += taken
            if taken == 0:
                await self.writable()
                turn = 0
            elif turn >= TURN_BYTES and count:
                await asyncio.sleep(0)
                turn = 0

    async def writable(self) -> None:
        """Wait until the socket takes bytes again. Raises ConnectionError when the sender is closed meanwhile."""
        if self._closed:
            raise ConnectionAbortedError("the connection is closed")
        waiter = self._waiter = self._loop.create_future()
        self._loop.add_writer(self._fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if not self._closed:
                self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """Give the descriptor back; whoever waits for it gets a ConnectionError. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._waiter is not None:
            self._loop.remove_writer(self._fd)
            if not self._waiter.done():
                self._waiter.set_exception(ConnectionAbortedError("the connection was lost"))
        self._sock.close()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
