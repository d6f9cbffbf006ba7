"""The raw engine: HTTP/1.1 over plain sockets, as cheap as Python can be, so that the load is the server's.

One session is one kept connection and one request at a time (no pipelining). A request is a prepared head and one
``send``; an answer is taken by ``recv_into`` into one buffer that all sessions of the thread share, because nobody
reads the bytes again: they are counted. With ``discard`` the kernel throws body bytes away uncopied (``MSG_TRUNC``,
tcp(7)), where the client would otherwise be the bottleneck. What is checked of every answer: that its status is
a success, that Content-Length is the length asked for, and that so many bytes came. (A range answered with 200 instead
of 206 passes if its length is right: some servers do that, and clients read on.) A listing may be chunked; it is kept,
and must be whole.

Sends block (bounded by the timeout), receives never do while split (``MSG_DONTWAIT``). Over TLS a session only blocks,
since bytes may wait in the TLS layer where no readiness shows.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from bench.engines.ports import Engine
from bench.engines.requests import Heads, method_of
from bench.engines.responses import BODY_BYTES_MAX, BadResponse, ChunkedBody, ResponseHead, error_code, parse_head
from bench.operations import List, Operation, OperationFailed, Probe, Read, Write
from bench.plan import LoadPlan

BUFFER_BYTES: Final = 256 * 1024
LONG_BYTES: Final = 128 * 1024  # of a body from where on discarding saves more than one more receive costs
FIRST_BYTES: Final = 4 * 1024
_ERROR_BYTES_MAX: Final = 64 * 1024
_GOOD: Final = {"GET": (200, 206), "HEAD": (200,), "PUT": (200,), "DELETE": (200, 204)}


def open_engine(plan: LoadPlan) -> Engine:
    """Raw connections to the plan's endpoints, taken in turn."""
    shared = bytearray(BUFFER_BYTES)
    heads = [Heads(plan.door, endpoint) for endpoint in plan.door.endpoints]
    dials = [_dial(plan, endpoint, each.host) for endpoint, each in zip(plan.door.endpoints, heads, strict=True)]
    secure = any(endpoint.startswith("https:") for endpoint in plan.door.endpoints)

    def make(index: int, buffer: bytearray) -> RawSession:
        turn = index % len(heads)
        return RawSession(dials[turn], heads[turn], buffer, discard=plan.shape.discard and not secure)

    return Engine(
        session=lambda index: make(index, bytearray(BUFFER_BYTES)),
        split=None if secure else lambda index: make(index, shared),
        close=lambda: None,
    )


def _dial(plan: LoadPlan, endpoint: str, host: str) -> Callable[[], socket.socket]:
    where = urlsplit(endpoint)
    secure = where.scheme == "https"
    address = (where.hostname or "", where.port or (443 if secure else 80))
    context = _tls(insecure=plan.door.insecure) if secure else None
    wait = struct.pack("ll", int(plan.timeout_s), int(plan.timeout_s % 1 * 1e6))

    def dial() -> socket.socket:
        plain = socket.create_connection(address, timeout=plan.timeout_s)
        plain.settimeout(None)  # a Python timeout would cost a poll for every call
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
        return context.wrap_socket(plain, server_hostname=host.partition(":")[0]) if context else plain

    return dial


