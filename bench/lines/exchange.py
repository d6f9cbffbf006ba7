"""One signed request with any query over a kept connection, its body streamed: what the raw engine does not do.

A parameter that no S3 operation knows makes a read depend on more than the object, so the gateway forwards it: that is
how a forwarded GET is asked for here. Bodies are sent as ``UNSIGNED-PAYLOAD``; what comes is counted and dropped. A
shell.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from bench.plan import Door
from gateway.s3.sigv4 import Credentials, sign

_BUFFER_BYTES: Final = 1024 * 1024
_PAYLOAD: Final = "UNSIGNED-PAYLOAD"


class ExchangeFailed(Exception):
    """An answer that was no success; one line for people."""


class Exchange:
    """A kept connection to a door."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._host = urlsplit(door.endpoints[0]).netloc
        self._credentials = Credentials(door.access_key, door.secret_key, door.session_token)
        self._connection = http.client.HTTPConnection(self._host, timeout=120)
        self._buffer = bytearray(_BUFFER_BYTES)

    def timed(self, method: str, key: str, *, query: str = "", body: bytes = b"") -> float:
        """Do it; the seconds until the answer's last byte. Raises ExchangeFailed, OSError."""
        path = f"/{self._door.bucket}/{key}"
        headers = {"host": self._host, "content-length": str(len(body))}
        headers |= sign(method, path, query, headers, _PAYLOAD, self._credentials, self._door.region, time.time())
        began_s = time.monotonic()
        self._connection.request(method, f"{path}?{query}" if query else path, body=body or None, headers=headers)
        answer = self._connection.getresponse()
        while answer.readinto(self._buffer):
            pass
        if answer.status not in (200, 206):
            raise ExchangeFailed(f"{method} {path}: {answer.status}")
        return time.monotonic() - began_s

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def exchange_with(door: Door) -> Iterator[Exchange]:
    """A connection until the context ends."""
    exchange = Exchange(door)
    try:
        yield exchange
    finally:
        exchange.close()
