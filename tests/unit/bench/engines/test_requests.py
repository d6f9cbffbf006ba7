from __future__ import annotations

import pytest

from bench.engines.requests import HEADS_MAX, Heads
from bench.operations import List, MakeBucket, Operation, Probe, Read, Remove, Write
from bench.plan import Door
from cache.versions import ByteSpan
from gateway.s3.requests import parse_request, read_head
from gateway.s3.sigv4 import Credentials, authenticate

NOW = 1_700_000_000.25
OPERATIONS: list[tuple[Operation, str, str]] = [
    (Read("a b/ü+c", 5), "GET", "a b/ü+c"),
    (Read("k", 5, ByteSpan(10, 15)), "GET", "k"),
    (Probe("k", 5), "HEAD", "k"),
    (Write("k", b"hello"), "PUT", "k"),
    (Remove("k"), "DELETE", "k"),
    (MakeBucket(), "PUT", ""),
    (List("a b/ü+c/"), "GET", ""),
]


def heads(lookup: str = "path", access_key: str = "AKID", token: str = "") -> Heads:
    door = Door(("http://127.0.0.1:9000",), "bucket", access_key, "SECRET", token, lookup=lookup)
    return Heads(door, "http://localhost:9000")


def headers_of(head: bytes) -> tuple[str, bytes, list[tuple[bytes, bytes]]]:
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, target, version = line.split(b" ")
    assert version == b"HTTP/1.1"
    return method.decode(), target, [tuple(line.split(b": ", 1)) for line in lines]  # type: ignore[misc]  # two by split


@pytest.mark.parametrize("lookup", ["path", "host"])
@pytest.mark.parametrize("token", ["", "TOKEN"])
@pytest.mark.parametrize(("operation", "method", "key"), OPERATIONS)
def test_the_gateway_lets_each_request_in(lookup: str, token: str, operation: Operation, method: str, key: str) -> None:
    request = parse_request(*headers_of(heads(lookup, token=token).head(operation, NOW)), ("localhost",))
    assert (request.method, request.bucket, request.key) == (method, "bucket", key)
    known = Credentials("AKID", "SECRET", token)
    assert authenticate(request, {"AKID": known}.get, now=NOW, region="us-east-1").access_key == "AKID"


def test_a_read_looks_like_boto3s_to_the_fast_lane() -> None:
    head = heads().head(Read("k", 5, ByteSpan(10, 15)), NOW)
    assert read_head(head) is not None
    assert {name.decode() for name, _ in headers_of(head)[2]} == {
        "Accept-Encoding", "Range", "x-amz-checksum-mode", "User-Agent", "host", "X-Amz-Date", "x-amz-content-sha256",
        "Authorization", "amz-sdk-invocation-id", "amz-sdk-request",
    }  # fmt: skip
    assert b"Range: bytes=10-14\r\n" in head
    plain = heads().head(Read("k", 5), NOW)
    assert b"SignedHeaders=host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date" in plain


def test_a_head_is_made_once_a_second() -> None:
    maker = heads()
    first = maker.head(Read("k", 5), NOW)
    assert maker.head(Read("k", 5), NOW + 0.5) is first
    assert maker.head(Read("k", 5), NOW + 1) != first


def test_not_too_many_heads_are_kept() -> None:
    maker = heads()
    first = maker.head(Read("0", 5), NOW)
    for number in range(HEADS_MAX):
        maker.head(Read(str(number), 5), NOW)
    assert maker.head(Read("0", 5), NOW) == first
    assert maker.head(Read("0", 5), NOW) is not first


def test_without_a_key_nothing_is_signed() -> None:
    assert b"Authorization" not in heads(access_key="").head(Read("k", 5), NOW)


def test_a_body_is_announced() -> None:
    assert b"Content-Length: 5\r\n" in heads().head(Write("k", b"hello"), NOW)
