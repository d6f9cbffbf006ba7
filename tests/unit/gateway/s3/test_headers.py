"""Headers: what a cached answer carries, what passes upstream, what passes back."""

from __future__ import annotations

import pytest

from cache.versions import ByteSpan
from gateway.s3.errors import S3Error
from gateway.s3.headers import (
    entry_headers,
    forward_request_headers,
    forward_response_headers,
    not_modified_headers,
    read_headers,
    strip_presigned,
    without_aws_chunked,
)
from tests.unit.gateway.s3.asking import ask, entry_of

STORED = (
    ("last-modified", "Fri, 24 May 2013 00:00:00 GMT"), ("etag", '"abc"'), ("content-type", "text/plain"),
    ("x-amz-meta-a", "1"), ("cache-control", "no-cache"), ("x-amz-version-id", "v1"),
)  # fmt: skip
SUMS = (("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-type", "FULL_OBJECT"))
ENTRY = entry_of(*STORED, *SUMS)
ASKED = {"x-amz-checksum-mode": "ENABLED"}


def test_a_whole_answer_has_the_stored_headers_in_their_order() -> None:
    assert read_headers(ENTRY, ask("GET", "/bucket/key"), None) == [*STORED, ("accept-ranges", "bytes")]


def test_a_partial_answer_says_which_part() -> None:
    expected = [*STORED, ("accept-ranges", "bytes"), ("content-range", "bytes 10-19/100")]
    assert read_headers(ENTRY, ask("GET", "/bucket/key", {"range": "bytes=10-19"}), ByteSpan(10, 20)) == expected


def test_the_etag_is_made_up_for_when_it_was_not_stored() -> None:
    assert ("etag", 'W/"odd-7"') in read_headers(entry_of(etag='W/"odd-7"'), ask("GET", "/bucket/key"), None)


@pytest.mark.parametrize(
    ("method", "target", "headers", "span", "carried"),
    [
        ("GET", "/bucket/key", {}, None, False), ("GET", "/bucket/key", ASKED, None, True),
        ("HEAD", "/bucket/key", ASKED, None, True), ("HEAD", "/bucket/key", {}, None, False),
        ("GET", "/bucket/key", {**ASKED, "range": "bytes=0-99"}, ByteSpan(0, 100), False),
        ("GET", "/bucket/key", {**ASKED, "range": "bytes=0-1,3-4"}, None, False),
        ("HEAD", "/bucket/key", {**ASKED, "range": "bytes=0-"}, ByteSpan(0, 100), False),
        ("GET", "/bucket/key?partNumber=1", ASKED, ByteSpan(0, 100), False),
        ("GET", "/bucket/key?partNumber=1", ASKED, None, False), ("GET", "/bucket/key?versionId=1", ASKED, None, True),
        ("GET", "/bucket/key?x-amz-checksum-mode=ENABLED", {}, None, True),
        ("GET", "/bucket/key?X-Amz-Checksum-Mode=enabled", {}, None, True),
        ("GET", "/bucket/key", {"x-amz-checksum-mode": "DISABLED"}, None, False),
    ],
)  # fmt: skip
def test_checksums_go_out_with_the_whole_object_alone(
    method: str, target: str, headers: dict[str, str], span: ByteSpan | None, carried: bool
) -> None:
    names = [name for name, _ in read_headers(ENTRY, ask(method, target, headers), span)]
    assert [name for name, _ in SUMS if name in names] == ([name for name, _ in SUMS] if carried else [])


def test_overrides_count_on_signed_requests() -> None:
    target = "/bucket/key?response-content-type=a%2Fb&response-expires=never&response-content-encoding="
    told = dict(read_headers(ENTRY, ask("GET", target, {"authorization": "x"}), None))
    assert (told["content-type"], told["expires"], told["content-encoding"]) == ("a/b", "never", "")
    assert told["x-amz-meta-a"] == "1"
    with pytest.raises(S3Error, match="anonymous"):
        read_headers(ENTRY, ask("GET", target), None)
    with pytest.raises(S3Error, match="control"):
        read_headers(ENTRY, ask("GET", "/bucket/key?response-expires=a%0d%0ab", {"authorization": "x"}), None)


