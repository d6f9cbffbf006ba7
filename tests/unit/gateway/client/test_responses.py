"""Heads are parsed strictly where it matters, requests are rendered as S3 signs them."""

from __future__ import annotations

import pytest

from gateway.client.endpoint import Gateway
from gateway.client.responses import BadAnswer, Head, Request, parse_head


def test_a_head_is_parsed() -> None:
    head = parse_head(
        b'HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nETag:  "x" \r\nContent-Range: bytes 10-14/20'
    )
    assert (head.status, head.length, head.total, head.first) == (206, 5, 20, 10)
    assert head.headers["etag"] == '"x"'
    assert head.keeps_alive


@pytest.mark.parametrize(
    "raw",
    [b"", b"SSH-2.0", b"HTTP/1.1 2x0 OK", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nno colon", b"HTTP/1.1 200\r\n a: b"],
)
def test_what_is_no_head(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        parse_head(raw)


def test_connections_that_end() -> None:
    assert not parse_head(b"HTTP/1.0 200 OK").keeps_alive
    assert not Head(200, {"connection": "Close"}).keeps_alive


def test_how_a_body_is_framed() -> None:
    assert Head(204).length == 0
    assert Head(200).length is None
    chunked = Head(200, {"transfer-encoding": "chunked", "content-length": "3"})
    assert chunked.chunked
    assert chunked.length is None
    with pytest.raises(BadAnswer):
        _ = Head(200, {"content-length": "-1"}).length


def test_where_a_body_belongs() -> None:
    assert (Head(200, {"content-length": "7"}).total, Head(200).first) == (7, 0)
    assert Head(416, {"content-range": "bytes */9"}).total == 9
    assert Head(206, {"content-range": "bytes 0-1/*"}).total is None
    with pytest.raises(BadAnswer):
        _ = Head(206).first


def test_a_request_is_rendered_unsigned_without_credentials() -> None:
    request = Request("GET", "b", "a b/ü+%&?#", (("z", "1"), ("a", "x y")), (("range", "bytes=0-1"),))
    gateway = Gateway("http://node:9000", job="j", rank="1", gpus=8)
    assert request.render(gateway, 0.0) == (
        b"GET /b/a%20b/%C3%BC%2B%25%26%3F%23?a=x%20y&z=1 HTTP/1.1\r\nhost: node:9000\r\nrange: bytes=0-1\r\n"
        b"x-forebay-job: j\r\nx-forebay-rank: 1\r\nx-forebay-gpus: 8\r\n\r\n"
    )
    assert request.asked == "GET b/a b/ü+%&?#"
    assert Request("GET").asked == "GET"


def test_a_request_is_signed_with_credentials() -> None:
    raw = Request("HEAD", "b").render(Gateway("http://n", "AK", "SK", "TOKEN", job="j"), 1_700_000_000.0).decode()
    assert raw.startswith("HEAD /b HTTP/1.1\r\nhost: n\r\n")
    lines = dict(line.split(": ", 1) for line in raw.strip().split("\r\n")[1:])
    lines = {name.lower(): value for name, value in lines.items()}
    assert lines["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AK/20231114/us-east-1/s3/aws4_request")
    assert "x-forebay-job" not in lines["authorization"]
    assert lines["x-amz-security-token"] == "TOKEN"
