"""The body of a forwarded request, on its way through: decoded, checked, and never complete before it is right.

How a client protects its body (the five values of x-amz-content-sha256) decides how the same bytes go upstream: hashed
and unsigned bodies pass as they are; ``aws-chunked`` ones are decoded, and what came with a trailing checksum leaves
as one unsigned chunk with that trailer. Everything that the client stated (SHA-256, Content-MD5, checksums, chunk
signatures) is checked here while the bytes pass. The last piece is let go only when all of it is right: an upload that
fails at its end is cut off, and upstream never sees it whole. Nothing is held beyond that piece, except a short
document that must be read before it may be sent (:func:`read_document`). No I/O of its own; :mod:`gateway.forward`
sends. "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, Protocol, Self

from gateway.s3.awschunked import (
    ChunkedDecoder,
    announced_trailers,
    close_frame,
    decoded_length,
    framed_length,
    open_frame,
)
from gateway.s3.checksums import PREFIX, BodyChecks, algorithm_of, encoded_length
from gateway.s3.errors import S3Error
from gateway.s3.headers import forward_request_headers, without_aws_chunked
from gateway.s3.operations import Operation
from gateway.s3.requests import S3Request
from gateway.s3.sigv4 import EMPTY_SHA256, UNSIGNED, Authenticated, PayloadMode, payload_mode

_PLAIN: Final = frozenset({PayloadMode.HASHED, PayloadMode.UNSIGNED})
_FRAMING: Final = ("x-amz-trailer", "x-amz-decoded-content-length")


class RequestBody(Protocol):
    """A client's body as it arrives. ``length`` is its Content-Length, None when it comes chunked.

    The first pull answers ``Expect: 100-continue``. A body that is cut raises; it never just ends.
    """

    @property
    def length(self) -> int | None:
        """Bytes on the wire, or None."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces; once."""
        ...


@dataclass(slots=True)
class Upload:
    """A body ready to be sent: bytes, their number on the wire, what is signed for them, and the headers with it.

    ``stream`` None: there is no body. ``fault`` is what ended the body early, as the client should hear of it.
    """

    headers: dict[str, str]
    payload_hash: str
    length: int = 0
    stream: AsyncIterator[bytes] | None = None
    fault: Exception | None = field(default=None, init=False)

    def __aiter__(self) -> Self:
        """The bytes to send; once."""
        return self

    async def __anext__(self) -> bytes:
        """The next piece. Whatever it raises is kept in ``fault``: who sends it only says that it failed."""
        if self.stream is None:
            raise StopAsyncIteration
        try:
            return await anext(self.stream)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.fault = error
            raise


@dataclass(frozen=True, slots=True)
class _Stated:
    """What a request says of its body."""

    auth: Authenticated
    verified: bool
    length: int
    trailers: tuple[str, ...]
    headers: dict[str, str]
    checks: BodyChecks

    @property
    def chunked(self) -> bool:
        return self.auth.payload not in _PLAIN


async def open_upload(
    request: S3Request, operation: Operation, auth: Authenticated | None, body: RequestBody | None
) -> Upload:
    """The body as it goes upstream. ``auth`` None: the gateway authenticates nobody.

    An empty body is read, and judged, here: a request without a body is complete with its head. Raises S3Error
    (MissingContentLength, IncompleteBody, XAmzContentSHA256Mismatch, BadDigest, …).
    """
    stated = _stated(request, operation, auth, body)
    if stated.chunked and stated.trailers:
        return _framed(stated, body)
    hashed = stated.auth.payload is PayloadMode.HASHED
    upload = Upload(stated.headers, stated.auth.payload_hash if hashed else UNSIGNED, stated.length)
    if stated.length:
        upload.stream = _pieces(stated, body)
        return upload
    async for _ in _pieces(stated, body):
        pass
    return replace(upload, payload_hash=EMPTY_SHA256) if hashed or body is None else upload


async def read_document(
    request: S3Request, operation: Operation, auth: Authenticated | None, body: RequestBody | None, bytes_max: int
) -> tuple[bytes, Upload]:
    """A short body, read whole and judged, and the upload that sends it on. Raises S3Error."""
    stated = _stated(request, operation, auth, body)
    if stated.length > bytes_max:
        raise S3Error("MalformedXML", f"The document has more than {bytes_max} bytes.")
    decoder = _decoder_of(stated) if stated.chunked else None
    document = b"".join([piece async for piece in _pieces(stated, body, decoder)])
    headers = stated.headers | (decoder.trailers if decoder else {})
    return document, Upload(headers, sha256(document).hexdigest(), len(document), _once(document) if document else None)


async def _once(document: bytes) -> AsyncIterator[bytes]:
    yield document


