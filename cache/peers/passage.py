"""A passage: bytes that have come from another node go on to whoever wants them without being copied (``splice(2)``).

The bytes lie on the connection that they came by, where they have been looked at and verified. :meth:`Passage.move`
takes them from there into a pipe and from the pipe into the other socket, page by page. Nobody may read from the
connection until what was not moved is dropped. Where both nodes share a kernel the pages are those of the owner's file;
so nothing waits in a passage: what the other socket does not take at once is to be sent from the memory in which it was
verified. A link's pool lends a passage together with that memory. A shell.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from dataclasses import dataclass
from typing import Final

from cache.faults import PeerUnreachable

PIPE_BYTES: Final = 1024 * 1024  # of an unprivileged user all pipes may have 64 MiB


class PipePassage:
    """See the theory. ``piped``: whether it is to have a pipe; without one it moves nothing. ``close`` it."""

    __slots__ = ("_held", "_pipe", "_source", "_view", "left", "piped")

    def __init__(self, *, piped: bool) -> None:
        self.piped = piped
        self._pipe: tuple[int, int] | None = None  # made when it is needed
        self._source: socket.socket | None = None
        self._view = memoryview(b"")
        self._held = 0  # bytes in the pipe
        self.left = 0  # bytes that are neither moved nor dropped, those in the pipe among them

    @property
    def leads_on(self) -> bool:
        """Whether there is a pipe."""
        return self._pipe is not None

    def begin(self, source: socket.socket, view: memoryview) -> None:
        """The next bytes of ``source`` are those of ``view``, and may be moved on. Nothing may be left from before."""
        self._source, self._view, self.left = source, view, len(view)
        if self.piped and self._pipe is None:
            self._pipe = _make_pipe()

    def move(self, target: int, count: int) -> int:
        """As :meth:`cache.ports.Passage.move`."""
        moved, count = 0, min(count, self.left)
        if self._pipe is None:
            return 0
        while moved < count:
            if not self._held and not self._take(self._pipe[1], count - moved):
                break
            try:
                taken = os.splice(self._pipe[0], target, min(self._held, count - moved), flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                break
            except OSError:
                if moved:
                    break  # the next call meets it again
                raise
            self._held -= taken
            self.left -= taken
            moved += taken
        return moved

    def drop(self, count: int | None = None) -> None:
        """The next ``count`` bytes, or all, are not wanted. Raises PeerUnreachable.

        TCP does not copy what it only throws away (``MSG_TRUNC``).
        """
        kept = 0 if count is None else self.left - count
        try:
            while self._held and self._pipe is not None and self.left > kept:
                self._dropped(len(os.read(self._pipe[0], min(self._held, self.left - kept))), of_pipe=True)
            while self._source is not None and self.left > kept:
                self._dropped(self._source.recv_into(self._view, self.left - kept, socket.MSG_TRUNC), of_pipe=False)
        except OSError as error:
            raise PeerUnreachable(str(error)) from error

    def close(self) -> None:
        """Close the pipe; what is in it is lost, and nothing moves any more. May be called twice."""
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
        self._pipe, self.piped, self._source, self.left, self._held = None, False, None, 0, 0

    def _take(self, into: int, count: int) -> bool:
        """Bytes of the source's into the pipe; False: it cannot be, and the relay will say why."""
        if self._source is None:
            return False
        with contextlib.suppress(OSError):
            self._held = os.splice(self._source.fileno(), into, count, flags=os.SPLICE_F_NONBLOCK)
        return self._held > 0

    def _dropped(self, count: int, *, of_pipe: bool) -> None:
        if not count:
            raise PeerUnreachable("hung up")
        self.left -= count
        if of_pipe:
            self._held -= count


@dataclass(frozen=True, slots=True)
class RelayWindow:
    """What a pool lends to a link: memory for several units, to look ahead in, and a passage for what is seen there."""

    memory: memoryview
    passage: PipePassage


def _make_pipe() -> tuple[int, int] | None:
    """Its reading and its writing end; None: no descriptor is left, or the user has as much pipe as he may.

    Through the 64 KiB that everybody gets, moving costs more than copying.
    """
    try:
        out_of, into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        os.close(out_of)
        os.close(into)
        return None
    return out_of, into
