"""Signatures at the fake S3, checked with the gateway's own authenticator (whose vectors are tested elsewhere)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gateway.s3.errors import S3Error
from gateway.s3.requests import parse_request
from gateway.s3.sigv4 import Credentials, authenticate

if TYPE_CHECKING:
    from tests.doubles.fake_s3 import Seen


def checks_signatures(holders: Mapping[str, Credentials]) -> Callable[[Seen], bool]:
    """A ``verify`` for FakeS3 that lets in requests signed by one of ``holders`` (by access key)."""

    def verify(seen: Seen) -> bool:
        target = f"{seen.raw_path}?{seen.raw_query}" if seen.raw_query else seen.raw_path
        headers = [(name.encode(), value.encode()) for name, value in seen.headers.items()]
        try:
            request = parse_request(seen.method, target.encode(), headers, ())
            authenticate(request, holders.get, now=time.time())
        except S3Error:
            return False
        return True

    return verify
