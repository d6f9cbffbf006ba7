"""A passage: bytes that have come from another node go on to whoever wants them without being copied (``splice(2)``).

The bytes lie on the connection that they came by, where they have been looked at and verified. :meth:`Passage.move`
takes them from there into a pipe and from the pipe into the other socket, page by page. Nobody may read from the
connection until what was not moved is dropped. Where both nodes share a kernel the pages are those of the owner's file;
so nothing waits in a passage: what the other socket does not take at once is to be sent from the memory in which it was
verified. Nothing stays in the pipe either, so one does for all links of a pool. A shell.
"""

from __future__ import annotations

import fcntl
import os
import socket
from typing import Final

from cache.faults import PeerUnreachable

_NOT_WAITING: Final = os.SPLICE_F_NONBLOCK
PIPE_BYTES: Final = 1024 * 1024  # through the 64 KiB that everybody gets, moving costs more than copying


class Pipe:
    """A pipe that holds much, if there can be one: a descriptor may be missing, or the user has all he may have."""

    __slots__ = ("ends",)

    def __init__(self) -> None:
        self.ends: tuple[int, int] | None = None
        """To read from and to write to, neither of which waits; None: there is none."""
        try:
            self.ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.fcntl(self.ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            self.close()

    def close(self) -> None:
        """Close it; there is none then. May be called twice."""
        ends, self.ends = self.ends, None
        for end in ends or ():
            os.close(end)


class PipePassage:
    """See the theory: one link's, through the ``pipe`` that it shares with others. Without one nothing moves."""

    __slots__ = ("_pipe", "_source", "_view", "left")

    def __init__(self, pipe: Pipe | None = None) -> None:
        self._pipe = pipe
        self._source: socket.socket | None = None
        self._view = memoryview(b"")
        self.left = 0  # bytes that still lie on the source

    def begin(self, source: socket.socket, view: memoryview) -> None:
        """The next bytes of ``source`` are those of ``view``, and may be moved on. Nothing may be left from before."""
        self._source, self._view, self.left = source, view, len(view)

    def move(self, target: int, count: int) -> int:
        """As :meth:`cache.ports.Passage.move`."""
        moved, ends = 0, None if self._pipe is None else self._pipe.ends
        if ends is None or self._source is None:
            return 0
        while moved < count and self.left:
            try:
                held = os.splice(self._source.fileno(), ends[1], min(count - moved, self.left), flags=_NOT_WAITING)
            except OSError:
                break  # the relay will say why
            self.left -= held
            taken = _emptied(ends[0], target, held, moved)
            moved += taken
            if taken < held or not held:
                break
        return moved

    def drop(self, count: int | None = None) -> None:
        """The next ``count`` bytes, or all that are left, are not wanted. Raises PeerUnreachable.

        TCP does not copy what it only throws away (``MSG_TRUNC``).
        """
        kept = 0 if count is None else self.left - count
        while self._source is not None and self.left > kept:
            try:
                dropped = self._source.recv_into(self._view, self.left - kept, socket.MSG_TRUNC)
            except OSError as error:
                raise PeerUnreachable(str(error)) from error
            if not dropped:
                raise PeerUnreachable("hung up")
            self.left -= dropped


def _emptied(pipe: int, target: int, held: int, moved: int) -> int:
    """Move what a pipe holds onto a socket, and throw away what that does not take; how much it took.

    Raises OSError for the socket, unless some was ``moved`` before: the next call meets it again.
    """
    taken = 0
    try:
        while taken < held:
            taken += os.splice(pipe, target, held - taken, flags=_NOT_WAITING)
    except BlockingIOError:
        pass
    except OSError:
        if not moved + taken:
            raise
    finally:
        if taken < held:
            os.read(pipe, held - taken)
    return taken
