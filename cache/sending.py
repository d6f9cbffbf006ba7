"""File slices onto a transport's socket by ``sendfile``, on any event loop.

uvloop has no ``loop.sendfile``, and neither loop lets a second party watch a transport's own descriptor. So a sender
holds a duplicate of it: ``os.sendfile`` goes to the duplicate, and when the socket is full it waits there for
writability. Byte order is the caller's duty: nothing may be left in the transport's write buffer when ``send`` begins
(set its limits to 0 and wait for ``resume_writing``); that is checked. While ``send`` runs nobody else writes.

The owner must ``close`` the sender when the connection is lost or closed: the duplicate keeps the connection open.
Payload goes in slices of at most 1 MiB, and a head given with it leaves in the same packet (``MSG_MORE``).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from cache.faults import DiskFailed
from cache.ports import Passage

SLICE_BYTES: Final = 1024 * 1024

_FILE_ERRORS: Final = frozenset({errno.EIO, errno.EINVAL, errno.EBADF, errno.EOVERFLOW, errno.ENOMEM})


class FileSender:
    """Sends from files on one transport. ``stall_s``: how long the other end may take nothing."""

    __slots__ = ("_fd", "_loop", "_socket", "_stall_s", "_transport", "_waiter", "_watched")

    def __init__(self, transport: asyncio.Transport, *, stall_s: float = 60.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._fd = os.dup(transport.get_extra_info("socket").fileno())
        self._socket = socket.socket(fileno=self._fd)
        self._socket.settimeout(0)  # as it was: the flag belongs to the connection, not to the descriptor
        self._stall_s = stall_s
        self._waiter: asyncio.Future[None] | None = None
        self._watched = False  # whether somebody is called when the socket takes bytes

    async def send(self, fd: int, offset: int, count: int, *, head: bytes = b"") -> None:
        """Send ``head``, then ``count`` bytes at ``offset`` of the file ``fd``.

        Raises ConnectionError when the other end has gone, TimeoutError when it stalls, DiskFailed when the file cannot
        be read or ends early. After any of them, or a cancel, what was sent is unknown: abort the connection.
        """
        if self._transport.get_write_buffer_size():
            raise RuntimeError("the transport still holds bytes of its own")
        unsent = memoryview(head)
        while unsent:
            taken = self.send_now(unsent, more=count > 0)
            unsent = unsent[taken:]
            if not taken:
                await self.writable()
        stop = offset + count
        while offset < stop:
            taken = self.sendfile_now(fd, offset, min(stop - offset, SLICE_BYTES))
            offset += taken
            if not taken:
                await self.writable()

    def send_now(self, data: bytes | memoryview, *, more: bool = False) -> int:
        """Offer bytes; how many the socket took (0: it is full). Raises ConnectionError."""
        try:
            return self._socket.send(data, socket.MSG_MORE if more else 0)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _blamed(error) from error

    def send_both_now(self, head: bytes, data: bytes | memoryview) -> int:
        """As ``send_now``, for two runs of bytes in one call."""
        try:
            return self._socket.sendmsg((head, data))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _blamed(error) from error

    def sendfile_now(self, fd: int, offset: int, count: int) -> int:
        """Offer a slice of a file; how many bytes the socket took (0: it is full). Raises as ``send``."""
        try:
            taken = os.sendfile(self._fd, fd, offset, count)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _blamed(error) from error
        if not taken:
            raise DiskFailed(f"the file ends at {offset}, {count} bytes early")
        return taken

    def move_now(self, passage: Passage, count: int) -> int:
        """Offer bytes of another connection's; how many the socket took. Raises ConnectionError."""
        try:
            return passage.move(self._fd, count)
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionResetError(str(error)) from error

    def watch(self, writable: Callable[[], None]) -> None:
        """Call ``writable`` once, when the socket takes bytes again; never after ``close``."""
        self._loop.add_writer(self._fd, self._takes, writable)
        self._watched = True

    def _takes(self, writable: Callable[[], None]) -> None:
        self._unwatch()
        writable()

    def _unwatch(self) -> None:
        if self._watched:
            self._loop.remove_writer(self._fd)
            self._watched = False

    def close(self) -> None:
        """Let go of the duplicate; whoever waits in ``send`` gets ConnectionResetError. May be called twice."""
        if self._fd < 0:
            return
        self._unwatch()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("the connection is closed"))
        self._fd = -1
        self._socket.close()

    async def writable(self) -> None:
        """Wait until the socket takes bytes again. Raises as ``send``."""
        if self._fd < 0:
            raise ConnectionResetError("the connection is closed")
        waiter = self._waiter = self._loop.create_future()
        self.watch(partial(_wake, waiter))
        stall = self._loop.call_later(self._stall_s, _stalled, waiter)
        try:
            await waiter
        finally:
            stall.cancel()
            self._waiter = None
            self._unwatch()


def _blamed(error: OSError) -> OSError | DiskFailed:
    """The file's fault as DiskFailed, a lost connection as ConnectionError."""
    if error.errno in _FILE_ERRORS:
        return DiskFailed(f"sendfile: {error}")
    return error if isinstance(error, ConnectionError) else ConnectionResetError(str(error))


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _stalled(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError("the other end takes nothing"))
