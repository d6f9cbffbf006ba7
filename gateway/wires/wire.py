"""A wire: one connection to upstream, with one request on it at a time.

The request's body, if any, is sent while the answer is awaited, and no faster than upstream takes it. The answer is
received into its reader's memory; when enough of it waits, nothing more is read, so that a slow consumer fills the
kernel's memory and not ours. The first bytes of a body are handed out as they come; later ones in whole blocks, or
after ``LINGER_S``: each piece costs a consumer more than its bytes do. What is to be stored may be poured: a thread
receives it from the socket (:mod:`gateway.wires.tap`), while the transport reads nothing. A wire whose answer was not
read to its end, or that brought a byte which nobody asked for, is cut and never used again. Every wait has a limit.

:class:`PlainWire` receives into the reader's memory; :class:`SecureWire` (TLS) is handed bytes and copies them there.
"""

from __future__ import annotations

import asyncio
import functools
import select
import socket
from collections.abc import AsyncIterable, Callable
from typing import Final, cast

from typing_extensions import override

from cache.faults import Fault, UpstreamBroken, UpstreamUnreachable
from cache.ports import Run
from gateway.wires.answers import AnswerReader, Data, Head, HungUp
from gateway.wires.blocks import BLOCK_BYTES, Blocks
from gateway.wires.tap import Tap

LINGER_S: Final = 0.005
POURED_BYTES_MIN: Final = 2 * 1024 * 1024  # what is less comes soon enough
GATHERED_BYTES: Final = 512 * 1024  # worth a thread's turn, for which they are waited for that long
GATHERING_S: Final = 0.02
_WRITE_BYTES_MAX: Final = 256 * 1024


