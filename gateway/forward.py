"""Everything that is not a cacheable read: passed to upstream, streamed both ways, and what it makes untrue told first.

The request goes out with the same method, raw path and raw query, re-signed with upstream's credentials, in upstream's
addressing style; every end-to-end header passes. The body's way is :mod:`gateway.uploads`. An answer passes as it is.
A write invalidates its keys once its outcome is known, or can no longer be known (timeout, cut, cancel), and before the
client can see the end of a success: the last bytes of an answer whose head came first (CompleteMultipartUpload,
CopyObject) wait for that. Who may do what to the keys named in path and copy source is the caller's to ask; the keys in
a DeleteObjects document are asked for here, because only here they are read. Amazon S3 API reference.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from typing_extensions import override

from cache.faults import Fault, UpstreamBroken
from cache.pieces import MemoryPiece, Piece, Source
from cache.versions import ObjectRef
from gateway.exchange import DOCUMENT_BYTES_MAX, Exchange, Outgoing
from gateway.s3.answers import Answer
from gateway.s3.errors import S3Error
from gateway.s3.headers import forward_response_headers, strip_presigned
from gateway.s3.operations import Operation, Permission
from gateway.s3.requests import S3Request, copy_source, render_copy_source
from gateway.s3.sigv4 import Authenticated
from gateway.s3.xml import DELETE_BYTES_MAX, parse_delete_objects
from gateway.uploads import RequestBody, Upload, open_upload, read_document
from gateway.upstream import Upstream
from gateway.wires.answers import Data

__all__ = ["ForwardedBody", "Forwarder", "Invalidate", "May", "RequestBody", "outgoing_of"]

Invalidate = Callable[[Sequence[ObjectRef]], Awaitable[None]]
May = Callable[[Permission, str, str], bool]

_LATE: Final = frozenset({"CompleteMultipartUpload", "CopyObject"})
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))


class _Pending:
    """The invalidation that a request owes; paid once."""

    def __init__(self, refs: tuple[ObjectRef, ...], invalidate: Invalidate) -> None:
        self._refs, self._invalidate = refs, invalidate

    async def tell(self) -> None:
        """Invalidate, unless there is nothing (more) to be told. A client that leaves does not end it."""
        refs, self._refs = self._refs, ()
        if not refs:
            return
        telling = asyncio.ensure_future(self._invalidate(refs))
        try:
            await asyncio.shield(telling)
        except asyncio.CancelledError:
            await telling
            raise


class Forwarder:
    """Passes requests on. ``invalidate`` returns once no node serves what it knew of the keys."""

    def __init__(self, upstream: Upstream, invalidate: Invalidate) -> None:
        self._upstream, self._invalidate = upstream, invalidate

    async def forward(
        self,
        request: S3Request,
        operation: Operation,
        auth: Authenticated | None,
        body: RequestBody | None,
        *,
        may: May,
    ) -> Answer:
        """Upstream's answer. ``auth`` None: the gateway authenticates nobody. ``body`` None: there is none.

        ``may`` (permission, bucket, key) is asked for each key of a DeleteObjects document. A streamed ``Answer.body``
        has ``aclose``: whoever does not read it to its end must call it. Raises S3Error for what is wrong with the
        request, UpstreamUnreachable, UpstreamBroken, and whatever the body raises.
        """
        refs, upload = await self._open(request, operation, auth, body, may)
        pending = _Pending(refs, self._invalidate)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(pending.tell)
            exchange = await self._send(stack, outgoing_of(request, upload), upload)
            short = await _short_body(exchange)
            if exchange.bodyless or short is not None:
                return _answer(exchange, short)
            late = operation.name in _LATE and exchange.status == 200
            if not late:
                await pending.tell()
            return _answer(exchange, ForwardedBody(exchange, stack.pop_all(), hold=late))

    async def _send(self, stack: contextlib.AsyncExitStack, outgoing: Outgoing, upload: Upload) -> Exchange:
        """The answer, once its head is here; if the client's body failed, that is what is raised."""
        try:
            exchange = await stack.enter_async_context(self._upstream.send(outgoing))
        except Fault:
            if upload.fault is not None:
                raise upload.fault from None
            raise
        if upload.fault is not None:
            raise upload.fault
        if not exchange.framed:
            raise UpstreamBroken("an answer without a length")
        return exchange

    async def _open(
        self,
        request: S3Request,
        operation: Operation,
        auth: Authenticated | None,
        body: RequestBody | None,
        may: May,
    ) -> tuple[tuple[ObjectRef, ...], Upload]:
        """What the request makes untrue, and its body, ready to go."""
        if operation.invalidates != "keys-in-body":
            key = ObjectRef(request.bucket, request.key)
            upload = await open_upload(request, operation, auth, body)
            return ((key,) if operation.invalidates == "key" else ()), upload
        document, upload = await read_document(request, operation, auth, body, DELETE_BYTES_MAX)
        refs = parse_delete_objects(request.bucket, document)
        if not all(may("write", ref.bucket, ref.key) for ref in refs):
            raise S3Error("AccessDenied")
        return refs, upload


