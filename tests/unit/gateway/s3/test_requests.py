"""The door: what is taken apart, what is data, what is refused."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.versions import ObjectRef
from gateway.s3.errors import S3Error
from gateway.s3.requests import (
    HEAD_BYTES_MAX,
    SINGLETONS,
    copy_source,
    parse_copy_source,
    parse_request,
    read_head,
    render_copy_source,
)
from tests.unit.gateway.s3.asking import ask

HEAD = b"GET /b/k?x=1 HTTP/1.1\r\nHost: h:1\r\nX-Amz-Date:  now \t\r\nEmpty:\r\n\r\n"
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


def test_a_plain_head_is_split() -> None:
    fields = {"host": "h:1", "x-amz-date": "now", "empty": ""}
    assert read_head(HEAD) == ("GET", b"/b/k?x=1", fields)
    assert read_head(HEAD.replace(b"GET", b"HEAD")) == ("HEAD", b"/b/k?x=1", fields)
    assert read_head(HEAD.replace(b"Empty:", b"Content-Length: 0")) is not None


@pytest.mark.parametrize(
    "head",
    [
        b"", b"\r\n\r\n", HEAD[:-2], HEAD + b"x", HEAD + HEAD, HEAD.replace(b"GET", b"PUT"),
        HEAD.replace(b"GET", b"get"), HEAD.replace(b"1.1", b"1.0"), HEAD.replace(b"1.1", b"2.0"),
        HEAD.replace(b"/b/k", b"http://h/b/k"), HEAD.replace(b"/b/k?x=1", b"*"), HEAD.replace(b"/b/k", b"/b/\xc3\xa9"),
        HEAD.replace(b"/b/k", b"/b k"), HEAD.replace(b"/b/k", b"/b#k"), HEAD.replace(b"GET ", b"GET  "),
        HEAD.replace(b"Host", b"Ho st"), HEAD.replace(b"Host:", b"Host :"), HEAD.replace(b"Host", b"Hosts"),
        HEAD.replace(b"Empty", b"Host"), HEAD.replace(b"Empty:", b" folded: 1"), HEAD.replace(b"Empty:", b"\tfolded"),
        HEAD.replace(b"Empty:", b"Empty"), HEAD.replace(b"Empty:", b":x"), HEAD.replace(b"now", b"n\row"),
        HEAD.replace(b"now", b"n\now"), HEAD.replace(b"now", b"n\0w"), HEAD.replace(b"now", b"n\x7fw"),
        HEAD.replace(b"Empty:", b"Content-Length: 1"), HEAD.replace(b"Empty:", b"Content-Length: 00"),
        HEAD.replace(b"Empty:", b"Content-Length:"), HEAD.replace(b"Empty:", b"content-length: 0\r\nContent-Length: 0"),
        HEAD.replace(b"Empty:", b"Transfer-Encoding: chunked"), HEAD.replace(b"Empty:", b"EXPECT: 100-continue"),
        HEAD.replace(b"Empty:", b"Upgrade: h2c"), HEAD.replace(b"Empty:", b"Trailer: x"),
        HEAD.replace(b"now", b"x" * HEAD_BYTES_MAX), b"GET / HTTP/1.1\r\n\r\n", HEAD.replace(b"\r\n", b"\n"),
        b"\r\n" + HEAD, HEAD.replace(b"Emp", b"\xe9mp"),
    ],
)  # fmt: skip
def test_whatever_is_odd_is_left_to_the_full_parser(head: bytes) -> None:
    assert read_head(head) is None


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(HEAD) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_never_breaks_the_splitter(position: int, byte: int) -> None:
    head = HEAD[:position] + bytes([byte]) + HEAD[position + 1 :]
    split = read_head(head)
    if split is not None:
        _, target, fields = split
        assert not {0, 10, 13} & {*target, *"".join(name + value for name, value in fields.items()).encode()}
        assert b" " not in target
        assert len(fields) == 3


@given(key=KEYS, virtual=st.booleans())
def test_a_key_is_what_was_encoded(key: str, virtual: bool) -> None:
    host, path = ("bucket.localhost:9000", "/") if virtual else ("localhost:9000", "/bucket/")
    request = ask("GET", path + quote(key, safe=""), host=host)
    assert (request.bucket, request.key) == ("bucket", key)
    assert request.ref == ObjectRef("bucket", key)


@pytest.mark.parametrize(
    ("target", "bucket", "key"),
    [
        ("/", "", ""), ("/bucket", "bucket", ""), ("/bucket/", "bucket", ""), ("/bucket//k", "bucket", "/k"),
        ("/bucket/a/../b/./c//", "bucket", "a/../b/./c//"), ("/bucket/%2e%2e/x", "bucket", "../x"),
        ("/bucket/a%2Fb", "bucket", "a/b"), ("/bucket/a%252Fb", "bucket", "a%2Fb"), ("/bucket/a+b", "bucket", "a+b"),
        ("/bucket/a%3Fb%23", "bucket", "a?b#"), ("/bucket/%0d%0a", "bucket", "\r\n"), ("/bucket?x=1", "bucket", ""),
        ("/%62ucket/k", "bucket", "k"), ("http://other/bucket/k?x=1", "bucket", "k"), ("HTTP://h", "", ""),
        ("http://h?x=/a", "", ""),
    ],
)  # fmt: skip
def test_targets(target: str, bucket: str, key: str) -> None:
    request = ask("GET", target)
    assert (request.bucket, request.key) == (bucket, key)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("*", "InvalidURI"), ("", "InvalidURI"), ("host:443", "InvalidURI"), ("ftp://h/x", "InvalidURI"),
        ("/bucket/k#x", "InvalidURI"), ("/bucket/%00", "InvalidURI"), ("/bucket/%ff", "InvalidURI"),
        ("/bucket/%2", "InvalidURI"), ("/bucket/%zz", "InvalidURI"), ("/bucket/\xe9", "InvalidURI"),
        ("/bucket/k?a=%ff", "InvalidURI"), ("/bucket/k?%00=1", "InvalidURI"), ("/bucket/k?a=1&a=1", "InvalidArgument"),
        ("/bucket/k?a=1&%61=2", "InvalidArgument"), ("/bucket/k?acl&acl", "InvalidArgument"),
        ("//k", "InvalidBucketName"), ("/BUCKET/k", "InvalidBucketName"), ("/../k", "InvalidBucketName"),
        ("/b%2Fc/k", "InvalidBucketName"), ("/bucket/" + "k" * 1025, "KeyTooLongError"),
        ("/bucket/" + "%e2%82%ac" * 342, "KeyTooLongError"),
    ],
)  # fmt: skip
def test_targets_that_are_refused(target: str, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        ask("GET", target)
    assert refused.value.code == code


def test_long_keys_are_counted_in_decoded_bytes() -> None:
    assert len(ask("GET", "/bucket/" + "k" * 1024).key) == 1024
    assert len(ask("GET", "/bucket/" + "%6b" * 1024).key) == 1024


def test_queries_are_decoded() -> None:
    request = ask("GET", "/bucket?a=x%2By+z&acl&b=&&c=1=2&%C3%A9=%E2%82%AC&versionId=v")
    assert request.query == {"a": "x+y z", "acl": "", "b": "", "c": "1=2", "é": "€", "versionId": "v"}
    assert request.raw_query == b"a=x%2By+z&acl&b=&&c=1=2&%C3%A9=%E2%82%AC&versionId=v"
    assert request.ref.version_id == "v"


@pytest.mark.parametrize("name", sorted(SINGLETONS))
def test_a_repeated_singleton_is_refused(name: str) -> None:
    headers = [(b"Host", b"h"), (name.encode(), b"1"), (name.upper().encode(), b"1")]
    with pytest.raises(S3Error, match="given twice"):
        parse_request("GET", b"/", headers, ())


def test_other_headers_are_joined() -> None:
    request = parse_request("GET", b"/", [(b"Host", b"h"), (b"X-Amz-Meta-A", b"1"), (b"x-amz-meta-a", b"2")], ())
    assert request.headers == {"host": "h", "x-amz-meta-a": "1,2"}
    assert request.host == "h"


def test_headers_are_text() -> None:
    assert parse_request("GET", b"/", [(b"a", "é".encode())], ()).headers == {"a": "é"}
    for pair in ((b"a", b"\xff"), (b"\xff", b"a")):
        with pytest.raises(S3Error, match="UTF-8"):
            parse_request("GET", b"/", [pair], ())


def test_a_claim_of_a_signature_is_seen() -> None:
    assert ask("GET", "/", {"authorization": "x"}).carries_signature
    assert ask("GET", "/?X-Amz-Signature=x").carries_signature
    assert not ask("GET", "/").carries_signature


@given(key=KEYS, version=st.sampled_from(["", "v1", "a/b?c=d&e"]))
def test_a_copy_source_is_decoded_once(key: str, version: str) -> None:
    ref = ObjectRef("bucket", key, version)
    assert parse_copy_source(render_copy_source(ref)) == ref
    assert parse_copy_source("/" + render_copy_source(ref)) == ref


@pytest.mark.parametrize(
    "value",
    ["", "/", "bucket", "bucket/", "BUCKET/k", "bucket/%ff", "bucket/k?other=1", "bucket/k?versionId=1&versionId=2",
     "arn:aws:s3:us-east-1:1:accesspoint/x/object/k", "bucket/" + "k" * 1025],
)  # fmt: skip
def test_copy_sources_that_are_refused(value: str) -> None:
    with pytest.raises(S3Error):
        parse_copy_source(value)


def test_a_copy_source_is_found_wherever_it_stands() -> None:
    assert copy_source(ask("PUT", "/bucket/k")) is None
    assert copy_source(ask("PUT", "/bucket/k", {"x-amz-copy-source": "other/a%20b"})) == ObjectRef("other", "a b")
    assert copy_source(ask("PUT", "/bucket/k?X-Amz-Copy-Source=other%2Fa%2520b")) == ObjectRef("other", "a b")
    with pytest.raises(S3Error, match="given twice"):
        copy_source(ask("PUT", "/bucket/k?x-amz-copy-source=a/b", {"x-amz-copy-source": "other/a"}))
