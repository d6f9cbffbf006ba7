"""The door: bytes of a request head become an :class:`S3Request`, once; below it nobody parses them again.

Only the signature still looks at the raw path and query. A target is split at its first ``?`` and percent-decoded once,
to bytes that must be UTF-8 without NUL; it is never normalised: ``..``, ``//`` and ``%2F`` are data of a key. What two
parsers could read differently is refused: repeated parameters, repeated singleton headers, broken escapes.
:func:`read_head` is the fast lane's strict reader (RFC 9112): what it does not take (None), aiohttp judges. Bucket and
path style are told apart in :mod:`gateway.s3.addressing`. Every refusal is an S3Error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from cache.versions import ObjectRef
from gateway.s3.addressing import bucket_of_host, check_bucket
from gateway.s3.errors import S3Error

HEAD_BYTES_MAX: Final = 64 * 1024
KEY_BYTES_MAX: Final = 1024

SINGLETONS: Final = frozenset(
    {
        "authorization", "content-encoding", "content-length", "content-md5", "content-type", "date", "expect", "host",
        "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range",
        "transfer-encoding", "x-amz-checksum-mode", "x-amz-content-sha256", "x-amz-copy-source", "x-amz-date",
        "x-amz-decoded-content-length", "x-amz-expected-bucket-owner", "x-amz-rename-source", "x-amz-security-token",
        "x-amz-trailer",
    }
)  # fmt: skip

_TEXT: Final = bytes([9, *range(32, 127), *range(128, 256)])
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST_LINE: Final = re.compile(r"(GET|HEAD) (/[!\"$-~]*) HTTP/1\.1")
_BODY_HEADERS: Final = frozenset({"transfer-encoding", "expect", "upgrade", "trailer"})
_REPEATED: Final = frozenset(
    {
        "accept", "accept-encoding", "amz-sdk-request", "connection", "host", "user-agent", "x-amz-checksum-mode",
        "x-amz-content-sha256", "x-forebay-gpus", "x-forebay-job", "x-forebay-rank",
    }
)  # fmt: skip
_CHANGING: Final = {
    name: name.lower()
    for name in (
        "Authorization", "X-Amz-Date", "amz-sdk-invocation-id", "Range", "authorization", "x-amz-date", "range",
        "X-Amz-Security-Token", "x-amz-security-token",
    )
}  # fmt: skip
KNOWN_LINES_MAX: Final = 4096
KNOWN_LINE_MAX: Final = 512
PLAIN_TARGET_MAX: Final = 1024
_KNOWN_LINES: Final[dict[str, tuple[str, str]]] = {}
_TARGET: Final = re.compile(rb"[!\"$-~]+")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(slots=True)
class S3Request:
    """One request, parsed. Header names are lower case; ``query`` is decoded, a valueless parameter is "".

    ``raw_path`` and ``raw_query`` are the target as it was sent; ``bucket`` and ``key`` are empty where the request
    names none.
    """

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: dict[str, str]
    bucket: str
    key: str
    query: dict[str, str]
    host: str

    @property
    def ref(self) -> ObjectRef:
        """The object that the request names, with its ``versionId`` if any."""
        return ObjectRef(self.bucket, self.key, self.query.get("versionId", ""))

    @property
    def carries_signature(self) -> bool:
        """Whether the request claims to be signed, in its header or its query (the claim may be false)."""
        return "authorization" in self.headers or "X-Amz-Signature" in self.query


def read_head(head: bytes) -> tuple[str, bytes, dict[str, str]] | None:
    """Method, target and headers of one complete, well-formed, body-less HTTP/1.1 GET or HEAD; None for all else.

    ``head`` must end with its empty line and hold nothing after it. Names are in lower case, values unpadded; a head
    with a name given twice, or with anything but printable ASCII, is for the full parser to judge.
    """
    if len(head) > HEAD_BYTES_MAX or not head.isascii():
        return None
    lines = head.decode("ascii").split("\r\n")
    if len(lines) < 4 or lines[-1] or lines[-2]:
        return None
    asked = _REQUEST_LINE.fullmatch(lines[0])
    if asked is None or head.translate(None, _TEXT) != b"\r\n" * (len(lines) - 1):
        return None
    named: dict[str, str] = {}
    for line in lines[1:-2]:
        field = _KNOWN_LINES.get(line) or _split_line(line)
        if field is None:
            return None
        named[field[0]] = field[1]
    twice = len(named) != len(lines) - 3
    if twice or "host" not in named or not _BODY_HEADERS.isdisjoint(named) or named.get("content-length", "0") != "0":
        return None
    return asked[1], asked[2].encode("ascii"), named


def _split_line(line: str) -> tuple[str, str] | None:
    """Name and value of a header line, or None. What a client repeats with every request is remembered whole."""
    name, colon, value = line.partition(":")
    low = _CHANGING.get(name)
    if low is not None:
        return (low, value.strip(" \t")) if colon else None
    if not colon or not _NAME.fullmatch(name):
        return None
    field = name.lower(), value.strip(" \t")
    if field[0] in _REPEATED and len(line) <= KNOWN_LINE_MAX:
        if len(_KNOWN_LINES) >= KNOWN_LINES_MAX:
            _KNOWN_LINES.clear()
        _KNOWN_LINES[line] = field
    return field


def parse_request(
    method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], domains: tuple[str, ...]
) -> S3Request:
    """The request at the door. Raises S3Error (InvalidURI, InvalidArgument, InvalidBucketName, KeyTooLongError, …)."""
    return request_of(method, target, _parse_headers(headers), domains)


def request_of(method: str, target: bytes, named: dict[str, str], domains: tuple[str, ...]) -> S3Request:
    """As ``parse_request``, with headers by their lower-case names."""
    host = named.get("host", "")
    plain = len(target) + len(host) <= PLAIN_TARGET_MAX and b"?" not in target
    raw_path, raw_query, bucket, key = (_known_address if plain else _address)(target, host, domains)
    query = _parse_query(raw_query) if raw_query else {}
    return S3Request(method, raw_path, raw_query, named, bucket, key, query, host)


def _address(target: bytes, host: str, domains: tuple[str, ...]) -> tuple[bytes, bytes, str, str]:
    """Raw path, raw query, bucket and key. Raises S3Error."""
    raw_path, raw_query = _split_target(target)
    bucket = bucket_of_host(host, domains)
    raw_key = raw_path[1:]
    if not bucket:
        raw_bucket, _, raw_key = raw_key.partition(b"/")
        bucket = _decode(raw_bucket)
    if bucket or raw_key:
        check_bucket(bucket)
    if len(raw_key) > KEY_BYTES_MAX and len(unquote_to_bytes(raw_key)) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", fields={"MaxSizeAllowed": str(KEY_BYTES_MAX)})
    return raw_path, raw_query, bucket, _decode(raw_key)


_known_address = lru_cache(maxsize=8192)(_address)  # hot keys are parsed once


def parse_copy_source(value: str) -> ObjectRef:
    """The object that ``x-amz-copy-source`` names: ``[/]bucket/key[?versionId=id]``, percent-encoded.

    Raises S3Error InvalidArgument, also for access point ARNs, whose bucket nobody here could authorise.
    """
    path, _, query = value.encode().partition(b"?")
    bucket, _, key = path.removeprefix(b"/").partition(b"/")
    parameters = _parse_query(query) if query else {}
    name, decoded = _decode(bucket), _decode(key)
    if not decoded or not parameters.keys() <= {"versionId"} or len(decoded.encode()) > KEY_BYTES_MAX:
        raise S3Error("InvalidArgument", "The copy source must name a bucket and a key.")
    return ObjectRef(check_bucket(name), decoded, parameters.get("versionId", ""))


def copy_source(request: S3Request) -> ObjectRef | None:
    """The source of a copy, from the header or (presigned requests) from a parameter of that name; None without one.

    Raises S3Error InvalidArgument when it is given twice or names nothing.
    """
    found = [value for name, value in request.query.items() if name.lower() == "x-amz-copy-source"]
    if "x-amz-copy-source" in request.headers:
        found.append(request.headers["x-amz-copy-source"])
    if len(found) > 1:
        raise S3Error("InvalidArgument", "The copy source is given twice.")
    return parse_copy_source(found[0]) if found else None


def render_copy_source(ref: ObjectRef) -> str:
    """The one spelling of a copy source that no server reads differently: put it upstream instead of the client's."""
    version = f"?versionId={quote(ref.version_id, safe='')}" if ref.version_id else ""
    return f"{ref.bucket}/{quote(ref.key, safe='/')}{version}"


