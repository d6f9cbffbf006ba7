"""Requests for the tests of ``gateway.s3``: built as the door builds them."""

from __future__ import annotations

from cache.versions import Entry, ObjectVersion
from gateway.s3.requests import S3Request, parse_request

DOMAINS = ("localhost", "s3.amazonaws.com")


def ask(method: str, target: str, headers: dict[str, str] | None = None, *, host: str = "127.0.0.1:9000") -> S3Request:
    """A parsed request."""
    fields = {"host": host, **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    return parse_request(method, target.encode(), raw, DOMAINS)


def entry_of(*headers: tuple[str, str], etag: str = '"abc"', size: int = 100) -> Entry:
    """A catalog entry with those stored headers."""
    return Entry(ObjectVersion("http://up", "bucket", "key", etag, size), headers, 0.0, 0)
