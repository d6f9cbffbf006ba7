"""Requests for the tests of ``gateway.s3``: built as the door builds them."""

from __future__ import annotations

import pytest

from cache.versions import Entry, ObjectVersion
from gateway.s3.errors import S3Error
from gateway.s3.requests import S3Request, parse_request
from gateway.s3.sigv4 import Authenticated, Credentials, authenticate

DOMAINS = ("localhost", "s3.amazonaws.com")
DOC = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
DOC_TIME = 1369353600.0
ALICE = Credentials("alice", "alice-secret-key")
TEMPORARY = Credentials("temp", "temp-secret-key", "a-token/with+odd=chars")
KNOWN = {one.access_key: one for one in (DOC, ALICE, TEMPORARY)}


def ask(method: str, target: str, headers: dict[str, str] | None = None, *, host: str = "127.0.0.1:9000") -> S3Request:
    """A parsed request."""
    fields = {"host": host, **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    return parse_request(method, target.encode(), raw, DOMAINS)


def entry_of(*headers: tuple[str, str], etag: str = '"abc"', size: int = 100) -> Entry:
    """A catalog entry with those stored headers."""
    return Entry(ObjectVersion("http://up", "bucket", "key", etag, size), headers, 0.0, 0)


def admit(request: S3Request, *, now: float = DOC_TIME, region: str = "") -> Authenticated:
    """Who the request is from."""
    return authenticate(request, KNOWN.get, now=now, region=region)


def refusal(request: S3Request, *, now: float = DOC_TIME, region: str = "") -> tuple[str, int]:
    """The code and status with which a request is refused."""
    with pytest.raises(S3Error) as refused:
        admit(request, now=now, region=region)
    return refused.value.code, refused.value.status
