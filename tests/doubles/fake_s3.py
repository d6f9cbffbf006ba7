"""A fake S3 upstream: a real aiohttp server on a real socket that counts, holds, and lies on command.

    async with FakeS3() as fake:
        fake.shelf.put("b", "k", b"...")             or fake.shelf.generate("b", "big", 64 * MIB)
        fake.trouble(key="k", cut_after=1000)        see tests/doubles/trouble.py; fake.calm() ends all
        async with fake.held("k"): ...               answers for that key wait until the block ends
        async with fake.halted("k", 1000): ...       their bodies stop after so many bytes until the block ends
        await fake.waiting("k", 3)                   three requests for the key have arrived (and wait, when held)
        fake.calls_of("GET", "k")                    [Call(method, bucket, key, span, status)], in order of arrival

Signatures are recorded, and checked when ``verify`` is given (see ``tests/doubles/fake_s3_door.py``). Payload hashes,
Content-MD5 and x-amz-checksum-* are always checked against the body that came. As a process: ``python -m
tests.doubles.fake_s3_process`` (control path on another port).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from aiohttp.web_request import BaseRequest

from tests.doubles import fake_s3_writes as writes
from tests.doubles.fake_s3_reads import Reply, error, get_object, list_buckets, list_objects
from tests.doubles.shelf import Shelf
from tests.doubles.trouble import Trouble

Span = tuple[int, int]
PIECE_BYTES = 256 * 1024


class Call(NamedTuple):
    """One request, as tests compare it. ``span``: half-open, of a GET with a Range; None: no Range."""

    method: str
    bucket: str
    key: str
    span: Span | None
    status: int


@dataclass(slots=True)
class Seen:
    """One request in full: as it was spelled, and what was decoded from it."""

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]
    bucket: str
    key: str
    query: dict[str, str]
    body: bytes = b""
    raw_length: int = 0
    complete: bool = False
    status: int = 0
    span: Span | None = None
    sent: int = 0


@dataclass(slots=True)
class Gate:
    """Requests for one key wait here while it is shut, or their bodies do, once ``after`` bytes of one are out."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    after: int = 0


