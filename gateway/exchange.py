"""One request to upstream and its answer: where it goes, what it carries, and what of the answer may be believed.

An :class:`Exchange` is an answer as it arrives. Its body counts as whole only when its framing says so: one without a
length, ended by the close of the connection, is refused at the first read. Left before its end, it closes its
connection, so that none goes back to the pool with bytes in flight. :func:`judge_answer` and :class:`Body` hold a
ranged answer against what was asked (status, Content-Range, length, ETag, checksum): the last piece comes out only when
all of it is right. Who sends, signs and repeats: :mod:`gateway.upstream`. How bytes become answers:
:mod:`gateway.wires`. RFC 9110 (ranges, conditions), RFC 9112 (framing).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from cache.faults import UpstreamBroken, UpstreamFault, UpstreamRefused, VersionChanged
from cache.ports import Run
from cache.tally import Count, Tally
from cache.versions import ByteSpan, ObjectVersion
from gateway.s3.checksums import PREFIX, BodyChecks
from gateway.s3.errors import S3Error
from gateway.s3.headers import forward_response_headers
from gateway.s3.sigv4 import EMPTY_SHA256
from gateway.wires.answers import Data, Head
from gateway.wires.wire import Wire

DOCUMENT_BYTES_MAX: Final = 64 * 1024
_FIRST_BYTES: Final = re.compile(r"bytes 0-([0-9]{1,19})/([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the upstream is. An empty ``endpoint`` is Amazon's of the region."""

    endpoint: str = ""
    region: str = "us-east-1"
    path_style: bool = True

    @property
    def origin(self) -> str:
        """The endpoint's URL without a final slash: it names the upstream in every object version."""
        return self.endpoint.rstrip("/") or f"https://s3.{self.region}.amazonaws.com"

    def place(self, bucket: str, tail: str) -> tuple[str, str]:
        """(scheme and authority, raw path) in a bucket. ``tail``: the raw key with its slash in front, or nothing."""
        parts = urlsplit(self.origin)
        if not bucket:
            return f"{parts.scheme}://{parts.netloc}", f"{parts.path}/"
        if self.path_style or (parts.scheme == "https" and "." in bucket):
            return f"{parts.scheme}://{parts.netloc}", f"{parts.path}/{bucket}{tail}"
        return f"{parts.scheme}://{bucket}.{parts.netloc}", f"{parts.path}{tail or '/'}"


@dataclass(slots=True)
class Outgoing:
    """A request to upstream. ``tail``: the raw key with its slash in front, or nothing.

    ``headers`` are lower-case end-to-end ones; length, host and signature are added. ``length`` None: the body is sent
    chunked. ``payload_hash`` is what is signed for the body: its SHA-256 in hex, or the name of a payload mode.
    """

    method: str
    bucket: str
    tail: str = ""
    raw_query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: AsyncIterable[bytes] | None = None
    length: int | None = None
    payload_hash: str = EMPTY_SHA256
    count: Count = Count.UPSTREAM_FORWARDS


