"""Response heads: all but date and request id is rendered once and may be kept. RFC 9112, section 4."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple

from gateway.s3.answers import Answer
from gateway.s3.headers import render_lines

REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_LENGTHLESS: Final = frozenset({204, 304})


class Frame(NamedTuple):
    """A head in three runs of text; between them go the date and, unless the answer has its own, the request ids."""

    first: str
    middle: str
    last: str
    own_ids: bool

    def head(self, date: str, request_id: str) -> bytes:
        """The head of one reply."""
        first, middle, last, own_ids = self
        ids = "" if own_ids else f"x-amz-request-id: {request_id}\r\nx-amz-id-2: {request_id}\r\n"
        return f"{first}{date}{middle}{ids}{last}".encode("utf-8", "surrogateescape")


def frame_of(answer: Answer, *, close: bool, chunked: bool) -> Frame:
    """The frame of an answer's head. ``close``: the connection ends with it; ``chunked``: how its body is framed."""
    status, headers = answer.status, answer.headers
    own_ids = any(name == "x-amz-request-id" for name, _ in headers)
    last = ""
    if chunked:
        last = "transfer-encoding: chunked\r\n"
    elif answer.length is not None and status not in _LENGTHLESS:
        last = f"content-length: {answer.length}\r\n"
    if close:
        last += "connection: close\r\n"
    middle = f"\r\n{answer.prepared}{render_lines(headers)}"
    return Frame(
        f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\ndate: ", middle, f"{last}server: forebay\r\n\r\n", own_ids
    )
