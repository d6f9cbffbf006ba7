"""Bytes out: the head and the body of one answer, past asyncio, onto the socket, and metered as they go.

A :class:`Sending` is one answer on its way. ``push`` gives the socket what it takes now and never waits; ``drain``
waits for the client as often as it must, and that wait is the client's stall. A cached piece leaves by ``sendfile``; no
body byte passes through Python. Bytes that were verified when they were queued may have left the memory (or been
overwritten) by the time a slow client takes them: whatever is not sent by the push that follows at once is asked for
again, slice by slice, and verified again where it must be (``warm``). :func:`send_answer` owns the first-byte rule: it
is called when the first byte is at hand, so whatever fails in here fails after the head, and its caller aborts the
connection; a body that ends short of its announced length is such a failure and never a tidy end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from enum import Enum
from typing import Final, assert_never

from cache.faults import OwnFault
from cache.pieces import Cause, FilePiece, MemoryPiece, Piece
from cache.sending import FileSender
from gateway.http.turns import Turns
from gateway.meter.counters import ClientMeter
from gateway.s3.answers import Answer

SLICE_BYTES: Final = 1024 * 1024  # of an answer, at once; what is longer takes turns for the rest
_ALL: Final = 1 << 62


class Pushed(Enum):
    """What keeps the rest of an answer from the socket."""

    DONE = "nothing is left"
    FULL = "the client takes no more for now"
    TURN = "it is the others' turn"
    COLD = "the next bytes must be verified again"


class ShortBody(OwnFault):
    """A body ended before its announced length; the connection must not be used again."""


def _send_both(sender: FileSender, meter: ClientMeter, head: bytes, piece: MemoryPiece) -> tuple[int, int]:
    """Offer a head and a piece that is in memory, in one call; how many bytes of each the socket took."""
    taken = sender.send_both_now(head, piece.data)
    of_head = min(taken, len(head))
    meter.head(of_head)
    return of_head, taken - of_head


def send_first(sender: FileSender, meter: ClientMeter, head: bytes, piece: Piece) -> tuple[bytes, Piece | None]:
    """Offer the head and the first piece, which may be sent at once; what is left of either.

    Raises ConnectionError, DiskFailed.
    """
    if isinstance(piece, MemoryPiece):
        of_head, of_data = _send_both(sender, meter, head, piece)
        meter.sent(piece.source, of_data)
        if of_data == len(piece.data):
            return b"", None
        return head[of_head:], MemoryPiece(bytes(piece.data[of_data:]), piece.source)
    taken = sender.send_now(head, more=True)
    meter.head(taken)
    if taken < len(head):
        return head[taken:], piece
    taken = sender.sendfile_now(piece.reader.fd, piece.offset, min(piece.length, SLICE_BYTES))
    meter.sent(piece.source, taken)
    left = piece.length - taken
    return b"", FilePiece(piece.reader, piece.offset + taken, left, piece.source) if left else None


class Sending:
    """One answer on its way through ``sender``, counted by ``meter``, one of many in ``turns``.

    ``monotonic`` tells seconds.
    """

    __slots__ = (
        "_done", "_head", "_meter", "_monotonic", "_pieces", "_sender", "_sound", "_turns", "blocked_at", "body_bytes",
    )  # fmt: skip

    def __init__(
        self, sender: FileSender, meter: ClientMeter, monotonic: Callable[[], float], turns: Turns, head: bytes
    ) -> None:
        self._turns = turns
        self._sender = sender
        self._meter = meter
        self._monotonic = monotonic
        self._head = head
        self._pieces: deque[Piece] = deque()
        self._done = 0
        self._sound = 0  # up to where in its chunk the first piece may go unasked, in the push that follows
        self.blocked_at = 0.0  # since when the client takes nothing; 0: it does
        self.body_bytes = 0

    def extend(self, pieces: Iterable[Piece]) -> None:
        """Queue pieces of the body that may be sent at once; nothing else may be queued."""
        self._pieces.extend(pieces)
        self._sound = _ALL

    def follow(self, pieces: Iterable[Piece]) -> None:
        """Queue pieces of the body for a later push, which looks at them again."""
        self._pieces.extend(pieces)

    def frame(self, data: bytes) -> None:
        """Queue bytes that are neither head nor body (chunked framing); the pieces before must be drained."""
        self._head += data

    def push(self) -> Pushed:
        """Give the socket what it takes now, at most a slice. Raises ConnectionError, DiskFailed."""
        if self.blocked_at:
            self._meter.waited(Cause.CLIENT, self._monotonic() - self.blocked_at)
            self.blocked_at = 0.0
        pieces, turn = self._pieces, SLICE_BYTES
        if self._head and pieces and isinstance(pieces[0], MemoryPiece) and pieces[0].passage is None:
            pushed = self._push_both(pieces[0])
        else:
            pushed = self._push_head() if self._head else Pushed.DONE
        while pieces and pushed is Pushed.DONE:
            taken = self._push_piece(pieces[0])
            turn -= taken
            if taken <= 0:
                pushed = Pushed.COLD if taken < 0 else Pushed.FULL
            elif turn <= 0 and pieces:
                pushed = Pushed.TURN
        self._sound = 0
        if pushed is Pushed.FULL:
            self.blocked_at = self._monotonic()
            if pieces and isinstance(pieces[0], MemoryPiece):
                pieces[0].passage = None  # nothing waits in one
        return pushed

    def _push_both(self, piece: MemoryPiece) -> Pushed:
        """The head, and a piece that is in memory, of which nothing was sent: in one call."""
        length = len(piece.data)
        of_head, of_data = _send_both(self._sender, self._meter, self._head, piece)
        self._head = self._head[of_head:]
        self._took(piece, length, of_data)
        return Pushed.DONE if of_data == length and not self._head else Pushed.FULL

    def _push_head(self) -> Pushed:
        taken = self._sender.send_now(self._head, more=bool(self._pieces))
        self._meter.head(taken)
        self._head = self._head[taken:]
        return Pushed.FULL if self._head else Pushed.DONE

    def _push_piece(self, piece: Piece) -> int:
        """How many bytes the socket took; -1: they must be verified again first."""
        done = self._done
        if isinstance(piece, FilePiece):
            length, at, reader = piece.length, piece.offset + done, piece.reader
            stop = min(at + SLICE_BYTES, piece.offset + length)
            if self._sound > at:
                stop = min(stop, self._sound)
            elif not reader.ready(at, stop):
                return -1
            taken = self._sender.sendfile_now(reader.fd, at, stop - at)
        else:
            length = len(piece.data)
            passage, piece.passage = piece.passage, None
            taken = 0 if passage is None else self._sender.move_now(passage, length)
            if not taken:
                taken = self._sender.send_now(memoryview(piece.data)[done:] if done else piece.data)
        self._took(piece, length, taken)
        return taken

    def _took(self, piece: Piece, length: int, taken: int) -> None:
        """The socket took so many bytes of the first piece."""
        self._meter.sent(piece.source, taken)
        self.body_bytes += taken
        self._done += taken
        if self._done == length:
            self._pieces.popleft()
            self._done = 0
            self._sound = _ALL if self._sound == _ALL else 0

    async def warm(self) -> None:
        """After COLD: have the next bytes read and verified. Raises DiskDamaged, DiskFailed, PeerFault."""
        piece = self._pieces[0]
        if isinstance(piece, FilePiece):
            since = self._monotonic()
            self._sound = await piece.reader.reached(piece.offset + self._done)
            self._meter.waited(Cause.DISK, self._monotonic() - since)

    async def drain(self) -> None:
        """Wait until all that is queued is out. Raises as ``push`` and ``warm``."""
        while (pushed := self.push()) is not Pushed.DONE:
            match pushed:
                case Pushed.FULL:
                    await self._sender.writable()
                case Pushed.COLD:
                    await self.warm()
                case Pushed.TURN:
                    await self._turns.wait()
                case _:
                    assert_never(pushed)


async def send_answer(sending: Sending, answer: Answer, *, chunked: bool) -> None:
    """Send the answer whose head ``sending`` holds. Whatever it raises, the connection must be aborted."""
    body = answer.body
    if body is None:
        await sending.drain()
        return
    if isinstance(body, bytes):
        if body:
            sending.extend((MemoryPiece(body, answer.source),))
        await sending.drain()
    elif isinstance(body, AsyncGenerator):
        async with aclosing(body):
            async for piece in body:
                await _send_piece(sending, piece, chunked=chunked)
        if chunked:
            sending.frame(b"0\r\n\r\n")
        await sending.drain()
    else:
        sending.extend(body)
        await sending.drain()
    if answer.length is not None and sending.body_bytes != answer.length:
        raise ShortBody(f"{sending.body_bytes} bytes sent of {answer.length}")


async def _send_piece(sending: Sending, piece: Piece, *, chunked: bool) -> None:
    length = len(piece)
    if length == 0:
        return
    if chunked:
        sending.frame(b"%x\r\n" % length)
    sending.extend((piece,))
    await sending.drain()
    if chunked:
        sending.frame(b"\r\n")
