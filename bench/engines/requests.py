"""Request heads of the raw engine: signed, with the headers that boto3 sends.

Host style puts the bucket into the Host header, path style into the path; either way the connection goes to the
endpoint's address, so host style needs no name server. Bodies are sent as ``UNSIGNED-PAYLOAD`` (hashing them would
measure this client), reads carry the hash of nothing, as boto3 does.

A signature holds to the second, so the head of the same operation is made once a second and kept: at 40,000 small
reads a second the client would otherwise spend its time on its own signatures. The server cannot tell and verifies
each one. At most ``HEADS_MAX`` are kept. Without an access key requests go out unsigned. Sans-IO: time comes in.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

from bench.operations import List, MakeBucket, Operation, OperationFailed, Probe, Read, ReadBatch, Remove, Write
from bench.plan import Door
from gateway.s3.sigv4 import Credentials, sign

HEADS_MAX: Final = 4096
_NOTHING: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_AGENT: Final = (
    "Boto3/1.43.0 md/Botocore#1.43.0 ua/2.1 os/linux md/arch#x86_64 lang/python#3.11 md/pyimpl#CPython "
    "m/N,Z,b,D,e cfg/retry-mode#legacy forebay-bench"
)
_TRACE: Final = {
    "amz-sdk-invocation-id": "4d8f3c1e-5b0a-4c57-9f61-0d7a2b9c6e13",
    "amz-sdk-request": "attempt=1",
}
_SPELLED: Final = {
    "accept-encoding": "Accept-Encoding",
    "range": "Range",
    "user-agent": "User-Agent",
    "x-amz-date": "X-Amz-Date",
    "x-amz-security-token": "X-Amz-Security-Token",
    "authorization": "Authorization",
    "content-length": "Content-Length",
}
_METHODS: Final[dict[type[Operation], str]] = {
    Read: "GET",
    Write: "PUT",
    Probe: "HEAD",
    List: "GET",
    Remove: "DELETE",
    MakeBucket: "PUT",
}


def method_of(operation: Operation) -> str:
    """The HTTP method that does it. Raises OperationFailed where no single request does."""
    try:
        return _METHODS[type(operation)]
    except KeyError as fault:
        raise OperationFailed("NotSupported") from fault


class Heads:
    """Makes the heads of one door's requests; ``endpoint`` is the URL that they go to."""

    def __init__(self, door: Door, endpoint: str) -> None:
        where = urlsplit(endpoint)
        self._door = door
        self._host = f"{door.bucket}.{where.netloc}" if door.lookup == "host" else where.netloc
        self._root = "/" if door.lookup == "host" else f"/{quote(door.bucket)}/"
        self._credentials = Credentials(door.access_key, door.secret_key, door.session_token)
        self._kept: dict[Operation, bytes] = {}
        self._second = 0

    @property
    def host(self) -> str:
        """The Host header, with the port where it has one."""
        return self._host

    def head(self, operation: Operation, now: float) -> bytes:
        """The request's head, complete; ``now``: seconds since 1970."""
        if int(now) != self._second or len(self._kept) >= HEADS_MAX:
            self._kept.clear()
            self._second = int(now)
        if isinstance(operation, Write):
            return self._make(operation, now)  # its body is no key for a dict
        head = self._kept.get(operation)
        if head is None:
            head = self._kept[operation] = self._make(operation, now)
        return head

    def _make(self, operation: Operation, now: float) -> bytes:
        method = method_of(operation)
        path = self._path(operation)
        query = f"list-type=2&prefix={quote(operation.prefix, safe='-_.~')}" if isinstance(operation, List) else ""
        headers = {"host": self._host, **_extra(operation)}
        if self._door.access_key:
            payload = "UNSIGNED-PAYLOAD" if isinstance(operation, Write) else _NOTHING
            headers |= sign(method, path, query, headers, payload, self._credentials, self._door.region, now)
        headers = {"accept-encoding": "identity", "user-agent": _AGENT, **headers, **_TRACE}
        fields = (f"{_SPELLED.get(name, name)}: {value}" for name, value in headers.items())
        target = f"{path}?{query}" if query else path
        lines = [f"{method} {target} HTTP/1.1", *fields]
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def _path(self, operation: Operation) -> str:
        if isinstance(operation, MakeBucket | List | ReadBatch):
            return self._root.rstrip("/") or "/"
        return self._root + quote(operation.key, safe="/-_.~")


def _extra(operation: Operation) -> dict[str, str]:
    if isinstance(operation, Write):
        return {"content-length": str(len(operation.body))}
    if isinstance(operation, MakeBucket):
        return {"content-length": "0"}
    if isinstance(operation, Read):
        span = operation.span
        ranged = {"range": f"bytes={span.start}-{span.stop - 1}"} if span else {}
        return {"x-amz-checksum-mode": "ENABLED", **ranged}
    return {}
