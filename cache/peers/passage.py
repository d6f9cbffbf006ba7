"""A passage: bytes that have come from another node go on to whoever wants them without being copied (``splice(2)``).

The bytes lie on the connection that they came by, where they have been looked at and verified. :meth:`Passage.move`
takes them from there into a pipe and from the pipe into the other socket, page by page, as often and as far as that
takes them. Nobody may read from the connection meanwhile. A link's pool lends it one together with a window. A shell.
"""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from typing import Final

from cache.faults import PeerUnreachable

PIPE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Window:
    """What a pool lends to a link: memory for several units, to look ahead in, and a passage, if there could be one."""

    memory: memoryview
    passage: PipePassage | None


class PipePassage:
    """See the theory. ``close`` it; bytes that are in it are lost then.

    Raises OSError when no descriptor is left, or the user has as much pipe as he may: through the 64 KiB that everybody
    gets, moving costs more than copying.
    """

    __slots__ = ("_held", "_into", "_out_of", "_source", "_view", "left")

    def __init__(self) -> None:
        self._out_of, self._into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self._into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            self.close()
            raise
        self._source: socket.socket | None = None
        self._view = memoryview(b"")
        self._held = 0  # bytes in the pipe
        self.left = 0  # bytes that have not been moved on yet, those in the pipe among them

    def begin(self, source: socket.socket, view: memoryview) -> None:
        """The next bytes of ``source`` are those of ``view``, and may be moved on. Nothing may be left from before."""
        self._source, self._view, self.left = source, view, len(view)

    def move(self, target: int, count: int) -> int:
        """Move up to ``count`` bytes onto the socket ``target``; how many (0: it takes none now).

        Raises OSError for the target, PeerUnreachable when the connection they lie on is closed.
        """
        moved = 0
        while moved < count:
            if not self._held:
                self._take(count - moved)
            try:
                taken = os.splice(self._out_of, target, min(self._held, count - moved), flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                break
            self._held -= taken
            self.left -= taken
            moved += taken
        return moved

    def drop(self, count: int | None = None) -> None:
        """The next ``count`` bytes, or all, are not wanted. Raises PeerUnreachable when some are half moved.

        TCP does not copy what it only throws away (``MSG_TRUNC``).
        """
        kept = 0 if count is None else self.left - count
        while self.left > kept:
            if self._held or self._source is None:
                raise PeerUnreachable("left in the middle")
            try:
                dropped = self._source.recv_into(self._view, self.left - kept, socket.MSG_TRUNC)
            except OSError as error:
                raise PeerUnreachable(str(error)) from error
            if not dropped:
                raise PeerUnreachable("hung up")
            self.left -= dropped

    def close(self) -> None:
        """Close the pipe. May be called twice."""
        if self._into >= 0:
            os.close(self._into)
            os.close(self._out_of)
            self._into = self._out_of = -1

    def _take(self, count: int) -> None:
        """Bytes of the source's into the pipe, one at least."""
        if self._source is None:
            raise PeerUnreachable("nothing has begun")
        try:
            self._held = os.splice(self._source.fileno(), self._into, count, flags=os.SPLICE_F_NONBLOCK)
        except OSError as error:
            raise PeerUnreachable(str(error)) from error
        if not self._held:
            raise PeerUnreachable("hung up")
