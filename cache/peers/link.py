"""A link: one connection to another worker, as messages in and out. Both ends use it.

Reading goes straight into the frame reader's memory. Nothing is read while delivered units are in use, and next to
nothing while nobody waits: bytes that come unasked are held (at most one read of them) and reading pauses until
``next`` is called. So a slow consumer costs one window and fills the kernel's memory, not ours. From a run of units on
the transport reads only what has to be waited for: what the socket holds is received, or looked at and passed on, by
who asks for it, without a turn of the loop.

Writing is immediate when the socket takes it; whoever writes much waits in ``drained``. A link that failed, or was cut
off inside a frame, is aborted and never used again. Every wait has a limit. The shell above (pool, server) owns links:
it creates, hands out and closes them.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TypeVar, cast

import msgspec
from typing_extensions import override

from cache.chunks import UNIT_BYTES
from cache.faults import PeerFault, PeerUnreachable
from cache.peers.frames import FrameReader, FrameWriter, Message, Units
from cache.peers.passage import PipePassage
from cache.sending import FileSender

Lost = Callable[["Link"], None]
_T = TypeVar("_T")


class Silent(PeerUnreachable):
    """Connected, but nothing comes."""


class Link(asyncio.BufferedProtocol):
    """One connection. ``made`` and ``lost`` tell its owner; ``stall_s`` bounds a write that makes no progress.

    ``passage``: by which what is seen of a run is passed on; None: by one that moves nothing.
    """

    def __init__(
        self,
        kinds: msgspec.msgpack.Decoder[Message],
        *,
        made: Lost | None = None,
        lost: Lost | None = None,
        passage: PipePassage | None = None,
        stall_s: float = 60.0,
    ) -> None:
        self.frames = FrameReader(kinds)
        self.writer = FrameWriter()
        self._loop = asyncio.get_running_loop()
        self._made, self._lost = made, lost
        self._stall_s = stall_s
        self._transport: asyncio.Transport | None = None
        self._sender: FileSender | None = None
        self.passage = passage or PipePassage()
        self._socket: socket.socket | None = None  # a duplicate, to receive from while the transport does not read
        self._waiter: asyncio.Future[Message | memoryview] | None = None
        self._pull: Callable[[], object] = self._pull_message
        self._drain: asyncio.Future[None] | None = None
        self._reading = True
        self.writable = True  # whether all that was written has gone to the kernel
        self.made = False  # whether there ever was a connection; then ``lost`` is called when it ends

    @property
    def alive(self) -> bool:
        """Whether it may be used: connected, and nothing half read or left to be dropped."""
        connected = self._transport is not None and not self._transport.is_closing()
        return connected and self.frames.idle() and not self.passage.left

    def send(self, message: Message) -> None:
        """Write a message. On a lost connection it does nothing: the next wait tells."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self.writer.frame(message))

    async def drained(self) -> None:
        """Wait until all that was written has gone to the kernel. Raises PeerUnreachable."""
        if self._transport is None or self._transport.is_closing():
            raise PeerUnreachable("the connection is closed")
        if self.writable:
            return
        self._drain = self._loop.create_future()
        try:
            async with asyncio.timeout(self._stall_s):
                await self._drain
        except TimeoutError as error:
            self.abort()
            raise PeerUnreachable("the peer takes nothing") from error
        finally:
            self._drain = None

    async def send_run(self, run: Units | None, fd: int, start: int, stop: int) -> None:
        """Write the frame of a run (if it is not out yet), and bytes [start, stop) of a file, which belong to it.

        Raises PeerUnreachable, DiskFailed: the link is dead.
        """
        await self.drained()
        transport = cast("asyncio.Transport", self._transport)
        if self._sender is None:
            self._sender = FileSender(transport, stall_s=self._stall_s)
        try:
            head = b"" if run is None else self.writer.frame(run)
            await self._sender.send(fd, start, stop - start, head=head)
        except OSError as error:
            self.abort()
            raise PeerUnreachable(str(error)) from error
        except BaseException:  # a part of the payload may be gone: nothing can follow it
            self.abort()
            raise

    async def next(self, timeout_s: float) -> Message:
        """The next message. Raises PeerUnreachable (closed, or silent that long), BadFrame."""
        return await self._pulled(self._pull_message, timeout_s)

    async def unit(self, timeout_s: float) -> memoryview:
        """The next unit of a run, valid until the next call of anything. Raises as ``next``."""
        return await self._pulled(self._pull_unit, timeout_s)

    def ahead(self) -> memoryview | None:
        """What the socket holds of the run's next units, whole ones and the run's end; they stay there for ``pass_on``.

        None: not a whole one, or it is better received. Raises PeerUnreachable.
        """
        room = None if self._reading else self.frames.ahead()
        if room is None:
            return None
        try:
            seen = (self._socket or self._duplicate()).recv_into(room, 0, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            self.abort()
            raise PeerUnreachable(str(error)) from error
        if seen < len(room):
            seen -= seen % UNIT_BYTES
        return room[:seen] if seen else None

    def pass_on(self, view: memoryview) -> PipePassage:
        """By which so much of what ``ahead`` showed may be moved on now; nothing is read until the rest is dropped."""
        self.frames.seen(len(view))
        self.passage.begin(self._socket or self._duplicate(), view)
        return self.passage

    async def _pulled(self, pull: Callable[[], _T | None], timeout_s: float) -> _T:
        item = pull()
        if item is not None:
            return item
        if self._transport is None or self._transport.is_closing():
            raise PeerUnreachable("the connection is closed")
        if not self._reading and (item := self._receive_now(pull)) is not None:
            return item
        waiter: asyncio.Future[_T] = self._loop.create_future()
        self._waiter, self._pull = cast("asyncio.Future[Message | memoryview]", waiter), pull
        self._read(on=True)
        timer = self._loop.call_later(timeout_s, self._silent, self._waiter, timeout_s)
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _receive_now(self, pull: Callable[[], _T | None]) -> _T | None:
        """What the socket holds of it, if that is enough. Raises as ``next``."""
        try:
            held, item = self._duplicate(), None
            while item is None:
                count = held.recv_into(self.frames.buffer())
                if not count:
                    raise ConnectionResetError("hung up")
                self.frames.received(count)
                if self.frames.full():
                    item = pull()
        except BlockingIOError:
            return pull()
        except OSError as error:
            self.abort()
            raise PeerUnreachable(str(error)) from error
        return item

    def _duplicate(self) -> socket.socket:
        """The socket, to receive from past the transport. Raises OSError."""
        if self._socket is None:
            transport = cast("asyncio.Transport", self._transport)
            self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
            self._socket.settimeout(0)
        return self._socket

    def abort(self) -> None:
        """Cut the connection, at once."""
        if self._transport is not None:
            self._transport.abort()
        self._close_duplicates()

    def await_nothing(self) -> None:
        """Nothing is asked: keep reading, so that the other end's leaving is noticed."""
        self._read(on=True)

    def _pull_message(self) -> Message | None:
        try:
            message = self.frames.next()
        except PeerFault:
            self.abort()
            raise
        if isinstance(message, Units):
            self._read(on=False)
        return message

    def _pull_unit(self) -> memoryview | None:
        unit = self.frames.next_unit()
        if unit is not None:
            self._read(on=False)  # until it has been used
        return unit

    def _read(self, *, on: bool) -> None:
        if on == self._reading or self._transport is None or self._transport.is_closing():
            return
        self._reading = on
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _silent(self, waiter: asyncio.Future[Message | memoryview], timeout_s: float) -> None:
        if not waiter.done():
            waiter.set_exception(Silent(f"silent for {timeout_s} s"))

    def _close_duplicates(self) -> None:
        if self._sender is not None:
            self._sender.close()
        if self._socket is not None:
            self._socket.close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.made = True
        self._transport.set_write_buffer_limits(0)  # so that pause_writing says whether anything is left
        if self._made is not None:
            self._made(self)

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        return self.frames.buffer()

    @override
    def buffer_updated(self, nbytes: int) -> None:
        self.frames.received(nbytes)
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._read(on=False)
            return
        try:
            item = self._pull()
        except PeerFault as fault:
            waiter.set_exception(fault)
            return
        if item is not None:
            waiter.set_result(cast("Message | memoryview", item))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._close_duplicates()
        gone = PeerUnreachable(f"hung up: {exc}" if exc else "hung up")
        for future in (self._waiter, self._drain):
            if future is not None and not future.done():
                future.set_exception(gone)
        if self._lost is not None:
            self._lost(self)

    @override
    def pause_writing(self) -> None:
        self.writable = False

    @override
    def resume_writing(self) -> None:
        self.writable = True
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)