def _tls(*, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class RawSession:
    """One connection; see the module. A SplitSession."""

    __slots__ = (
        "_buffer", "_chunks", "_dial", "_early", "_failed", "_first_bytes", "_flags", "_head", "_heads", "_kept",
        "_left", "_operation", "_socket", "_view", "first_byte_s",
    )  # fmt: skip

    def __init__(
        self, dial: Callable[[], socket.socket], heads: Heads, buffer: bytearray, *, discard: bool = False
    ) -> None:
        self.first_byte_s = 0.0
        self._dial = dial
        self._heads = heads
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._flags = socket.MSG_TRUNC if discard else 0
        self._socket: socket.socket | None = None
        self._operation: Operation | None = None
        self._early = b""  # of a head that came in pieces
        self._kept: bytearray | None = None  # the body of an error or a listing
        self._chunks: ChunkedBody | None = None  # of a listing that is chunked
        self._failed = False
        self._head: ResponseHead | None = None
        self._left = 0
        self._first_bytes = BUFFER_BYTES  # how many to receive, and copy, until the head is here

    def perform(self, operation: Operation) -> int:
        """See Session."""
        self.start(operation)
        while True:
            count = self._take(0)
            if count is not None:
                return count

    def start(self, operation: Operation) -> None:
        """See SplitSession."""
        self._operation = operation
        self._head = self._kept = self._chunks = None
        self._failed = False
        self._early = b""
        long = self._flags and isinstance(operation, Read) and operation.length > LONG_BYTES
        self._first_bytes = FIRST_BYTES if long else BUFFER_BYTES
        head = self._heads.head(operation, time.time())
        try:
            if self._socket is None:
                self._socket = self._dial()
            self._socket.sendall(head)
            if isinstance(operation, Write):
                self._socket.sendall(operation.body)
        except OSError as fault:
            raise self._broken(_word(fault)) from fault

    def advance(self) -> int | None:
        """See SplitSession."""
        return self._take(socket.MSG_DONTWAIT)

    def fileno(self) -> int:
        """See SplitSession; -1 while there is no connection."""
        return -1 if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """See Session."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _take(self, flags: int) -> int | None:
        """Receive once, and see how far the answer is; None: more must come."""
        if self._head is None:
            got = self._receive(self._first_bytes, flags)
            return None if got < 0 else self._first(got)
        if self._chunks is not None:
            got = self._receive(BUFFER_BYTES, flags)
            return None if got < 0 else self._feed(self._chunks, self._view[:got])
        discard = self._flags if self._kept is None else 0
        got = self._receive(min(self._left, BUFFER_BYTES), flags | discard)
        if got < 0:
            return None
        if self._kept is not None:
            self._kept += self._view[:got]
        self._left -= got
        return self._finish() if self._left == 0 else None

    def _feed(self, chunks: ChunkedBody, data: bytes | memoryview) -> int | None:
        try:
            whole = chunks.feed(data)
        except BadResponse as fault:
            raise self._broken("BadResponse") from fault
        if not whole:
            return None
        self._kept = chunks.body
        return self._finish()

    def _receive(self, count: int, flags: int) -> int:
        """Bytes received into the buffer; -1 where none are there yet. Raises OperationFailed."""
        if self._socket is None:
            raise OperationFailed("Disconnected")
        try:
            got = self._socket.recv_into(self._buffer, count, flags)
        except BlockingIOError as fault:
            if flags & socket.MSG_DONTWAIT:
                return -1
            raise self._broken("Timeout") from fault
        except OSError as fault:
            raise self._broken(_word(fault)) from fault
        if got == 0:
            raise self._broken("ShortBody" if self._head else "Disconnected")
        return got

    def _first(self, got: int) -> int | None:
        """The first bytes of an answer, or of the rest of its head."""
        if not self._early:
            self.first_byte_s = time.monotonic()
        data = self._early + self._view[:got]
        try:
            head = parse_head(data)
        except BadResponse as fault:
            raise self._broken("BadResponse") from fault
        if head is None:
            self._early = data
            return None
        self._head = head
        self._left = self._expect(head) - (len(data) - head.stop)
        if self._chunks is not None:
            return self._feed(self._chunks, data[head.stop :])
        if self._left < 0:
            raise self._broken("LongBody")
        if self._kept is not None:
            self._kept += data[head.stop :]
        return self._finish() if self._left == 0 else None

    def _expect(self, head: ResponseHead) -> int:
        """How many body bytes must come. Raises OperationFailed where they could not be what was asked for."""
        operation = self._operation
        method = method_of(operation) if operation is not None else "GET"
        bodiless = method == "HEAD" or head.status in (204, 304)
        if head.status not in _GOOD[method]:
            return self._expect_error(head, bodiless=bodiless)
        if isinstance(operation, List):
            return self._expect_listing(head)
        if isinstance(operation, Read | Probe) and head.length != operation.length:
            raise self._broken("WrongLength")
        if not bodiless and head.length is None:
            raise self._broken("NoLength")
        return 0 if bodiless else head.length or 0

    def _expect_error(self, head: ResponseHead, *, bodiless: bool) -> int:
        length = 0 if bodiless else head.length
        if length is None or length > _ERROR_BYTES_MAX:
            raise self._broken(f"HTTP {head.status}")
        self._failed = True
        self._kept = bytearray()
        return length

    def _expect_listing(self, head: ResponseHead) -> int:
        if head.chunked:
            self._chunks = ChunkedBody()
            return 0
        if head.length is None or head.length > BODY_BYTES_MAX:
            raise self._broken("NoLength")
        self._kept = bytearray()
        return head.length

    def _finish(self) -> int:
        """The answer is whole: its body bytes. Raises OperationFailed where it is an error."""
        head = self._head
        if head is not None and not head.keeps_open:
            self.close()
        if self._failed and head is not None:
            raise OperationFailed(error_code(head.status, bytes(self._kept or b"")))
        if isinstance(self._operation, List):
            return self._listed(self._kept or bytearray())
        return self._operation.length if isinstance(self._operation, Read) else 0

    def _listed(self, body: bytearray) -> int:
        if not body.rstrip().endswith(b"</ListBucketResult>"):
            raise self._broken("BadListing")
        return len(body)

    def _broken(self, code: str) -> OperationFailed:
        self.close()
        return OperationFailed(code)


def _word(fault: OSError) -> str:
    return "Timeout" if isinstance(fault, BlockingIOError | TimeoutError) else type(fault).__name__