class Wire(asyncio.BaseProtocol):
    """One connection. ``blocks``: the memory that answers arrive in, which wires of one loop share.

    ``rested``: it has had a request before, and upstream may close it while another one is on its way.
    """

    _tappable = False  # whether a thread may receive from its socket
    _unasked = select.POLLRDHUP  # what must not have happened on a wire at rest

    def __init__(self, blocks: Blocks) -> None:
        self.rested = False
        self._blocks = blocks
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._looking = select.poll()  # at the socket, between requests
        self._answer: AnswerReader | None = None
        self._begun = False  # whether the answer's head was handed out
        self._wait_s = self._moved_s = 0.0  # the longest silence; when a byte moved last
        self._fault: Fault | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._partial = True  # whether the one who waits takes less than a block
        self._paused = False
        self._tap: Tap | None = None
        self._sending: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    # --- the connection

    def fit(self) -> bool:
        """Whether a request may go out: connected, and neither an end nor a byte that nobody asked for has arrived."""
        if self._transport is None or self._transport.is_closing() or self._fault is not None:
            return False
        return not self._looking.poll(0)

    def release(self, *, keep: bool) -> bool:
        """The request is over: whether another may follow. If not, or if it shall not, the connection is cut."""
        answer, sending = self._answer, self._sending
        sent = sending is None or (sending.done() and not sending.cancelled() and sending.exception() is None)
        if not keep or answer is None or not answer.reusable or not sent or self._fault is not None:
            self._cut()
            return False
        if self._tap is not None and self._transport is not None and not self._transport.is_closing():
            _low(self._transport, 1)
        self._answer = self._sending = self._tap = None
        self.rested = True
        self._read(on=True)
        return True

    def _cut(self) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.shut()
        if self._sending is not None:
            self._sending.cancel()
        if self._transport is not None:
            self._transport.abort()

    # --- one request

    async def ask(
        self, head: bytes, body: AsyncIterable[bytes] | None, *, chunked: bool, to_head: bool, wait_s: float
    ) -> Head:
        """Send a request; the head of its answer. ``chunked``: how the body goes. ``wait_s``: longest silence.

        Raises HungUp, UpstreamBroken (also when ``body`` fails), UpstreamUnreachable.
        """
        transport = self.say(head, to_head=to_head, wait_s=wait_s)
        if body is not None:
            self._sending = self._loop.create_task(self._send(transport, body, chunked=chunked))
            self._sending.add_done_callback(self._sent)
        return await self.hear()

    def say(self, head: bytes, *, to_head: bool, wait_s: float) -> asyncio.Transport:
        """Send a request's head; what it goes by. Then ``hear``. Raises HungUp."""
        transport = self._transport
        if transport is None or self._fault is not None or transport.is_closing():
            raise HungUp("the connection is closed")
        transport.set_write_buffer_limits(0)  # it goes out now, and not when all else has had its turn
        transport.write(head)
        transport.set_write_buffer_limits(_WRITE_BYTES_MAX)
        self._answer, self._wait_s = AnswerReader(self._blocks, to_head=to_head), wait_s
        self._begun, self._moved_s = False, self._loop.time()
        return transport

    async def hear(self) -> Head:
        """The head of the answer. Raises as ``ask``."""
        answer = cast("AnswerReader", self._answer)
        while answer.head is None:
            await self._arrival(partial=True)
        self._begun = True
        return answer.head

    async def read(self) -> Data:
        """The next piece of the answer's body; empty at its end. Raises UpstreamBroken, UpstreamUnreachable."""
        answer = cast("AnswerReader", self._answer)
        partial = answer.taken < BLOCK_BYTES
        while (piece := answer.take(partial=partial or self._fault is not None)) is None:
            if answer.ended:
                return b""
            partial = await self._arrival(partial=partial)
        if self._paused and not answer.full:
            self._read(on=True)
        return piece

    async def pour(self, left: int, into: Callable[[memoryview], None], run: Run) -> int:
        """Have some of the next ``left`` bytes of the body received by a thread, straight ``into`` a file; how many.

        0: that cannot be had, ``read`` them. ``run`` has something done in a thread. Raises as ``read``, and what
        ``into`` and ``run`` raise.
        """
        answer, transport = cast("AnswerReader", self._answer), self._transport
        if transport is None or transport.is_closing() or not (self._tappable and answer.left):
            return 0
        if self._tap is None and left < POURED_BYTES_MIN:
            return 0
        try:
            tap = self._tap = self._tap or Tap(transport.get_extra_info("socket").fileno())
        except OSError:  # no descriptor is left
            return 0
        self._read(on=False)
        if (piece := answer.take(partial=True)) is not None:
            await run(into, memoryview(piece)[:left])
            return min(len(piece), left)
        if self._fault is not None:
            raise self._fault
        count = 0
        while not count:
            lingered = await self._gathered(tap, min(GATHERED_BYTES, left))
            try:
                count = await run(functools.partial(tap.turn, into, answer.taken, left, lingered=lingered))
            except OSError as error:
                raise self._failed(UpstreamBroken(f"{type(error).__name__}: {error}")) from error
        if count < 0:
            raise self._failed(answer.closed() or HungUp("upstream closed the connection"))
        self._moved_s = self._loop.time()
        answer.poured(count)
        return count

    async def _gathered(self, tap: Tap, count: int) -> bool:
        """Wait for so many bytes; whether less must do, because they come slowly. Raises the wire's fault."""
        if (there := tap.waiting()) >= count:
            return False
        if not there and not await self._readable(tap, 1, self._wait_s):
            raise self._failed(_silence(self._wait_s))
        return tap.waiting() < count and not await self._readable(tap, count, GATHERING_S)

    async def _readable(self, tap: Tap, count: int, wait_s: float) -> bool:
        """Wait until so many bytes, or the end, have arrived; False: they have not in that time."""
        _low(cast("asyncio.Transport", self._transport), count)
        waiter: asyncio.Future[bool] = self._loop.create_future()
        timer = self._loop.call_later(wait_s, _late, waiter)
        self._loop.add_reader(tap.fileno(), _there, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            self._loop.remove_reader(tap.fileno())

    async def _arrival(self, *, partial: bool) -> bool:
        """Wait for something that can be taken; whether a part of a block must do. Raises the wire's fault."""
        if self._fault is not None:
            raise self._fault
        waiter = self._waiter = self._loop.create_future()
        self._partial = partial
        self._silence = self._loop.call_later(self._wait_s, self._silent)
        linger = None if partial else self._loop.call_later(LINGER_S, self._lingered)
        try:
            await waiter
        finally:
            for timer in (self._silence, linger):
                if timer is not None:
                    timer.cancel()
            self._waiter = None
        return self._partial

    def _lingered(self) -> None:
        """Who waits takes what there is, or else the next that comes."""
        self._partial = True
        self._wake()

    def _wake(self) -> None:
        answer, waiter = self._answer, self._waiter
        if answer is None or waiter is None or waiter.done():
            return
        there = answer.ended or answer.has(partial=self._partial) if self._begun else answer.head is not None
        if there or self._fault is not None:
            waiter.set_result(None)

    def _silent(self) -> None:
        """Nothing could be taken for that long. A byte may have moved, though, or the client holds its body back."""
        sending = self._sending is not None and not self._sending.done() and self._writable is None
        left_s = self._wait_s if sending else self._moved_s + self._wait_s - self._loop.time()
        if left_s > 0:
            self._silence = self._loop.call_later(left_s, self._silent)
        else:
            self._fail(_silence(self._wait_s))

    def _failed(self, fault: Fault) -> Fault:
        self._fail(fault)
        return self._fault or fault

    def _fail(self, fault: Fault) -> None:
        """Nothing more comes; what has come may still be taken."""
        if self._fault is None:
            self._fault = fault
        self._cut()
        self._wake()

    # --- sending

    async def _send(self, transport: asyncio.Transport, body: AsyncIterable[bytes], *, chunked: bool) -> None:
        async for data in body:
            if not data:
                continue
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            if self._writable is not None:
                await self._writable
            self._moved_s = self._loop.time()
        if chunked:
            transport.write(b"0\r\n\r\n")

    def _sent(self, sending: asyncio.Task[None]) -> None:
        """The body is out, or has failed: then upstream must not take it for whole."""
        if sending is not self._sending:
            return
        error = asyncio.CancelledError() if sending.cancelled() else sending.exception()
        if error is not None:
            self._fail(error if isinstance(error, Fault) else UpstreamBroken(f"the request's body failed: {error!r}"))

    # --- the transport's calls

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._looking.register(transport.get_extra_info("socket").fileno(), self._unasked)

    def eof_received(self) -> None:
        """Upstream sends no more; the transport closes."""
        if self._answer is None:
            self._fail(HungUp("upstream closed the connection"))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        fault = HungUp("the connection is closed") if self._answer is None else self._answer.closed()
        if fault is not None:
            self._fail(HungUp(f"{type(exc).__name__}: {exc}") if exc is not None else fault)
        self.resume_writing()

    @override
    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    @override
    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _buffer(self) -> memoryview:
        return self._blocks.scratch if self._answer is None else self._answer.buffer()

    def _received(self, count: int) -> None:
        """So many bytes have come into the buffer."""
        answer, self._moved_s = self._answer, self._loop.time()
        if answer is None:
            self._fail(UpstreamBroken("bytes that nobody asked for"))
            return
        try:
            answer.received(count)
        except UpstreamBroken as fault:
            self._fail(fault)
            return
        if self._holds_back(answer):
            self._read(on=False)
        self._wake()

    def _holds_back(self, answer: AnswerReader) -> bool:
        """Whether no more shall come before some was taken."""
        return answer.full

    def _read(self, *, on: bool) -> None:
        if self._paused is not on or self._transport is None or self._transport.is_closing():
            return
        self._paused = not on
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()


def _silence(wait_s: float) -> Fault:
    return UpstreamUnreachable(f"upstream was silent for {wait_s} s")


def _low(transport: asyncio.Transport, count: int) -> None:
    """Have the kernel tell only of so many bytes, or of the end."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def _there(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(True)


def _late(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)


class PlainWire(Wire, asyncio.BufferedProtocol):
    """A wire over TCP."""

    _tappable = True
    _unasked = select.POLLIN | select.POLLRDHUP

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer()

    @override
    def buffer_updated(self, nbytes: int) -> None:
        self._received(nbytes)


class SecureWire(Wire, asyncio.Protocol):
    """A wire over TLS. Its transport drops what it holds back when upstream ends the connection: of that, no end."""

    @override
    def data_received(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._fault is None:
            buffer = self._buffer()
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            self._received(count)
            view = view[count:]

    @override
    def _holds_back(self, answer: AnswerReader) -> bool:
        return answer.full and not 0 < answer.left <= 2 * BLOCK_BYTES
