"""A read that has to wait: answered by a call when what it waits for has come, together with all who wait for that too.

The answer to a question brings the first bytes with it; they leave when they come, from here, and the rest follows in a
task. Where no such call can be, the whole read goes on in a task.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from cache.crowds import Arrival
from cache.faults import Fault
from cache.pieces import Piece
from cache.sending import FileSender
from gateway.admission import Admitted
from gateway.http.alike import Alike, Found
from gateway.reads import Judged
from gateway.s3.errors import S3Error

if TYPE_CHECKING:
    from gateway.http.lane import Connection
    from gateway.http.service import Reply
    from gateway.meter.counters import ClientMeter

Rest = Callable[[Piece | None], AsyncGenerator[Piece, None]]
"""What follows the first bytes, after what is left of them."""


class Awaited:
    """One such read, admitted and begun at monotonic time ``began``; ``keep``: its connection is kept.

    ``judged``: what is known of it already, if only bytes are missing.
    """

    __slots__ = ("_admitted", "_began", "_connection", "_judged", "_keep", "_meter", "_sender")

    def __init__(
        self,
        connection: Connection,
        sender: FileSender,
        admitted: Admitted,
        began: float,
        judged: Judged | None,
        *,
        keep: bool,
    ) -> None:
        self._connection = connection
        self._sender = sender
        self._admitted = admitted
        self._began = began
        self._judged = judged
        self._keep = keep
        self._meter: ClientMeter  # looked up when the question is on its way

    def begin(self) -> None:
        """Wait with the others who ask for the same, else in a task."""
        connection, service = self._connection, self._connection.service
        try:
            connection.answering = service.reads.expect(self._admitted, self._called, known=self._judged is not None)
        except Fault:
            connection.answering = None
        self._meter = service.client(self._admitted)
        if connection.answering is None:
            self._go_on()
        else:
            connection.took_off(self._meter)

    def _called(self, arrival: Arrival | None) -> None:
        self._judged = None  # that was before
        try:
            self._go_on_with(arrival)
        except Exception as error:  # noqa: BLE001 - of this connection alone; whoever calls has others to call
            self._connection.service.fault_of_ours(error)
            if self._connection.transport is not None:
                self._connection.transport.abort()

    def _go_on_with(self, arrival: Arrival | None) -> None:
        connection = self._connection
        connection.answering = None
        connection.landed()
        found = None if arrival is None else self._found(arrival)
        connection.waited_for_upstream(self._meter, self._began)
        if arrival is None or found is None:
            self._go_on()
            return
        service, rest = connection.service, found.rest
        reply = service.reply(self._admitted, found.answer, self._began, keep=self._keep, frame=found.frame)
        if rest is None:
            connection.send(self._sender, reply, found.pieces)
        else:
            waited = self._meter.waited
            connection.send_begun(
                self._sender, reply, found.pieces[0], lambda left: service.reads.rest(arrival, rest, left, waited)
            )

    def _found(self, arrival: Arrival) -> Found | None:
        try:
            return Alike(self._connection.service.reads, self._admitted).found(arrival)
        except (S3Error, Fault):
            return None  # the task meets it again, and the client is told
        except Exception as error:  # noqa: BLE001 - as above, but perhaps the task does not
            self._connection.service.fault_of_ours(error)
            return None

    def _go_on(self) -> None:
        self._connection.answer_later(self._sender, self._replied, self._meter)

    async def _replied(self) -> Reply:
        service, admitted = self._connection.service, self._admitted
        answer = service.reads.answer(admitted, self._meter.waited, self._judged)
        return await service.replied(admitted, answer, self._began, keep=lambda: self._keep)