def test_a_304_tells_what_identifies_the_version() -> None:
    assert not_modified_headers(ENTRY) == [STORED[0], STORED[1], STORED[4], STORED[5]]
    assert not_modified_headers(entry_of()) == [("etag", '"abc"')]


def test_an_entry_keeps_what_belongs_to_the_object() -> None:
    others = (
        ("Date", "now"), ("Server", "x"), ("Content-Length", "5"), ("Content-Range", "bytes 0-4/5"), ("X-Hop", "1"),
        ("Connection", "keep-alive, X-Hop"), ("Keep-Alive", "5"), ("Accept-Ranges", "bytes"), ("x-amz-id-2", "i"),
        ("x-amz-request-id", "r"), ("Transfer-Encoding", "chunked"), ("Via", "p"), ("Age", "1"),
    )  # fmt: skip
    kept = (("Last-Modified", "d"), ("ETag", 'W/"é"'), ("x-amz-meta-Name", "V"), ("x-amz-checksum-crc32", "s"))
    assert entry_headers([*others, *kept]) == tuple((name.lower(), value) for name, value in kept)


def test_what_goes_upstream() -> None:
    headers = [
        ("Host", "h"), ("Authorization", "a"), ("X-Amz-Date", "d"), ("x-amz-content-sha256", "s"), ("Expect", "100"),
        ("x-amz-security-token", "t"), ("Content-Length", "1"), ("Connection", "close, X-Private"), ("X-Private", "1"),
        ("TE", "trailers"), ("Upgrade", "h2c"), ("X-Forebay-Node", "me"), ("Transfer-Encoding", "chunked"),
    ]  # fmt: skip
    kept = {"range": "bytes=0-1", "x-amz-meta-a": "1", "x-amz-trailer": "x", "content-encoding": "gzip"}
    assert forward_request_headers([*headers, *((name.upper(), value) for name, value in kept.items())]) == kept


def test_what_comes_back() -> None:
    headers = [("Connection", "x-hop"), ("X-Hop", "1"), ("Date", "d"), ("Server", "s"), ("Content-Length", "1"),
               ("ETag", "e"), ("x-amz-request-id", "r"), ("Set-Cookie", "a"), ("Set-Cookie", "b")]  # fmt: skip
    expected = [("etag", "e"), ("x-amz-request-id", "r"), ("set-cookie", "a"), ("set-cookie", "b")]
    assert forward_response_headers(headers) == expected


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b"", b""), (b"acl", b"acl"), (b"b=%2F&a=+&X-Amz-Signature=1", b"b=%2F&a=+"),
        (b"X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Date=c&X-Amz-Expires=d&X-Amz-SignedHeaders=e&X-Amz-Signature=f"
         b"&X-Amz-Security-Token=g&X-Amz-Content-Sha256=h", b""),
        (b"X-Amz%2DSignature=1&%61=1", b"%61=1"), (b"x-amz-acl=private", b"x-amz-acl=private"),
        (b"x-amz-signature=1&prefix=x-amz-date", b"prefix=x-amz-date"),
    ],
)  # fmt: skip
def test_a_presigned_query_loses_its_signature_alone(raw: bytes, left: bytes) -> None:
    assert strip_presigned(raw) == left


@pytest.mark.parametrize(
    ("given", "left"),
    [("aws-chunked", ""), ("gzip,aws-chunked", "gzip"), ("AWS-Chunked, gzip , br", "gzip,br"), ("", "")],
)
def test_aws_chunked_is_no_coding_of_the_object(given: str, left: str) -> None:
    assert without_aws_chunked(given) == left