def encode_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """A request's head as it is sent. Raises ValueError for a header that would end its line."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError("a line break in a header")
    return head.encode("utf-8", "surrogateescape")


class Exchange:
    """One answer of upstream, as it arrives on ``wire``, which is given back by ``give``.

    ``headers`` have lower-case names; ``length`` is what it announced; ``framed``: whether a cut body can be told from
    a whole one.
    """

    def __init__(self, wire: Wire, head: Head, give: Callable[[], None], tally: Tally) -> None:
        self._wire, self._give, self._tally = wire, give, tally
        self.status, self.headers, self.length = head.status, head.headers, head.length
        self.framed, self.bodyless = head.framed, head.bodyless
        self._closed = False

    def header(self, name: str) -> str:
        """The value of header ``name`` (lower case), or an empty string."""
        for key, value in self.headers:
            if key == name:
                return value
        return ""

    async def read(self) -> Data:
        """The next piece, at most 256 KiB; empty at the end. Raises UpstreamBroken, UpstreamUnreachable."""
        if not self.framed:
            raise UpstreamBroken("an answer without a length")
        try:
            piece = await self._wire.read()
        except UpstreamFault:
            self._tally.add(Count.UPSTREAM_ERRORS)
            raise
        self._tally.add(Count.UPSTREAM_BYTES, len(piece))
        return piece

    async def pour(self, left: int, into: Callable[[memoryview], None], run: Run) -> int:
        """As :meth:`Wire.pour`."""
        try:
            count = await self._wire.pour(left, into, run)
        except UpstreamFault:
            self._tally.add(Count.UPSTREAM_ERRORS)
            raise
        self._tally.add(Count.UPSTREAM_BYTES, count)
        return count

    async def document(self) -> bytes:
        """The rest of the body, at most 64 KiB of it: what is beyond is dropped, with the connection."""
        pieces, held = [], 0
        while held < DOCUMENT_BYTES_MAX and (piece := await self.read()):
            pieces.append(piece)
            held += len(piece)
        return b"".join(pieces)[:DOCUMENT_BYTES_MAX]

    async def refusal(self) -> UpstreamRefused:
        """This answer as a fault, with its document."""
        body = b"" if self.bodyless else await self.document()
        headers = [pair for pair in forward_response_headers(self.headers) if pair[0] != "location"]
        return UpstreamRefused(self.status, tuple(headers), body)

    def close(self) -> None:
        """End the exchange: unless its body was read to the end, its connection is closed."""
        if not self._closed:
            self._closed = True
            self._give()


async def judge_answer(exchange: Exchange, version: ObjectVersion, span: ByteSpan) -> None:
    """Raises unless the answer is the asked span of the asked version."""
    status = exchange.status
    if status in {412, 416}:
        raise VersionChanged(f"upstream answered {status}")
    if 400 <= status < 600:
        raise await exchange.refusal()
    if exchange.header("etag") != version.etag:
        kind = VersionChanged if exchange.header("etag") else UpstreamBroken
        raise kind("an answer with another ETag or none")
    whole = span.length == version.size
    right = f"bytes {span.start}-{span.stop - 1}/{version.size}"
    told = exchange.header("content-range")
    named = status in {200, 206} and told == right  # rclone's S3 server answers a range with 200 and names it
    if not named and not (status == 200 and whole and not told):
        raise UpstreamBroken(f"asked for {right}, got {status} {told}")
    if not exchange.framed or exchange.length not in {None, span.length}:
        raise UpstreamBroken(f"asked for {span.length} bytes, got {exchange.length}")


async def judge_beginning(exchange: Exchange, count: int) -> tuple[int | None, bool]:
    """The size of the object whose first ``count`` bytes were asked for, and whether the answer is about them alone.

    A size of None: upstream does not tell it. Raises unless the answer is those bytes, or the whole object.
    """
    status, told = exchange.status, exchange.header("content-range")
    if 400 <= status < 600:
        raise await exchange.refusal()
    if status == 200 and not told:
        return exchange.length, False
    found = _FIRST_BYTES.fullmatch(told)
    if status not in {200, 206} or found is None:
        raise UpstreamBroken(f"asked for the first {count} bytes, got {status} {told}")
    length, size = int(found[1]) + 1, int(found[2])
    if length != min(count, size) or exchange.length not in {None, length} or not exchange.framed:
        raise UpstreamBroken(f"asked for the first {count} bytes, got {told} in {exchange.length} bytes")
    return size, True


class Body:
    """The first ``length`` bytes of an answer's body, as they arrive; implements :class:`cache.ports.Pouring`.

    ``ends``: they are all; then the last piece comes only once the framing has ended and the checksum is right.
    ``whole``: they are an object, and upstream's checksum of it must be that of these bytes.
    """

    def __init__(self, exchange: Exchange, length: int, *, whole: bool, ends: bool = True) -> None:
        self._exchange, self._length, self._ends = exchange, length, ends
        self._left = length
        self._checks = _checks_of(exchange) if whole else None

    def __aiter__(self) -> Body:
        """Itself."""
        return self

    async def __anext__(self) -> Data:
        """The next piece. Raises UpstreamBroken, UpstreamUnreachable."""
        if not self._left:
            raise StopAsyncIteration
        piece = await self._exchange.read()
        if not piece or (self._ends and len(piece) > self._left):
            received = self._length - self._left + len(piece)
            raise UpstreamBroken(f"a body of {received} bytes where {self._length} were asked for")
        piece = piece[: self._left]
        self._left -= len(piece)
        if self._checks is not None:
            self._checks.update(piece)
        if self._ends and not self._left:
            await _end(self._exchange, self._checks)
        return piece

    async def pour(self, into: Callable[[memoryview], None], run: Run) -> int:
        """As :meth:`cache.ports.Pouring.pour`, for what has no checksum: no framing by length can be exceeded."""
        if self._checks is not None or not self._left:
            return 0
        count = await self._exchange.pour(self._left, into, run)
        self._left -= count
        return count


async def _end(exchange: Exchange, checks: BodyChecks | None) -> None:
    """All bytes are here: nothing may follow them, and they must be the right ones."""
    if await exchange.read():
        raise UpstreamBroken("a body beyond the bytes that were asked for")
    try:
        if checks is not None:
            checks.finish()
    except S3Error as error:
        raise UpstreamBroken(f"upstream's checksum does not match its bytes: {error}") from error


def _checks_of(exchange: Exchange) -> BodyChecks | None:
    """Upstream's checksums of the whole object; None when it states none that could be held against the bytes."""
    stated = {name: value for name, value in exchange.headers if name.startswith(PREFIX)}
    if not stated or stated.get("x-amz-checksum-type", "") == "COMPOSITE":
        return None
    try:
        return BodyChecks(stated)
    except S3Error:
        return None
