"""The XML that is read: DeleteObjects bodies, and error documents under a good status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.versions import ObjectRef
from gateway.s3.errors import S3Error, escape_text
from gateway.s3.xml import DELETE_BYTES_MAX, error_code, parse_delete_objects

NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn", "Co", "Cc", "Cf", "Zs", "Zl", "Zp"]),
               min_size=1, max_size=40)  # fmt: skip


def body_of(*objects: str) -> bytes:
    inner = "".join(f"<Object>{one}</Object>" for one in objects)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Delete {NS}>\n {inner}<Quiet>true</Quiet></Delete>'.encode()


def test_objects_are_named_by_key_and_version() -> None:
    body = body_of("<Key>a&amp;b</Key>", "<Key> c </Key><VersionId>7</VersionId><ETag>x</ETag>")
    assert parse_delete_objects("bucket", body) == (ObjectRef("bucket", "a&b"), ObjectRef("bucket", " c ", "7"))
    assert parse_delete_objects("b", b"<Delete><Object><Key>a</Key></Object></Delete>") == (ObjectRef("b", "a"),)


@given(keys=st.lists(TEXT, min_size=1, max_size=20))
def test_keys_come_out_as_they_went_in(keys: list[str]) -> None:
    body = body_of(*(f"<Key>{escape_text(key)}</Key>" for key in keys))
    assert [ref.key for ref in parse_delete_objects("bucket", body)] == keys


def test_a_thousand_keys_and_no_more() -> None:
    assert len(parse_delete_objects("bucket", body_of(*["<Key>a</Key>"] * 1000))) == 1000
    with pytest.raises(S3Error):
        parse_delete_objects("bucket", body_of(*["<Key>a</Key>"] * 1001))


BOMB = b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>'


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"<Delete>", b"<Delete/>", b"<Other><Object><Key>a</Key></Object></Other>", BOMB, body_of(""),
        body_of("<Key></Key>"), body_of("<VersionId>1</VersionId>"), body_of("<Key>a</Key><Key>b</Key>"),
        body_of("<Key>" + "k" * 1025 + "</Key>"), b"<Delete><Object><Key>\xff</Key></Object></Delete>",
        b"<a>" * 100_000, b"<Delete>" + b"<a/>" * 20_000 + b"</Delete>", b" " * (DELETE_BYTES_MAX + 1),
        b"<!DOCTYPE d><Delete><Object><Key>a</Key></Object></Delete>",
        b'<?xml version="1.0" encoding="nonsense"?><Delete><Object><Key>a</Key></Object></Delete>',
        b'<Delete><Object><Key>&x;</Key></Object></Delete>', b"<Delete><Key>a</Key></Delete>",
        b"<Delete><Object><Key>a</Key></Object></Delete><Delete/>",
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_bodies_that_are_refused(body: bytes) -> None:
    with pytest.raises(S3Error) as refused:
        parse_delete_objects("bucket", body)
    assert refused.value.code == "MalformedXML"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"<Error><Code>InternalError</Code></Error>", "InternalError"), (b"<Error/>", "Unknown"), (b"", ""),
        (f"\n\n<Error {NS}><Message>m</Message><Code>SlowDown</Code></Error>".encode(), "SlowDown"),
        (b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>", ""), (b"<Error><Code>a", ""), (BOMB, ""),
        (b"<DeleteResult><Error><Code>AccessDenied</Code></Error></DeleteResult>", ""),
    ],
)  # fmt: skip
def test_error_documents_are_recognised(document: bytes, code: str) -> None:
    assert error_code(document) == code
