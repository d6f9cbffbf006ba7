"""The fast lane: a client connection that answers reads itself and leaves everything else to aiohttp.

A :class:`Connection` is aiohttp's request handler with one door before it. At the head of an idle connection it looks
at a complete, body-less GET or HEAD. If the request verifies, is authorised and a cacheable read, the answer leaves
from here: at once if it is wholly in memory on this node; else when those who wait for the same are called
(``cache/crowds.py``), or from a task. All else, and every refusal, goes to aiohttp's parser, the very same bytes, and
:mod:`gateway.http.app` answers. The rules are the same functions on both ways; a client that comes again is known by
its habit (``gateway/s3/habits.py``), and what it asks for again by the reply that was kept (``gateway/http/kept.py``).
Heads are put together here, so a head that trickles in is seen (and timed out) here. The lane is taken only when it is
certain that aiohttp's parser holds nothing: bodies of known length are counted, and a body of unknown length closes the
lane for the rest of the connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from typing_extensions import override

from cache.crowds import Waiter
from cache.faults import Fault
from cache.pieces import Cause, MemoryPiece, Piece, Source
from cache.sending import FileSender
from cache.tally import Count
from gateway.admission import Admitted, Regular
from gateway.http.awaited import Awaited, Rest
from gateway.http.body import Pushed, Sending, send_answer, send_first
from gateway.http.malformed import Malformed
from gateway.http.service import Reply, Service
from gateway.meter.counters import ClientMeter
from gateway.s3.errors import S3Error
from gateway.s3.habits import Shown
from gateway.s3.requests import HEAD_BYTES_MAX, read_head, request_of

END: Final = b"\r\n\r\n"
PIPELINED_BYTES_MAX: Final = 256 * 1024
HABITS_MAX: Final = 4  # a client that asks for sizes first sends heads with and without a range
DIGITS_MAX: Final = 19  # of a length: aiohttp refuses what is longer
NO_BODY: Final = MemoryPiece(b"", Source.LOCAL)


class Connection(RequestHandler):
    """One client's connection. ``service`` is what all connections of a worker share; set by a subclass."""

    __slots__ = (
        "_owed", "_partial", "_regulars", "_reply", "_warming", "answering", "flight", "sender", "sending", "since",
    )  # fmt: skip
    service: ClassVar[Service]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiohttp's own arguments
        super().__init__(*args, **kwargs)
        self._partial = b""  # bytes that nobody has taken yet: a head in the making, or pipelined requests
        self._owed: int | None = 0  # body bytes that aiohttp's parser still waits for; None: nobody knows
        self._regulars: tuple[Regular, ...] = ()  # whose heads came here, once that is known
        self._reply: Reply | None = None  # the lane's, while it is on its way
        self.answering: asyncio.Task[None] | Waiter | None = None  # the lane's reply, if it has to wait
        self._warming: asyncio.Task[None] | None = None
        self.sender: FileSender | None = None
        self.sending: Sending | None = None
        self.flight: ClientMeter | None = None
        self.since = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self.since = time.monotonic()
        self.service.connections.add(self)
        self.service.tally.add(Count.CONNECTIONS)
        self.service.tally.add(Count.CONNECTIONS_NOW)
        if len(self.service.connections) > self.service.connections_max:
            cast(asyncio.Transport, transport).abort()
            return
        try:
            self.sender = FileSender(cast(asyncio.Transport, transport), stall_s=self.service.patience.stall_s)
        except OSError:  # no descriptor is left
            cast(asyncio.Transport, transport).abort()

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone: whatever was being sent to it ends."""
        self.service.connections.discard(self)
        self.service.tally.add(Count.CONNECTIONS_NOW, -1)
        if self.sender is not None:
            self.sender.close()
        for task in (self._warming, self.answering):
            if task is not None:
                task.cancel()
        if isinstance(self.answering, Waiter):
            self.answering = None
            self.landed()
        if self._reply is not None:
            self._broke_off(self._reply, exc or ConnectionResetError("the client has gone"))
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        """Bytes from the client: a hit is answered here, all else goes to aiohttp."""
        if not data:  # aiohttp asks itself to look again
            super().data_received(data)
            return
        self.since = time.monotonic()
        if self._reply is not None or self.answering is not None:
            self._keep(data)
        elif self._owed != 0 or not self._idle():
            self._pass_on(data)
        else:
            self._partial = data = self._partial + data
            if data.endswith(END) and (data[0] == 71 or data[0] == 72):  # "G", "H"
                self._partial = b""
                if not self._answer_at_once(data):
                    self._pass_on(data)
            elif END in data or b"\n\n" in data or len(data) > HEAD_BYTES_MAX:
                self._partial = b""
                self._pass_on(data)

    def _answer_at_once(self, head: bytes) -> bool:
        """Let in, look up and send, if all that takes no waiting; whether the answer is on its way."""
        service, sender, transport = self.service, self.sender, self.transport
        if sender is None or transport is None or transport.get_write_buffer_size():
            return False
        began, now = time.monotonic(), time.time()
        for regular in self._regulars:
            shown = regular.shown(head, now)
            if shown is not None:
                again = service.again(regular, shown, began, now)
                if again is None:
                    return self._answer_anew(sender, head, began, now, (regular, shown))
                self.send(sender, *again)
                return True
        return self._answer_anew(sender, head, began, now, None)

    def _answer_anew(
        self, sender: FileSender, head: bytes, began: float, now: float, known: tuple[Regular, Shown] | None
    ) -> bool:
        """As above, with everything judged. ``known``: the regular whose head it is, and what it shows."""
        service = self.service
        try:
            admitted = self._admitted(head, now, known)
            found = None if admitted is None else service.reads.at_once(admitted)
        except (S3Error, Fault):
            return False  # the other way tells the client
        if admitted is None or admitted.operation.route != "read":
            return False
        keep = "close" not in admitted.request.headers.get("connection", "").lower()
        judged, pieces = found or (None, None)
        if judged is None or pieces is None:
            Awaited(self, sender, admitted, began, judged, keep=keep).begin()
            return True
        reply = service.reply(admitted, judged.answer, began, keep=keep)
        if known is not None and not reply.close:
            service.keep(*known, judged, reply)
        self.send(sender, reply, pieces)
        return True

    def send(self, sender: FileSender, reply: Reply, pieces: Sequence[Piece]) -> None:
        """Send the head and the first piece at once; what the socket does not take, and the rest, on its way."""
        self.service.tally.add(Count.LANE_ANSWERS)
        unsent = self._send_first(sender, reply, pieces[0] if pieces else NO_BODY)
        if unsent is None:
            return
        head, left = unsent
        if left is None and len(pieces) < 2:
            self._answered(reply)
            return
        self.sending = Sending(sender, reply.meter, time.monotonic, self.service.turns, head)
        self.sending.follow([*([] if left is None else [left]), *pieces[1:]])
        self._reply = reply
        self._take_turn()

    def send_begun(self, sender: FileSender, reply: Reply, first: Piece, rest: Rest) -> None:
        """Send the head and the first bytes at once; what is left of those, and the rest, in a task."""
        unsent = self._send_first(sender, reply, first)
        if unsent is None:
            return
        head, left = unsent
        reply.answer.body = rest(left)
        sending = Sending(sender, reply.meter, time.monotonic, self.service.turns, head)
        sending.body_bytes = len(first) - (0 if left is None else len(left))
        self._reply = reply

        async def replied() -> Reply:
            self._reply = None
            return reply

        self.answer_later(sender, replied, reply.meter, sending)

    def _send_first(self, sender: FileSender, reply: Reply, first: Piece) -> tuple[bytes, Piece | None] | None:
        """As ``send_first``; None: the reply broke off."""
        try:
            return send_first(sender, reply.meter, reply.head, first)
        except Exception as error:  # noqa: BLE001 - bytes may be out: whatever it was, this connection is over
            self._broke_off(reply, error)
            return None

    def answer_later(
        self,
        sender: FileSender,
        replied: Callable[[], Awaitable[Reply]],
        meter: ClientMeter,
        sending: Sending | None = None,
    ) -> None:
        """Answer in a task, which waits for the reply. ``sending``: it has begun."""
        self.answering = self._loop.create_task(self._answer(sender, replied, meter, sending))

    async def _answer(
        self, sender: FileSender, replied: Callable[[], Awaitable[Reply]], meter: ClientMeter, sending: Sending | None
    ) -> None:
        try:
            self.took_off(meter)
            reply = await replied()
            await self.deliver(sender, reply, sending)
        except BaseException as error:
            if self.transport is not None:
                self.transport.abort()
            if isinstance(error, ConnectionError):
                return  # told by whoever met it first
            raise
        finally:
            self.answering = None
            self.landed()
        self._go_on(close=reply.close)

    async def deliver(self, sender: FileSender, reply: Reply, sending: Sending | None = None) -> None:
        """Send a reply to its end, or the rest of it. Raises ConnectionError once the connection is aborted."""
        self.sending = sending or Sending(sender, reply.meter, time.monotonic, self.service.turns, reply.head)
        try:
            await send_answer(self.sending, reply.answer, chunked=reply.chunked)
        except (ConnectionError, asyncio.CancelledError) as error:
            self._broke_off(reply, error)
            raise
        except Exception as error:
            self._broke_off(reply, error)
            raise ConnectionAbortedError("the reply broke off") from error
        finally:
            self.sending = None
        self.since = time.monotonic()
        self.service.answered(reply)

    def _admitted(self, head: bytes, now: float, known: tuple[Regular, Shown] | None) -> Admitted | None:
        """The head's request, if it may go on; None: aiohttp has to look at it. Raises S3Error."""
        admission, domains = self.service.admission, self.service.domains
        if known is not None:
            admitted = admission.admit_regular(*known)
            if admitted is not None:
                return admitted
        read = read_head(head)
        if read is None:
            return None
        admitted = admission.admit(request_of(*read, domains), now)
        if known is None and admitted.operation.route == "read":
            regular = admission.regular(head, admitted, domains, now)
            if regular is not None and regular not in self._regulars:
                self._regulars = (regular, *self._regulars[: HABITS_MAX - 1])
        return admitted

    def _take_turn(self) -> None:
        self.service.turns.ask(self._push)

    def _push(self) -> None:
        """Give the socket what it takes of the lane's reply, and see to it that the rest follows."""
        sending, reply, sender = self.sending, self._reply, self.sender
        if sending is None or reply is None or sender is None:
            return
        try:
            pushed = sending.push()
        except Exception as error:  # noqa: BLE001 - bytes may be out: whatever it was, this connection is over
            self._broke_off(reply, error)
            return
        if pushed is Pushed.DONE:
            self._answered(reply)
        elif pushed is Pushed.COLD:
            self._warming = self._loop.create_task(self._warm(sending, reply))
        elif pushed is Pushed.FULL:
            sender.watch(self._take_turn)
        else:
            self._take_turn()

    async def _warm(self, sending: Sending, reply: Reply) -> None:
        """The next bytes are not in memory any more: have them verified again, then go on."""
        try:
            await sending.warm()
        except Exception as error:  # noqa: BLE001 - as above
            self._broke_off(reply, error)
        else:
            self._push()

    def _answered(self, reply: Reply) -> None:
        self.sending = self._reply = None
        self.service.answered(reply)
        self._go_on(close=reply.close)

    def _go_on(self, *, close: bool) -> None:
        """An answer of the lane's is out: close, or see what the client has sent meanwhile."""
        self.since = time.monotonic()
        transport = self.transport
        if transport is None:
            return
        if close:
            self.close()
            transport.close()
        elif self._partial:
            kept, self._partial = self._partial, b""
            transport.resume_reading()
            self.data_received(kept)

    def _broke_off(self, reply: Reply, error: BaseException) -> None:
        self.sending = self._reply = None
        self.service.broke_off(reply, error)
        if self.transport is not None:
            self.transport.abort()

    def waited_for_upstream(self, meter: ClientMeter, began: float) -> None:
        """Count what a request that began at monotonic time ``began`` has done since."""
        meter.waited(Cause.UPSTREAM, time.monotonic() - began)

    def took_off(self, meter: ClientMeter) -> None:
        """A request of that client is in flight."""
        self.flight = meter
        meter.began()

    def landed(self) -> None:
        """It is not any more."""
        if self.flight is not None:
            self.flight.ended()
            self.flight = None

    def _idle(self) -> bool:
        """Whether aiohttp waits for a request and has none."""
        waits = self._request_count == 0 or (self._waiter is not None and not self._waiter.done())
        return waits and not self._messages and not self._close and not self._force_close

    def _keep(self, data: bytes) -> None:
        """The client sends ahead while it is being answered; beyond a bound it has to wait."""
        self._partial += data
        if len(self._partial) > PIPELINED_BYTES_MAX and self.transport is not None:
            self.transport.pause_reading()

    def _pass_on(self, data: bytes) -> None:
        """Give bytes to aiohttp, and count what its parser still waits for."""
        if self._owed is not None:
            self._owed = _owed_after(self._owed, data)
        super().data_received(data)

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp could not parse gets an S3 error; what broke off is over."""
        if status >= 500 or isinstance(exc, ConnectionError | RequestPayloadError):
            raise ConnectionResetError("the request broke off") from exc
        return Malformed(self)

    def at_rest(self) -> bool:
        """Whether nothing is being asked or answered on this connection."""
        busy = self.sending is not None or self.answering is not None or self._request_in_progress
        return not busy and not self._messages and not self._partial

    def overdue(self, now: float) -> bool:
        """Whether the client has kept us waiting too long: for a head, for a body, or to take its answer."""
        patience, waited = self.service.patience, now - self.since
        if self.sending is not None:
            return 0 < self.sending.blocked_at < now - patience.stall_s
        if self.answering is not None:
            return False
        if self._request_in_progress:
            return bool(self._owed) and not self._buffer_paused and waited > patience.stall_s
        begun = bool(self._partial) or self._owed != 0
        return waited > (patience.head_s if begun else patience.idle_s)


def _owed_after(owed: int, data: bytes) -> int | None:
    """What the parser waits for once it has ``data`` too; None when that cannot be told from here."""
    if owed:
        return owed - len(data) if len(data) <= owed else None
    head, end, body = data.partition(END)
    lengths = [line[15:].strip() for line in head.lower().split(b"\r\n")[1:] if line.startswith(b"content-length:")]
    if not end or b"\ntransfer-encoding:" in head.lower() or b"\nupgrade:" in head.lower() or len(lengths) > 1:
        return None
    length = int(lengths[0][:DIGITS_MAX]) if lengths and lengths[0].isdigit() else 0
    return length - len(body) if len(body) <= length else None