class ForwardedBody(AsyncGenerator[Piece, None]):
    """The body of an answer as it arrives. ``hold``: its last piece waits for what ``stack`` has to do at the end.

    A body that is cut raises UpstreamBroken or UpstreamUnreachable. ``aclose`` may come at any time, and twice.
    """

    def __init__(self, exchange: Exchange, stack: contextlib.AsyncExitStack, *, hold: bool) -> None:
        self._exchange, self._stack, self._hold = exchange, stack, hold
        self._held: Data = b""
        self._over = False

    @override
    async def asend(self, value: None) -> Piece:
        """The next piece."""
        try:
            data = await self._next()
        except BaseException:
            await self.aclose()
            raise
        if not data:
            raise StopAsyncIteration
        return MemoryPiece(data, Source.FORWARDED)

    @override
    async def athrow(self, *raised: Any) -> Piece:
        """End the body with an exception of the reader's."""
        await self.aclose()
        raise raised[1] if len(raised) > 1 and raised[1] is not None else raised[0]

    @override
    async def aclose(self) -> None:
        """End the exchange, and invalidate what is still to be invalidated."""
        await self._stack.aclose()

    async def _next(self) -> Data:
        """The next bytes that may be seen; none at the end."""
        if self._over:
            return b""
        data = await self._exchange.read()
        if data and self._hold and not self._held:
            self._held, data = data, await self._exchange.read()
        if not data:
            self._over = True
            await self.aclose()
        if self._hold:
            self._held, data = data, self._held
        return data


async def _short_body(exchange: Exchange) -> bytes | None:
    """The body, read whole, of an answer that says it is short: then nothing is left open. None for any other."""
    if exchange.bodyless or exchange.length is None or exchange.length > DOCUMENT_BYTES_MAX:
        return None
    return await exchange.document()


def _answer(exchange: Exchange, body: bytes | ForwardedBody | None) -> Answer:
    headers = forward_response_headers(exchange.headers)
    if exchange.status // 100 == 3:
        headers = [pair for pair in headers if pair[0] != "location"]  # nobody is sent past the gateway
    length = 0 if exchange.status in {204, 304} else exchange.length
    return Answer(exchange.status, headers, length, body, Source.FORWARDED)


def outgoing_of(request: S3Request, upload: Upload) -> Outgoing:
    """The request as upstream gets it. Raises S3Error InvalidArgument for an unsendable hoisted header."""
    hoisted, raw_query = _hoisted(request)
    headers = {**hoisted, **upload.headers}
    if (source := copy_source(request)) is not None:
        headers["x-amz-copy-source"] = render_copy_source(source)  # as it was authorised, whoever decodes it
    return Outgoing(
        request.method,
        request.bucket,
        _spelled(_tail_of(request)),
        _spelled(raw_query),
        headers,
        upload if upload.stream is not None else None,
        upload.length,
        upload.payload_hash,
    )


def _tail_of(request: S3Request) -> bytes:
    """The raw key with its slash in front, or nothing, whichever style the client used.

    The path decodes to the key alone only when the bucket stands in the host.
    """
    path = request.raw_path
    if not request.bucket or unquote_to_bytes(path[1:]) == request.key.encode():
        return path
    _, slash, raw_key = path[1:].partition(b"/")
    return slash + raw_key


def _hoisted(request: S3Request) -> tuple[dict[str, str], bytes]:
    """The x-amz-* parameters that a presigned URL carries in place of headers, and the query without them."""
    raw_query = strip_presigned(request.raw_query)
    if "X-Amz-Signature" not in request.query:
        return {}, raw_query
    pairs = [pair for pair in raw_query.split(b"&") if not pair.lower().startswith(b"x-amz-")]
    names = {pair.partition(b"=")[0].decode() for pair in raw_query.split(b"&")} & request.query.keys()
    hoisted = {name.lower(): request.query[name] for name in names if name.lower().startswith("x-amz-")}
    if not all(value.isprintable() for value in hoisted.values()):
        raise S3Error("InvalidArgument", "A header value may not hold control characters.")
    return hoisted, b"&".join(pairs)


def _spelled(raw: bytes) -> str:
    """Raw bytes as they came; what a request line cannot hold is percent-encoded."""
    return quote_from_bytes(raw, safe=_PRINTABLE)
