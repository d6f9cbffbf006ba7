"""The table of operations, row by row, and what no row names."""

from __future__ import annotations

import pytest

from gateway.s3.errors import S3Error
from gateway.s3.operations import LIST_BUCKETS, REFUSED, SUBRESOURCES, TABLE, Operation, classify, rights
from tests.unit.gateway.s3.asking import ask

COPY = {"x-amz-copy-source": "/source/from%20here?versionId=7"}


def request_of(row: tuple[str, bool, str]) -> tuple[str, str]:
    method, has_key, sub = row
    value = "=1&partNumber=1" if sub == "uploadId" else ""
    return method, "/bucket" + ("/key" if has_key else "") + (f"?{sub}{value}" if sub else "")


@pytest.mark.parametrize(
    ("method", "query"),
    [("PUT", "uploadId=x"), ("PUT", "uploadId=x&partNumber="), ("PUT", "uploadId=&partNumber=1"), ("GET", "uploadId")],
)
def test_an_upload_and_its_part_must_be_named(method: str, query: str) -> None:
    with pytest.raises(S3Error) as caught:
        classify(ask(method, f"/bucket/key?{query}"))
    assert caught.value.code == "InvalidArgument"


@pytest.mark.parametrize("sub", ["policy", "acl", "metadataTable", "versioning"])
def test_a_prefix_limits_nothing_where_upstream_ignores_it(sub: str) -> None:
    request = ask("GET", f"/bucket?{sub}&prefix=mine/")
    assert rights(request, classify(request)) == (("list", "bucket", ""),)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_row_is_found(row: tuple[str, bool, str]) -> None:
    assert classify(ask(*request_of(row))) is TABLE[row]
    method, target = request_of(row)
    other = "&" if "?" in target else "?"
    with_more = classify(ask(method, f"{target}{other}x-id=Whatever&versionId=1"))
    assert with_more == TABLE[row]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_row_keeps_the_house_rules(row: tuple[str, bool, str]) -> None:
    method, has_key, sub = row
    operation = TABLE[row]
    assert (operation.route == "read") == (has_key and not sub and method in {"GET", "HEAD"})
    if method in {"GET", "HEAD"}:
        assert operation.invalidates == "nothing"
        assert has_key or operation.permission in {"list", "visit"}
    if operation.invalidates != "nothing":
        assert operation.permission == "write"
    assert (operation.invalidates == "keys-in-body") == (operation.name == "DeleteObjects")
    if not has_key and method in {"PUT", "DELETE"}:
        assert operation.permission == "write"


def test_names_are_unique() -> None:
    names = [operation.name for operation in TABLE.values()]
    assert len(names) == len(set(names))
    assert len(TABLE) > 75


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_every_refused_row_is_refused(row: tuple[str, bool, str]) -> None:
    with pytest.raises(S3Error, match=REFUSED[row]) as refused:
        classify(ask(*request_of(row)))
    assert refused.value.status == 501


@pytest.mark.parametrize(
    ("method", "target", "operation"),
    [
        ("GET", "/", LIST_BUCKETS), ("GET", "/?x-id=ListBuckets", LIST_BUCKETS),
        ("HEAD", "/", Operation("Unknown", "list")), ("PUT", "/", Operation("Unknown", "write")),
        ("PATCH", "/bucket/key", Operation("Unknown", "write", "forward", "key")),
        ("POST", "/bucket/key", Operation("Unknown", "write", "forward", "key")),
        ("PUT", "/bucket/key?uploads", Operation("Unknown", "write", "forward", "key")),
        ("POST", "/bucket/key?append&position=0", Operation("Unknown", "write", "forward", "key")),
        ("DELETE", "/bucket?versions", Operation("Unknown", "write")),
        ("HEAD", "/bucket/key?acl", Operation("Unknown", "read")),
        ("GET", "/bucket/key?list-type=2", Operation("Unknown", "read")),
        ("OPTIONS", "/bucket/key", Operation("Unknown", "write", "forward", "key")),
    ],
)  # fmt: skip
def test_what_no_row_names_meets_the_default(method: str, target: str, operation: Operation) -> None:
    assert classify(ask(method, target)) == operation


