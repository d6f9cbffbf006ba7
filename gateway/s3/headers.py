"""Which headers pass, which stop, which are made: of cached answers, of forwarded requests and of their answers.

A cached object is served with the headers that upstream gave it, in their order; ETag and Last-Modified go out byte for
byte. A checksum of the whole object goes out only with the whole object (and with a HEAD of it), and only when asked
for: clients check it against the bytes of the very answer, so never with a range or a part. ``response-*`` parameters
count on signed requests alone. Nothing is compressed, redirected or made public here. Hop-by-hop: RFC 9110, 7.6.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from cache.versions import ByteSpan, Entry
from gateway.s3.errors import S3Error
from gateway.s3.requests import S3Request

Headers = list[tuple[str, str]]

HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_NOT_OF_THE_OBJECT: Final = HOP_BY_HOP | {
    "accept-ranges", "age", "alt-svc", "content-length", "content-range", "date", "server", "set-cookie", "via",
    "x-amz-id-2", "x-amz-mp-parts-count", "x-amz-request-charged", "x-amz-request-id",
}  # fmt: skip
_OURS_TO_MAKE: Final = HOP_BY_HOP | {
    "authorization", "content-length", "expect", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token",
}  # fmt: skip
_OF_A_304: Final = frozenset(
    {"cache-control", "content-location", "etag", "expires", "last-modified", "vary", "x-amz-version-id"}
)
_OVERRIDES: Final = {
    f"response-{name}": name
    for name in (
        "content-type", "content-language", "expires", "cache-control", "content-disposition", "content-encoding",
    )
}  # fmt: skip
_PRESIGNED: Final = frozenset(
    {
        b"x-amz-algorithm", b"x-amz-credential", b"x-amz-date", b"x-amz-expires", b"x-amz-signedheaders",
        b"x-amz-signature", b"x-amz-security-token", b"x-amz-content-sha256",
    }
)  # fmt: skip
_CHECKSUM: Final = "x-amz-checksum-"
_CORS: Final = "access-control-"
_NO_CONTROLS: Final = dict.fromkeys((*range(9), *range(10, 32), 127))
_CONTROLS: Final = frozenset(map(chr, [*range(9), *range(10, 32), 127]))


def entry_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """What of an upstream HEAD's headers belongs to the object, names in lower case, in their order.

    What upstream said to the one who asked (CORS among it) does not: a request with an Origin is forwarded.
    """
    low = [(name.lower(), value) for name, value in headers]
    dropped = _NOT_OF_THE_OBJECT | _connection(low)
    return tuple(pair for pair in low if pair[0] not in dropped and not pair[0].startswith(_CORS))


def read_headers(entry: Entry, request: S3Request, span: ByteSpan | None) -> Headers:
    """The headers of a 200 (``span`` None) or 206 answer to GET or HEAD. Their length is not among them.

    Raises S3Error InvalidRequest for ``response-*`` parameters of an unsigned request, InvalidArgument for their
    unsendable values.
    """
    if wants_checksum(request, span):
        headers = list(entry.headers)
    else:
        headers = [pair for pair in entry.headers if not pair[0].startswith(_CHECKSUM)]
    if not any(name == "etag" for name, _ in headers):
        headers.append(("etag", entry.version.etag))
    if request.query:
        headers = _overridden(headers, request)
    headers.append(("accept-ranges", "bytes"))
    if span is not None:
        headers.append(content_range(span, entry.version.size))
    return headers


def prepare_headers(entry: Entry, *, checksum: bool) -> str:
    """The lines of an answer with the entry's headers, as ``read_headers`` has them for a request without parameters.

    They are the same for every such request, so a server may keep them. Content-Range is not among them.
    """
    request = S3Request("GET", b"", b"", {"x-amz-checksum-mode": "ENABLED"} if checksum else {}, "", "", {}, "")
    return render_lines(read_headers(entry, request, None))


def render_lines(headers: Iterable[tuple[str, str]]) -> str:
    """Header lines, each with its CRLF; control characters in values are dropped, so that a line stays one."""
    return "".join([f"{name}: {value.translate(_NO_CONTROLS)}\r\n" for name, value in headers])


def wants_checksum(request: S3Request, span: ByteSpan | None) -> bool:
    """Whether a checksum of the whole object may go out: it is asked for, and the answer is about the whole object."""
    if span is not None or "range" in request.headers or "partNumber" in request.query:
        return False
    mode = request.headers.get("x-amz-checksum-mode", "")
    if not mode and request.query:
        mode = request.query.get("x-amz-checksum-mode", "") or request.query.get("X-Amz-Checksum-Mode", "")
    return mode.upper() == "ENABLED"


def content_range(span: ByteSpan, size: int) -> tuple[str, str]:
    """The Content-Range header of a 206."""
    return "content-range", f"bytes {span.start}-{span.stop - 1}/{size}"


def not_modified_headers(entry: Entry) -> Headers:
    """The headers of a 304 answer (RFC 9110, 15.4.5)."""
    headers = [pair for pair in entry.headers if pair[0] in _OF_A_304]
    return headers if any(name == "etag" for name, _ in headers) else [("etag", entry.version.etag), *headers]


def forward_request_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What of a client's headers goes upstream with a forwarded request, which is signed and framed anew.

    Framing (Content-Length, Transfer-Encoding, ``aws-chunked`` with its x-amz-trailer and decoded length) is decided by
    who frames the body; of these only Content-Length and Transfer-Encoding are dropped here.
    """
    low = [(name.lower(), value) for name, value in headers]
    dropped = _OURS_TO_MAKE | _connection(low)
    return {name: value for name, value in low if name not in dropped and not name.startswith("x-forebay-")}


def forward_response_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """What of upstream's headers goes to the client, in its order; Date and length are made by who sends the head."""
    low = [(name.lower(), value) for name, value in headers]
    dropped = HOP_BY_HOP | _connection(low) | {"content-length", "date", "server"}
    return [pair for pair in low if pair[0] not in dropped]


def strip_presigned(raw_query: bytes) -> bytes:
    """The query without the parameters that sign it; all others keep their raw spelling and order."""
    if not raw_query:
        return raw_query
    pairs = raw_query.split(b"&")
    return b"&".join(pair for pair in pairs if unquote_to_bytes(pair.partition(b"=")[0]).lower() not in _PRESIGNED)


def without_aws_chunked(content_encoding: str) -> str:
    """A Content-Encoding without the ``aws-chunked`` that describes only the transfer; may be left empty."""
    codings = [coding.strip() for coding in content_encoding.split(",")]
    return ",".join(coding for coding in codings if coding and coding.lower() != "aws-chunked")


def _connection(headers: Iterable[tuple[str, str]]) -> set[str]:
    """The names that a Connection header declares hop-by-hop."""
    return {one.strip().lower() for name, value in headers if name == "connection" for one in value.split(",")}


def _overridden(headers: Headers, request: S3Request) -> Headers:
    asked = {_OVERRIDES[name]: value for name, value in request.query.items() if name in _OVERRIDES}
    if not asked:
        return headers
    if not request.carries_signature:
        raise S3Error("InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.")
    if any(not _CONTROLS.isdisjoint(value) for value in asked.values()):
        raise S3Error("InvalidArgument", "A response header may not hold control characters.")
    return [*(pair for pair in headers if pair[0] not in asked), *asked.items()]
