"""What aiohttp's parser cannot read gets an S3 error all the same, and the end of its connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web
from typing_extensions import override

from gateway.http.body import Sending, send_answer
from gateway.s3.errors import S3Error

if TYPE_CHECKING:
    from gateway.http.lane import Connection


class Malformed(web.StreamResponse):
    """The answer to bytes that are no HTTP request; it closes the connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(status=400)
        self._connection = connection
        self._keep_alive = False

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it."""
        service, sender = self._connection.service, self._connection.sender
        error = S3Error("InvalidRequest", "The request is not valid HTTP.")
        reply = service.refusal(error, time.monotonic(), request=None, admitted=None, keep=False)
        if sender is None:
            raise ConnectionResetError("the client has gone")
        sending = Sending(sender, reply.meter, time.monotonic, service.turns, reply.head)
        await send_answer(sending, reply.answer, chunked=False)
        service.answered(reply)

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""