@pytest.mark.parametrize("target", ["/bucket?form", "/bucket?uploads", "/bucket?x-id=PostObject"])
def test_no_post_to_a_bucket_writes_an_unseen_key(target: str) -> None:
    with pytest.raises(S3Error) as refused:
        classify(ask("POST", target))
    assert refused.value.status == 501


@pytest.mark.parametrize(
    "target", ["/bucket/key?acl&tagging", "/bucket?list-type=2&versions", "/bucket?delete&uploads"]
)
def test_two_subresources_are_refused(target: str) -> None:
    with pytest.raises(S3Error) as refused:
        classify(ask("GET", target))
    assert refused.value.code == "InvalidRequest"


READS = [
    "/bucket/key", "/bucket/key?versionId=1", "/bucket/key?partNumber=1&versionId=1", "/bucket/key?x-id=GetObject",
    "/bucket/key?response-content-type=a", "/bucket/key?X-Amz-Signature=1&X-Amz-Date=2", "/bucket/key?x-amz-meta-a=1",
]  # fmt: skip
FORWARDED = [
    "/bucket/key?x-oss-process=image", "/bucket/key?other", "/bucket/key?prefix=a", "/bucket/key?cachebuster=1",
    "/bucket/key?x-amz-expected-bucket-owner=1", "/bucket/key?X-Amz-Request-Payer=requester",
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_only_a_plain_read_is_read_here(method: str) -> None:
    for target in READS:
        assert classify(ask(method, target)).route == "read"
    for target in FORWARDED:
        operation = classify(ask(method, target))
        assert (operation.route, operation.permission, operation.name[-6:]) == ("forward", "read", "Object")
    for suffix in ("server-side-encryption-customer-key", "expected-bucket-owner", "request-payer"):
        assert classify(ask(method, "/bucket/key", {f"x-amz-{suffix}": "x"})).route == "forward"


def test_copies_need_the_right_to_read_the_source() -> None:
    copy = ask("PUT", "/bucket/key", COPY)
    assert classify(copy) == Operation("CopyObject", "write", "forward", "key")
    assert rights(copy, classify(copy)) == (("write", "bucket", "key"), ("read", "source", "from here"))
    part = ask("PUT", "/bucket/key?partNumber=1&uploadId=u", COPY)
    assert classify(part) == Operation("UploadPartCopy", "write")
    assert ("read", "source", "from here") in rights(part, classify(part))
    hidden = ask("PUT", "/bucket/key?x-amz-copy-source=source%2Fk")
    assert classify(hidden).name == "CopyObject"
    odd = ask("PUT", "/bucket/key?acl", COPY)
    assert ("read", "source", "from here") in rights(odd, classify(odd))
    with pytest.raises(S3Error):
        classify(ask("PUT", "/bucket/key", {"x-amz-copy-source": ""}))


@pytest.mark.parametrize(
    ("method", "target", "needed"),
    [
        ("GET", "/", ("list", "*", "")), ("GET", "/bucket/key", ("read", "bucket", "key")),
        ("GET", "/bucket?list-type=2&prefix=a%2Fb", ("list", "bucket", "a/b")),
        ("GET", "/bucket", ("list", "bucket", "")),
        ("GET", "/bucket?versions&prefix=p", ("list", "bucket", "p")), ("HEAD", "/bucket", ("visit", "bucket", "")),
        ("GET", "/bucket?location", ("visit", "bucket", "")), ("PUT", "/bucket", ("write", "bucket", "")),
        ("POST", "/bucket?delete", ("visit", "bucket", "")), ("PUT", "/bucket/a/../b", ("write", "bucket", "a/../b")),
        ("GET", "/bucket/key?prefix=x", ("read", "bucket", "key")),
        ("PUT", "/bucket?policy&prefix=p", ("write", "bucket", "")),
    ],
)  # fmt: skip
def test_rights(method: str, target: str, needed: tuple[str, str, str]) -> None:
    request = ask(method, target)
    assert rights(request, classify(request)) == (needed,)


def test_parameters_of_operations_select_none() -> None:
    assert SUBRESOURCES.isdisjoint({"prefix", "partNumber", "versionId", "id", "select-type", "x-id", "max-keys"})
