"""Response heads, as far as the raw engine must understand them (RFC 9112): status, body length, connection.

This is no general HTTP client. The body of a read has a Content-Length or is none of ours: a chunked or endless answer
to a read is reported as an error, since its length proves nothing. Listings may be chunked, and are kept. Sans-IO.
"""

from __future__ import annotations

from typing import Final, NamedTuple

HEAD_BYTES_MAX: Final = 32 * 1024
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_END: Final = b"\r\n\r\n"
_CODE_OPEN: Final = b"<Code>"
_CODE_CLOSE: Final = b"</Code>"


class BadResponse(Exception):
    """Bytes that are no HTTP/1.1 response head."""


class ResponseHead(NamedTuple):
    """``length``: the body's, None where it is not announced. ``stop``: where the head ends in what was parsed."""

    status: int
    length: int | None
    keeps_open: bool
    stop: int
    chunked: bool = False


def parse_head(data: bytes) -> ResponseHead | None:
    """The head at the start of ``data``; None while it is incomplete. Raises BadResponse."""
    end = data.find(_END)
    if end < 0:
        if len(data) > HEAD_BYTES_MAX:
            raise BadResponse("a response head without an end")
        return None
    head = data[: end + 2].lower()
    if not head.startswith(b"http/1.") or not head[9:12].isdigit():
        raise BadResponse(f"no HTTP/1 response: {data[:40]!r}")
    length = _header(head, b"content-length")
    if length is not None and not length.isdigit():
        raise BadResponse(f"no length: {length!r}")
    connection = _header(head, b"connection") or b""
    keeps_open = connection != b"close" and (head.startswith(b"http/1.1") or connection == b"keep-alive")
    chunked = _header(head, b"transfer-encoding") == b"chunked"
    return ResponseHead(int(head[9:12]), None if length is None else int(length), keeps_open, end + 4, chunked)


class ChunkedBody:
    """Takes a chunked body apart, however it is cut; ``body`` is what has come of it. At most ``BODY_BYTES_MAX``."""

    def __init__(self) -> None:
        self.body = bytearray()
        self._waiting = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> bool:
        """Take more bytes; True once the body is whole. Raises BadResponse."""
        self._waiting += data
        if len(self.body) + len(self._waiting) > BODY_BYTES_MAX:
            raise BadResponse("a body too large to keep")
        while (end := self._waiting.find(b"\r\n")) >= 0:
            size = _chunk_size(bytes(self._waiting[:end]))
            if size == 0:
                return self._is_over(end)
            stop = end + 2 + size + 2
            if len(self._waiting) < stop:
                return False
            self.body += self._waiting[end + 2 : stop - 2]
            del self._waiting[:stop]
        return False

    def _is_over(self, end: int) -> bool:
        """Whether the trailer after the last chunk is complete, too; nothing may follow it."""
        stop = self._waiting.find(_END, end)
        if 0 <= stop < len(self._waiting) - len(_END):
            raise BadResponse("bytes after the end of a body")
        return stop >= 0


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or not set(digits) <= _HEX:
        raise BadResponse(f"no chunk size: {line[:40]!r}")
    return int(digits, 16)


def error_code(status: int, body: bytes) -> str:
    """The S3 code in an error's body, or ``HTTP 503`` where there is none."""
    start = body.find(_CODE_OPEN)
    stop = body.find(_CODE_CLOSE, start)
    if start < 0 or stop < 0:
        return f"HTTP {status}"
    return body[start + len(_CODE_OPEN) : stop].decode("ascii", "replace")[:64]


def _header(head: bytes, name: bytes) -> bytes | None:
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()
