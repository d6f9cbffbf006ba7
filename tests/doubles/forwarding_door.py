"""The smallest server that puts a Forwarder before clients: parse, authenticate, forward, send. Nothing is cached."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Self

from aiohttp import web
from aiohttp.web_request import BaseRequest

from cache.faults import Fault
from cache.pieces import MemoryPiece
from gateway.forward import Forwarder
from gateway.s3.answers import Answer
from gateway.s3.errors import S3Error, answer_for
from gateway.s3.operations import classify
from gateway.s3.requests import parse_request
from gateway.s3.sigv4 import Credentials, authenticate


class ArrivingBody:
    """A request's body as aiohttp reads it."""

    def __init__(self, request: BaseRequest) -> None:
        self._request = request
        self.length = request.content_length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._request.headers.get("expect", "").lower() == "100-continue" and self._request.transport:
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for piece in self._request.content.iter_any():
            yield piece


class ForwardingDoor:
    """``holders``: who is let in, by access key; None: everybody, unasked."""

    def __init__(
        self,
        forwarder: Forwarder,
        holders: Mapping[str, Credentials] | None,
        may: Callable[[str, str, str], bool] = lambda *_: True,
    ) -> None:
        self._forwarder, self._holders, self._may = forwarder, holders, may
        self.faults: list[Exception] = []
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        server = web.Server(self._serve, auto_decompress=False, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    @property
    def endpoint(self) -> str:
        """As an endpoint URL."""
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, http: BaseRequest) -> web.StreamResponse:
        request = None
        try:
            request = parse_request(http.method, http.raw_path.encode(), http.raw_headers, ("localhost",))
            operation = classify(request)
            auth = None if self._holders is None else authenticate(request, self._holders.get, now=time.time())
            body = ArrivingBody(http) if http.can_read_body else None
            answer = await self._forwarder.forward(request, operation, auth, body, may=self._may)
        except (S3Error, Fault) as error:
            self.faults.append(error)
            answer = answer_for(error, request=request, request_id="R")
        return await self._send(http, answer)

    async def _send(self, http: BaseRequest, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        response.headers.extend(answer.headers)
        response.content_length = None if answer.status in {204, 304} else answer.length
        await response.prepare(http)
        if isinstance(answer.body, bytes):
            await response.write(answer.body)
        elif answer.body is not None:
            assert not hasattr(answer.body, "__getitem__")
            async with contextlib.aclosing(answer.body) as pieces:
                async for piece in pieces:
                    assert isinstance(piece, MemoryPiece)
                    await response.write(piece.data)
        await response.write_eof()
        return response
