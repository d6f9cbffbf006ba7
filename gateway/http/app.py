"""The aiohttp way: every request that the lane does not answer, with or without a body.

aiohttp parses; the door, the rules and the sending are the ones of the lane. A handler never lets aiohttp write: it
sends its own reply through the connection's sender and hands back a response that has nothing left to do. What goes
wrong before the first byte becomes an S3 error; after it, the connection is aborted. ``Expect: 100-continue`` is
answered when somebody first reads the body, so after the request has been admitted.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11
from typing_extensions import override

from cache.faults import Fault
from gateway.admission import Admitted, Denied
from gateway.http.lane import Connection
from gateway.http.service import Reply, Service
from gateway.s3.answers import Answer
from gateway.s3.errors import S3Error
from gateway.s3.requests import HEAD_BYTES_MAX, S3Request, parse_request

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
NEVER_S: Final = 10 * 365 * 86400
READ_BYTES: Final = 256 * 1024
BODY_METHODS: Final = frozenset({"PUT", "POST", "PATCH", "DELETE"})


class UploadBody:
    """The body of a request, as ``forward`` reads it. Its first read invites the client to send it."""

    def __init__(self, request: web.BaseRequest, connection: Connection) -> None:
        self._request = request
        self.counted: Callable[[int], None] = lambda _: None
        self._connection = connection
        self.length = request.content_length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._request.headers.get("expect", "").lower() == "100-continue" and self._connection.sender is not None:
            self.counted(self._connection.sender.send_now(CONTINUE))
        async for data in self._request.content.iter_any():
            yield data


class Replied(web.StreamResponse):
    """What aiohttp gets of a reply that has been sent already."""

    def __init__(self, reply: Reply, *, keep_alive: bool) -> None:
        super().__init__(status=reply.answer.status)
        self._keep = keep_alive

    @property
    @override
    def keep_alive(self) -> bool | None:
        """Whether another request may follow on the connection."""
        return self._keep

    @override
    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to do."""

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""


class Gateway:
    """The handler of :class:`aiohttp.web.Server`; ``service`` is the worker's."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def handle(self, http: web.BaseRequest) -> Replied:
        """Answer one request. Raises ConnectionError once the connection is aborted."""
        connection = http.protocol
        if not isinstance(connection, Connection) or connection.sender is None:
            raise ConnectionResetError("the client has gone")
        began = time.monotonic()
        body = UploadBody(http, connection) if http.method in BODY_METHODS or http.can_read_body else None
        try:
            reply = await self._reply(http, connection, body, began)
            await connection.deliver(connection.sender, reply)
        finally:
            connection.landed()
        return Replied(reply, keep_alive=not reply.close)

    async def _reply(
        self, http: web.BaseRequest, connection: Connection, body: UploadBody | None, began: float
    ) -> Reply:
        """The reply, whatever happens: an answer, or the error that kept it away."""
        service = self._service
        request: S3Request | None = None
        admitted: Admitted | None = None
        error: S3Error | Fault

        def keep() -> bool:
            return bool(http.keep_alive) and _read_whole(http, body)

        try:
            _check_version(http)
            target = http.raw_path.encode("utf-8", "surrogateescape")
            request = parse_request(http.method, target, http.raw_headers, service.domains)
            admitted = service.admission.admit(request, time.time())
        except Denied as denied:
            error, admitted = denied, denied.admitted
        except S3Error as known:
            error = known
        except Exception as unknown:  # noqa: BLE001 - as in Service.replied
            error = service.fault_of_ours(unknown)
        else:
            connection.took_off(service.client(admitted))
            answer = self._answer(admitted, body, service)
            http_1_0 = http.version == HttpVersion10
            return await service.replied(admitted, answer, began, keep=keep, http_1_0=http_1_0)
        return service.refusal(error, began, request=request, admitted=admitted, keep=keep())

    async def _answer(self, admitted: Admitted, body: UploadBody | None, service: Service) -> Answer:
        meter = service.client(admitted)
        if admitted.operation.route == "read" and body is None:
            return await service.reads.answer(admitted, meter.waited)
        if body is not None:
            body.counted = meter.head
        return await service.forward(admitted, body)


def _check_version(http: web.BaseRequest) -> None:
    if http.version not in {HttpVersion10, HttpVersion11}:
        raise S3Error("InvalidRequest", "This gateway speaks HTTP/1.1.")


def _read_whole(http: web.BaseRequest, body: UploadBody | None) -> bool:
    """Whether nothing of this request's body is left on the connection."""
    return body is None or http.content.is_eof()


class GatewayServer(web.Server):
    """The protocol factory for ``loop.create_server``: connections that try the lane before aiohttp."""

    def __init__(self, service: Service) -> None:
        super().__init__(Gateway(service).handle, handler_cancellation=True)

        class Served(Connection):
            __slots__ = ()

        Served.service = service
        self._connection = Served

    @override
    def __call__(self) -> Connection:
        """A new connection."""
        return self._connection(
            self,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=NEVER_S,  # Connection.overdue is the only clock
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            read_bufsize=READ_BYTES,
        )