class FakeS3:
    """See the module. ``domain``: requests to ``bucket.domain`` are virtual-host style."""

    def __init__(
        self,
        *,
        verify: Callable[[Seen], bool] | None = None,
        domain: str = "",
        delay_s: float = 0.0,
        rate: float = 0.0,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.shelf = Shelf()
        self.seen: list[Seen] = []
        self.counts: Counter[str] = Counter()
        self.troubles: list[Trouble] = []
        self._verify, self._domain, self._delay_s, self._rate, self._port = verify, domain, delay_s, rate, port
        self._tls = tls
        self._gates: dict[str, Gate] = {}
        self._halts: dict[str, Gate] = {}
        self._arrived = asyncio.Condition()
        self._runner: web.ServerRunner | None = None

    # --- life

    async def __aenter__(self) -> Self:
        server = web.Server(self._serve, auto_decompress=False, access_log=None, keepalive_timeout=75.0)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for gate in (*self._gates.values(), *self._halts.values()):
            gate.opened.set()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def endpoint(self) -> str:
        """Where it listens, as an endpoint URL."""
        return f"{'https' if self._tls else 'http'}://{self._domain or '127.0.0.1'}:{self._port}"

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._port

    # --- what tests tell it and ask it

    def trouble(self, **what: Any) -> Trouble:
        """Add a :class:`Trouble`; the returned object counts how often it struck."""
        self.troubles.append(Trouble(**what))
        return self.troubles[-1]

    def calm(self) -> None:
        """Forget every trouble."""
        self.troubles.clear()

    @contextlib.asynccontextmanager
    async def held(self, key: str) -> AsyncIterator[None]:
        """Answers to requests for ``key`` wait until the block ends."""
        gate = self._gates[key] = Gate()
        try:
            yield
        finally:
            self._gates.pop(key, None)
            gate.opened.set()

    @contextlib.asynccontextmanager
    async def halted(self, key: str, after: int) -> AsyncIterator[None]:
        """Each body of ``key`` stops until the block ends, once ``after`` bytes of it (or a piece more) are out."""
        halt = self._halts[key] = Gate(after=after)
        try:
            yield
        finally:
            self._halts.pop(key, None)
            halt.opened.set()

    async def waiting(self, key: str, count: int, method: str = "") -> None:
        """Return once ``count`` requests for ``key`` have arrived since the start (or the last ``forget``)."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: sum(1 for _ in self._matching(method, key)) >= count)

    @property
    def calls(self) -> list[Call]:
        """Every request so far."""
        return [Call(seen.method, seen.bucket, seen.key, seen.span, seen.status) for seen in self.seen]

    def calls_of(self, method: str, key: str) -> list[Call]:
        """The requests with this method (empty: any) for this key."""
        matching = self._matching(method, key)
        return [Call(seen.method, seen.bucket, seen.key, seen.span, seen.status) for seen in matching]

    def forget(self) -> None:
        """Forget the requests seen so far, and their counts."""
        self.seen.clear()
        self.counts.clear()

    def _matching(self, method: str, key: str) -> Iterator[Seen]:
        return (seen for seen in self.seen if seen.key == key and method in {"", seen.method})

    # --- one request

    async def _serve(self, request: BaseRequest) -> web.StreamResponse:
        seen = self._look_at(request)
        self.seen.append(seen)
        self.counts[seen.method] += 1
        async with self._arrived:
            self._arrived.notify_all()
        troubles = [trouble for trouble in self.troubles if trouble.applies(seen.method, seen.key)]
        early = next((trouble for trouble in troubles if trouble.status and not trouble.after_body), None)
        if early is None:
            if seen.headers.get("expect", "").lower() == "100-continue" and request.transport:
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            async for piece in request.content.iter_any():
                seen.body += piece
            seen.complete = True
        reply = self._answer(seen, troubles)
        seen.status = reply.status
        if gate := self._gates.get(seen.key):
            await gate.opened.wait()
        if delay := self._delay_s + sum(trouble.delay_s for trouble in troubles):
            await asyncio.sleep(delay)
        if any(trouble.drop for trouble in troubles):
            hang_up(request, reset=any(trouble.reset for trouble in troubles))
            return web.Response()
        return await self._send(request, seen, reply, troubles)

    def _look_at(self, request: BaseRequest) -> Seen:
        raw_path, _, raw_query = request.raw_path.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        host = headers.get("host", "").rpartition(":")[0]
        bucket = host.removesuffix("." + self._domain) if self._domain and host.endswith("." + self._domain) else ""
        path = raw_path.removeprefix("/")
        if not bucket:
            bucket, _, path = path.partition("/")
        query = dict(parse_qsl(raw_query.replace("+", "%2B"), keep_blank_values=True))
        return Seen(request.method, raw_path, raw_query, headers, unquote(bucket), unquote(path), query)

    def _answer(self, seen: Seen, troubles: list[Trouble]) -> Reply:
        for trouble in troubles:
            if trouble.status:
                return error(trouble.status, trouble.code, trouble.headers)
            if trouble.drop and not trouble.after_commit:
                return Reply(0)
        if self._verify is not None and not self._verify(seen):
            return error(403, "SignatureDoesNotMatch")
        reply = self._act(seen, next((trouble.wrong for trouble in troubles if trouble.wrong), ""))
        instead = next((trouble.instead for trouble in troubles if trouble.instead), "")
        return Reply(200, {"content-type": "application/xml"}, instead.encode()) if instead else reply

    def _act(self, seen: Seen, wrong: str) -> Reply:
        if not seen.bucket:
            return list_buckets(self.shelf)
        if not seen.key and seen.method == "PUT" and not seen.query:
            self.shelf.buckets.setdefault(seen.bucket, {})
        if seen.bucket not in self.shelf.buckets:
            return error(404, "NoSuchBucket")
        if seen.method in {"PUT", "POST"} and (refusal := writes.check_body(seen)):
            return refusal
        if not seen.key:
            return self._act_on_bucket(seen)
        reading = seen.method in {"GET", "HEAD"}
        return get_object(self.shelf, seen, wrong) if reading else writes.act_on_key(self.shelf, seen)

    def _act_on_bucket(self, seen: Seen) -> Reply:
        if seen.method in {"HEAD", "PUT"}:
            return Reply(200)
        if seen.method == "POST" and "delete" in seen.query:
            return writes.delete_objects(self.shelf, seen)
        if seen.method == "GET" and "location" in seen.query:
            return Reply(200, {"content-type": "application/xml"}, b"<LocationConstraint/>")
        if seen.method == "GET":
            return list_objects(self.shelf, seen)
        return error(405, "MethodNotAllowed")

    async def _send(
        self, request: BaseRequest, seen: Seen, reply: Reply, troubles: list[Trouble]
    ) -> web.StreamResponse:
        headers = {"x-amz-request-id": f"FAKE{len(self.seen):08d}", **reply.headers}
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.content_length = len(reply.body) if reply.size is None else reply.size
        if request.method == "HEAD" or reply.status in {204, 304}:
            if reply.status in {204, 304}:
                response.content_length = None
            await response.prepare(request)
            return response
        await response.prepare(request)
        cut = next((trouble for trouble in troubles if trouble.cut_after >= 0), None)
        rate = next((trouble.rate for trouble in troubles if trouble.rate), self._rate)
        async for piece in self._pieces(reply, cut.cut_after if cut else -1, rate):
            await response.write(piece)
            seen.sent += len(piece)
            if (halt := self._halts.get(seen.key)) and seen.sent >= halt.after:
                await halt.opened.wait()
        if cut is not None:
            hang_up(request, reset=cut.reset)
            return response
        await response.write_eof()
        return response

    async def _pieces(self, reply: Reply, cut_after: int, rate: float) -> AsyncIterator[bytes]:
        size = len(reply.body) if reply.size is None else reply.size
        stop = size if cut_after < 0 else min(cut_after, size)
        step = PIECE_BYTES if not rate else max(1, min(PIECE_BYTES, int(rate / 20)))
        for start in range(0, stop, step):
            yield reply.read(start, min(start + step, stop))
            if rate:
                await asyncio.sleep(step / rate)


def hang_up(request: BaseRequest, *, reset: bool) -> None:
    """Close the connection under a request: an orderly FIN after what was written, or an RST."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