def _stated(request: S3Request, operation: Operation, auth: Authenticated | None, body: RequestBody | None) -> _Stated:
    """Parse what the request says of its body. Raises S3Error."""
    verified = auth is not None
    auth = auth or _nobody(request)
    headers = forward_request_headers(request.headers.items())
    for name in _FRAMING:
        headers.pop(name, None)
    if "content-encoding" in headers:
        coding = without_aws_chunked(headers.pop("content-encoding"))
        headers |= {"content-encoding": coding} if coding else {}
    length, trailers = (_announced(request, body), ()) if auth.payload in _PLAIN else _announced_in_chunks(request)
    checks = BodyChecks(_checkable(headers, operation), trailers, auth.payload_hash)
    return _Stated(auth, verified, length, trailers, headers, checks)


def _nobody(request: S3Request) -> Authenticated:
    """What a request says of its body's protection, signed by nobody. Raises S3Error InvalidArgument."""
    told = request.headers.get("x-amz-content-sha256") or request.query.get("X-Amz-Content-Sha256") or UNSIGNED
    mode = payload_mode(told)
    return Authenticated("", mode, told if mode is PayloadMode.HASHED else "", "", "", "", b"")


def _announced(request: S3Request, body: RequestBody | None) -> int:
    """Content-Length; nothing is said of it where there is no body."""
    if body is not None and body.length is not None:
        return body.length
    if body is not None and (request.method == "PUT" or "transfer-encoding" in request.headers):
        raise S3Error("MissingContentLength")
    return 0


def _announced_in_chunks(request: S3Request) -> tuple[int, tuple[str, ...]]:
    """Payload length and trailers of an aws-chunked body. Raises S3Error, also for trailers that are no checksums."""
    trailers = announced_trailers(request)
    if not all(map(algorithm_of, trailers)):
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported.")
    return decoded_length(request), trailers


def _checkable(headers: Mapping[str, str], operation: Operation) -> dict[str, str]:
    """The headers that state something of this very body: CompleteMultipartUpload's checksum is the object's."""
    if operation.name != "CompleteMultipartUpload":
        return dict(headers)
    return {name: value for name, value in headers.items() if not name.startswith(PREFIX)}


def _decoder_of(stated: _Stated) -> ChunkedDecoder:
    return ChunkedDecoder(stated.auth, stated.length, stated.trailers, verify=stated.verified)


def _pieces(stated: _Stated, body: RequestBody | None, decoder: ChunkedDecoder | None = None) -> AsyncIterator[bytes]:
    """The payload; its last piece comes when all is right."""
    if not stated.chunked:
        return _plain(stated, body)
    return _decoded(stated, body, decoder or _decoder_of(stated))


async def _plain(stated: _Stated, body: RequestBody | None) -> AsyncIterator[bytes]:
    left = stated.length
    async for piece in _nothing() if body is None else body:
        left -= len(piece)
        stated.checks.update(piece)
        if left < 0:
            raise S3Error("IncompleteBody")
        if left == 0:
            stated.checks.finish()
        yield piece
    if left:
        raise S3Error("IncompleteBody")
    if not stated.length:
        stated.checks.finish()


async def _decoded(stated: _Stated, body: RequestBody | None, decoder: ChunkedDecoder) -> AsyncIterator[bytes]:
    last: list[bytes] = []
    async for data in _nothing() if body is None else body:
        pieces = decoder.feed(data)
        for piece in pieces:
            stated.checks.update(piece)
        if decoder.done:
            last += pieces
            continue
        for piece in pieces:
            yield piece
    if not decoder.done:
        last = decoder.close()
        for piece in last:
            stated.checks.update(piece)
    stated.checks.finish(decoder.trailers)
    for piece in last:
        yield piece


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


def _framed(stated: _Stated, body: RequestBody | None) -> Upload:
    """An upload with trailing checksums: one unsigned chunk, then the trailers that the client sent."""
    coding = stated.headers.get("content-encoding", "")
    headers = {
        **stated.headers,
        "content-encoding": f"{coding},aws-chunked" if coding else "aws-chunked",
        "x-amz-decoded-content-length": str(stated.length),
        "x-amz-trailer": ",".join(stated.trailers),
    }
    decoder = _decoder_of(stated)
    sizes = {name: encoded_length(algorithm_of(name)) for name in stated.trailers}
    length = framed_length(stated.length, sizes)
    return Upload(headers, PayloadMode.UNSIGNED_TRAILER.value, length, _frame(stated, body, decoder))


async def _frame(stated: _Stated, body: RequestBody | None, decoder: ChunkedDecoder) -> AsyncIterator[bytes]:
    if stated.length:
        yield open_frame(stated.length)
    async for piece in _decoded(stated, body, decoder):
        yield piece
    if any("-" in value for value in decoder.trailers.values()):
        raise S3Error("InvalidDigest")  # a checksum of checksums has another length than the one that was announced
    yield close_frame(stated.length, decoder.trailers)
