"""The head of an HTTP/1.1 answer, parsed (RFC 9112), and the bytes of an S3 request, rendered.

Nothing here touches a socket. A :class:`Head` knows how its body is framed, because that is what tells a whole body
from one that was cut: only a body whose length was announced (or that came in chunks up to the last one) can be known
to be whole. Header names are lower case; of a repeated header the last value counts, which suits those read here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from gateway.client.endpoint import Gateway
from gateway.s3.sigv4 import EMPTY_SHA256, Credentials, sign

PATH_SAFE: Final = "/-_.~"


class BadAnswer(Exception):
    """The peer does not speak HTTP/1.1 as we need it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One body-less S3 request, path style. ``query`` is decoded; ``headers`` are further ones, unsigned."""

    method: str
    bucket: str = ""
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def asked(self) -> str:
        """What an error message calls it."""
        return f"{self.method} {self.bucket}/{self.key}".rstrip("/ ")

    def render(self, gateway: Gateway, now: float) -> bytes:
        """The request's bytes, signed as of ``now`` (seconds since the epoch) when there are credentials."""
        path = "/" + quote(self.bucket, safe=PATH_SAFE) + ("/" + quote(self.key, safe=PATH_SAFE) if self.key else "")
        pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in self.query)
        query = "&".join(f"{name}={value}" for name, value in pairs)
        headers = {"host": gateway.authority}
        if gateway.access_key:
            credentials = Credentials(gateway.access_key, gateway.secret_key, gateway.session_token)
            headers |= sign(self.method, path, query, headers, EMPTY_SHA256, credentials, gateway.region, now)
        lines = [f"{self.method} {path}{'?' + query if query else ''} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *_tags(gateway))]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _tags(gateway: Gateway) -> list[tuple[str, str]]:
    """How the meter is told whose request this is."""
    tags = (("job", gateway.job), ("rank", gateway.rank), ("gpus", str(gateway.gpus or "")))
    return [(f"x-forebay-{name}", value) for name, value in tags if value]


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's status and headers, and how its body ends."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    http11: bool = True

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        """Announced bytes of the body; None when there is no such announcement. Raises BadAnswer."""
        if self.status in {204, 304}:
            return 0
        text = self.headers.get("content-length")
        if text is None or self.chunked:
            return None
        if not (text.isascii() and text.isdigit()):
            raise BadAnswer(f"Content-Length {text!r}")
        return int(text)

    @property
    def keeps_alive(self) -> bool:
        """Whether another request may follow on the same connection."""
        return self.http11 and self.headers.get("connection", "").lower() != "close"

    @property
    def total(self) -> int | None:
        """The whole object's size: of a 206 or 416 from Content-Range (None if that does not say), else the length."""
        if self.status not in {206, 416}:
            return self.length
        size = self.headers.get("content-range", "").rpartition("/")[2]
        return int(size) if size.isascii() and size.isdigit() else None

    @property
    def first(self) -> int:
        """Where in the object the body begins. Raises BadAnswer for a 206 that does not say."""
        if self.status != 206:
            return 0
        start = self.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
        if not (start.isascii() and start.isdigit()):
            raise BadAnswer(f"206 with Content-Range {self.headers.get('content-range')!r}")
        return int(start)


def parse_head(raw: bytes) -> Head:
    """The head up to (not including) its empty line. Raises BadAnswer for anything but HTTP/1.x."""
    lines = raw.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit() and len(status) == 3):
        raise BadAnswer(f"status line {lines[0][:80]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise BadAnswer(f"header line {line[:80]!r}")
        headers[name.lower()] = value.strip()
    return Head(int(status), headers, http11=version == "HTTP/1.1")