def _parse_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name; repeated ones joined with a comma, repeated singletons refused."""
    pairs = tuple(headers)
    try:
        named = {name.decode("ascii").lower(): value.decode() for name, value in pairs}
        if len(named) < len(pairs):
            named = {}
            for raw_name, raw_value in pairs:
                name, value = raw_name.decode("ascii").lower(), raw_value.decode()
                named[name] = _joined(name, named[name], value) if name in named else value
    except UnicodeDecodeError as error:
        raise S3Error("InvalidRequest", "A header is not valid UTF-8.") from error
    return named


def _joined(name: str, first: str, second: str) -> str:
    if name in SINGLETONS:
        raise S3Error("InvalidRequest", f"The header {name} is given twice.")
    return f"{first},{second}"


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query as sent; of an absolute form only these. Raises S3Error InvalidURI."""
    if not target.startswith(b"/"):
        scheme, separator, rest = target.partition(b"://")
        if scheme.lower() not in {b"http", b"https"} or not separator:
            raise S3Error("InvalidURI")
        cut = min((index for index in (rest.find(b"/"), rest.find(b"?")) if index >= 0), default=len(rest))
        target = rest[cut:] if rest[cut : cut + 1] == b"/" else b"/" + rest[cut:]
    if not _TARGET.fullmatch(target):
        raise S3Error("InvalidURI")
    path, _, query = target.partition(b"?")
    return path, query


def _decode(raw: bytes) -> str:
    """Percent-decoded text. Raises S3Error InvalidURI when it is not UTF-8, holds NUL or a broken escape."""
    if b"%" in raw:
        if _BROKEN_ESCAPE.search(raw):
            raise S3Error("InvalidURI")
        raw = unquote_to_bytes(raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI") from error
    if "\0" in text:
        raise S3Error("InvalidURI")
    return text


def _parse_query(raw: bytes) -> dict[str, str]:
    """Decoded parameters; ``+`` is a space. Raises S3Error when one is given twice, whatever its value."""
    query: dict[str, str] = {}
    for pair in raw.split(b"&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.replace(b"+", b" ").partition(b"=")
        name = _decode(raw_name)
        if name in query:
            raise S3Error("InvalidArgument", "A query parameter is given twice.", fields={"ArgumentName": name})
        query[name] = _decode(raw_value)
    return query
