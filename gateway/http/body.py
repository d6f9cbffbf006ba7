"""Bytes out: the head and the body of one answer, past asyncio, onto the socket, and metered as they go.

A :class:`Sending` is one answer on its way. ``push`` gives the socket what it takes now and never waits; ``drain``
waits for the client as often as it must, and that wait is the client's stall. A cached piece leaves by ``sendfile``; no
body byte passes through Python. :func:`send_answer` owns the first-byte rule: it is called when the first byte is at
hand, so whatever fails in here fails after the head, and its caller aborts the connection; a body that ends short of
its announced length is such a failure and never a tidy end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Final

from cache.faults import OwnFault
from cache.pieces import Cause, FilePiece, MemoryPiece, Piece
from cache.sending import FileSender
from gateway.meter.counters import ClientMeter
from gateway.s3.answers import Answer

SLICE_BYTES: Final = 512 * 1024
TURN_BYTES: Final = 4 * 1024 * 1024


class ShortBody(OwnFault):
    """A body ended before its announced length; the connection must not be used again."""


class Sending:
    """One answer on its way through ``sender``, counted by ``meter``; ``monotonic`` tells seconds."""

    __slots__ = ("_blocked", "_done", "_head", "_meter", "_monotonic", "_pieces", "_sender", "blocked_at", "body_bytes")

    def __init__(self, sender: FileSender, meter: ClientMeter, monotonic: Callable[[], float], head: bytes) -> None:
        self._sender = sender
        self._meter = meter
        self._monotonic = monotonic
        self._head = head
        self._pieces: deque[Piece] = deque()
        self._done = 0
        self._blocked = False
        self.blocked_at = 0.0  # since when the client takes nothing; 0: it does
        self.body_bytes = 0

    def add(self, piece: Piece) -> None:
        """Queue a piece of the body."""
        self._pieces.append(piece)

    def extend(self, pieces: Iterable[Piece]) -> None:
        """Queue pieces of the body."""
        self._pieces.extend(pieces)

    def frame(self, data: bytes) -> None:
        """Queue bytes that are neither head nor body (chunked framing); the pieces before must be drained."""
        self._head += data

    def push(self) -> bool:
        """Give the socket what it takes now, at most a turn's worth; whether all that is queued is out.

        Raises ConnectionError, DiskDamaged.
        """
        if self.blocked_at:
            self._meter.waited(Cause.CLIENT, self._monotonic() - self.blocked_at)
            self.blocked_at = 0.0
        if self._head and not self._push_head():
            return False
        turn = 0
        while self._pieces:
            taken = self._push_piece(self._pieces[0])
            turn += taken
            if self._blocked:
                self.blocked_at = self._monotonic()
                return False
            if turn >= TURN_BYTES and self._pieces:
                return False
        return True

    def _push_head(self) -> bool:
        taken = self._sender.send_now(self._head, more=bool(self._pieces))
        self._meter.head(taken)
        self._head = self._head[taken:]
        self._blocked = bool(self._head)
        if self._blocked:
            self.blocked_at = self._monotonic()
        return not self._blocked

    def _push_piece(self, piece: Piece) -> int:
        done = self._done
        if isinstance(piece, FilePiece):
            length = piece.length
            taken = self._sender.sendfile_now(piece.reader.fd, piece.offset + done, min(length - done, SLICE_BYTES))
        else:
            length = len(piece.data)
            taken = self._sender.send_now(memoryview(piece.data)[done:] if done else piece.data)
        self._meter.sent(piece.source, taken)
        self.body_bytes += taken
        self._blocked = taken == 0
        self._done = done + taken
        if self._done == length:
            self._pieces.popleft()
            self._done = 0
        return taken

    async def drain(self) -> None:
        """Wait until all that is queued is out. Raises as ``push``."""
        while not self.push():
            if self._blocked:
                await self._sender.writable()
            else:
                await asyncio.sleep(0)


async def send_answer(sending: Sending, answer: Answer, *, chunked: bool) -> None:
    """Send the answer whose head ``sending`` holds. Whatever it raises, the connection must be aborted."""
    body = answer.body
    if body is None:
        await sending.drain()
        return
    if isinstance(body, bytes):
        if body:
            sending.add(MemoryPiece(body, answer.source))
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
    length = piece.length if isinstance(piece, FilePiece) else len(piece.data)
    if length == 0:
        return
    if chunked:
        sending.frame(b"%x\r\n" % length)
    sending.add(piece)
    await sending.drain()
    if chunked:
        sending.frame(b"\r\n")
