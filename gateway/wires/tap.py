"""A wire's socket in the hands of a thread: what has arrived goes straight into a file.

A body that is to be stored need not come by way of the loop: a thread receives a block and hands it on while it lies in
the core's cache, so that it is copied for less, and the loop is asked once for many. A turn takes what is there and
never waits for more. A shell.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import termios
import threading
from collections.abc import Callable
from typing import Final

from gateway.wires.blocks import BLOCK_BYTES

TURN_BYTES: Final = 1024 * 1024
_ENDED: Final = -1


class _Scratch(threading.local):
    """A thread's block."""

    def __init__(self) -> None:
        self.block = memoryview(bytearray(BLOCK_BYTES))


_scratch = _Scratch()


class Tap:
    """A descriptor of the socket that ``fd`` is, which closes when neither the loop nor a thread holds it any more."""

    def __init__(self, fd: int) -> None:
        self._link = socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM)  # of whatever family: nobody asks
        self._fd = self._link.fileno()

    def __del__(self) -> None:
        if hasattr(self, "_link"):  # a descriptor was left
            self._link.close()

    def shut(self) -> None:
        """End the connection, whoever holds this still."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def waiting(self) -> int:
        """How many bytes have arrived."""
        return int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), "little")

    def turn(self, into: Callable[[memoryview], None], position: int, left: int, *, lingered: bool) -> int:
        """In a thread: receive what is there of the next ``left`` bytes; how many, -1 at the connection's end.

        What comes from ``position`` on ends at a multiple of ``BLOCK_BYTES``, unless it ``lingered``. Raises OSError,
        when nothing was taken; and what ``into`` raises, after which that is unknown.
        """
        there = min(self.waiting(), left, TURN_BYTES)
        beyond = (position + there) % BLOCK_BYTES
        if there < left and not lingered and beyond < there:
            there -= beyond
        taken, there = 0, max(there, 1)
        while taken < there:
            room = BLOCK_BYTES - (position + taken) % BLOCK_BYTES
            view = _scratch.block[: min(room, there - taken)]
            try:
                count = os.readv(self._fd, [view])
            except BlockingIOError:
                break
            except OSError:
                if not taken:
                    raise
                break  # the next turn meets the end
            if not count:
                return taken or _ENDED
            into(view[:count])
            taken += count
        return taken
