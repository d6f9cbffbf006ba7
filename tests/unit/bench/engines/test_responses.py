from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.engines.responses import BadResponse, ChunkedBody, ResponseHead, error_code, parse_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (OK + b"hello", ResponseHead(200, 5, True, len(OK))),
        (b"HTTP/1.1 206 X\r\ncontent-LENGTH:7 \r\nA: b\r\n\r\n", ResponseHead(206, 7, True, 43)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ResponseHead(204, None, True, 27)),
        (b"HTTP/1.1 200 \r\nConnection: close\r\n\r\n", ResponseHead(200, None, False, 36)),
        (b"HTTP/1.0 200 OK\r\n\r\n", ResponseHead(200, None, False, 19)),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", ResponseHead(200, None, True, 43)),
    ],
)
def test_heads(data: bytes, head: ResponseHead) -> None:
    assert parse_head(data) == head


def test_a_head_is_awaited_byte_by_byte() -> None:
    for cut in range(len(OK)):
        assert parse_head(OK[:cut]) is None


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"a" * 40_000],
)
def test_what_is_no_head(data: bytes) -> None:
    with pytest.raises(BadResponse):
        parse_head(data)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<Error><Code>SlowDown</Code></Error>", "SlowDown"),
        (b"", "HTTP 503"),
        (b"<Code>cut", "HTTP 503"),
        (b"<html>busy</html>", "HTTP 503"),
    ],
)
def test_error_codes(body: bytes, code: str) -> None:
    assert error_code(503, body) == code


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.data())
def test_a_chunked_body_comes_out_however_it_is_cut(chunks: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x;ext\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    body = ChunkedBody()
    at, whole = 0, False
    while at < len(wire):
        assert not whole
        count = data.draw(st.integers(1, len(wire) - at))
        whole = body.feed(wire[at : at + count])
        at += count
    assert whole
    assert bytes(body.body) == b"".join(chunks)


@pytest.mark.parametrize("wire", [b"\r\n", b"g\r\n", b"-1\r\n", b"0\r\n\r\nmore", b"ffffffff\r\n" + bytes(5_000_000)])
def test_what_is_no_chunked_body(wire: bytes) -> None:
    with pytest.raises(BadResponse):
        ChunkedBody().feed(wire)
