"""An upstream with the manners of a distant bucket: the first byte comes late, and each connection has its own limit.

``python -m bench.servers.shaped --port N --first-byte-ms 50 --rate 100MB/s`` answers GET (ranges too) and HEAD of every
key that ends in ``<size>/<number>`` with so many bytes: nothing need be uploaded, and ``sendfile`` sends from memory,
so that a shaped upstream costs little of a small machine. Every answer begins ``first-byte`` after its request's head,
then leaves at ``rate`` per connection. It checks no signature. PUT takes a body and forgets it. It counts what it was
asked for: ``GET /-/counts`` is ``[[method, path, range, count], …]``, ``GET /-/forget`` begins anew. A shell.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote

from bench.servers.child import Listening, free_port, running
from gateway.quantities import parse_rate

POOL_BYTES: Final = 16 * 1024 * 1024
SLICE_BYTES: Final = 256 * 1024
_HEAD_BYTES_MAX: Final = 32 * 1024
_MISSING: Final = b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request's head: ``length`` is its body's."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def length(self) -> int:
        """Body bytes to come."""
        return int(self.headers.get("content-length", "0"))


def parse_ask(head: bytes) -> Ask:
    """A head, complete. Raises ValueError."""
    first, *fields = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (field.partition(":") for field in fields if field)
    return Ask(method, unquote(target.partition("?")[0]), {name.lower(): value.strip() for name, _, value in pairs})


def size_of(path: str) -> int | None:
    """How large the object under ``/bucket/…<size>/<number>`` is; None where the key names no size."""
    words = path.split("/")
    if len(words) < 4 or not words[-1].isdigit() or not words[-2].isdigit():
        return None
    return int(words[-2])


def span_of(range_header: str, size: int) -> tuple[int, int] | None:
    """The half-open span of ``bytes=a-b`` in an object of ``size`` bytes; None: the whole. Raises ValueError."""
    if not range_header.startswith("bytes="):
        return None
    first, _, last = range_header.removeprefix("bytes=").partition("-")
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1 if last else size, size)


class ShapedUpstream:
    """Answers on any number of connections; ``rate`` in bytes per second and connection, 0: no limit."""

    def __init__(self, *, first_byte_s: float, rate: float) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self._first_byte_s = first_byte_s
        self._rate = rate
        self._pool = _pool()
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, listener: socket.socket) -> None:
        """Accept until cancelled; connections end with it."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(listener)
                task = loop.create_task(self._serve(connection))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
        finally:
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            self._pool.close()

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 - the socket's own signature
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        early = b""
        with connection, suppress(ConnectionError, ValueError):
            while (taken := await _take_head(connection, early)) is not None:
                head, early = taken
                early = await self._answer(connection, parse_ask(head), early)

    async def _answer(self, connection: socket.socket, ask: Ask, early: bytes) -> bytes:
        """Answer one request; what came of the next one already."""
        due_s = time.monotonic() + self._first_byte_s
        loop = asyncio.get_running_loop()
        if ask.path.startswith("/-/"):
            await loop.sock_sendall(connection, self._told(ask.path))
            return early
        self.counts[ask.method, ask.path, ask.headers.get("range", "")] += 1
        if ask.headers.get("expect", "").lower() == "100-continue":
            await loop.sock_sendall(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
        early = await _drop_body(connection, ask.length, early)
        await _until(due_s)
        size = size_of(ask.path)
        if ask.method not in {"GET", "HEAD"}:
            await loop.sock_sendall(connection, _head(200, 0, ['ETag: "put-1"']))
        elif size is None:
            body = b"" if ask.method == "HEAD" else _MISSING
            await loop.sock_sendall(connection, _head(404, len(_MISSING), []) + body)
        else:
            await self._send(connection, ask, size)
        return early

    def _told(self, path: str) -> bytes:
        if path == "/-/forget":
            self.counts.clear()
        body = json.dumps([[*asked, count] for asked, count in self.counts.items()]).encode()
        return _head(200, len(body), []) + body

    async def _send(self, connection: socket.socket, ask: Ask, size: int) -> None:
        span = span_of(ask.headers.get("range", ""), size)
        start, stop = span or (0, size)
        fields = [f'ETag: "shaped-{size}-1"', "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT", "Accept-Ranges: bytes"]
        if span:
            fields.append(f"Content-Range: bytes {start}-{stop - 1}/{size}")
        loop = asyncio.get_running_loop()
        _cork(connection, on=ask.method == "GET" and start < stop)
        await loop.sock_sendall(connection, _head(206 if span else 200, stop - start, fields))
        due_s = time.monotonic()
        while ask.method == "GET" and start < stop:
            count = min(SLICE_BYTES, stop - start, POOL_BYTES - start % POOL_BYTES)
            await _until(due_s)
            await loop.sock_sendfile(connection, self._pool, start % POOL_BYTES, count, fallback=False)
            _cork(connection, on=False)
            start += count
            due_s = max(due_s, time.monotonic() - 0.01) + (count / self._rate if self._rate else 0)


def _cork(connection: socket.socket, *, on: bool) -> None:
    """A head leaves with the first bytes of its body, as a server's does."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)


async def _until(due_s: float) -> None:
    left_s = due_s - time.monotonic()
    if left_s > 0:
        await asyncio.sleep(left_s)


async def _take_head(connection: socket.socket, early: bytes) -> tuple[bytes, bytes] | None:
    """The next head, without its empty line, and what came after it; None: the other side is done."""
    loop = asyncio.get_running_loop()
    while (end := early.find(b"\r\n\r\n")) < 0:
        more = await loop.sock_recv(connection, 64 * 1024)
        if not more or len(early) > _HEAD_BYTES_MAX:
            return None
        early += more
    return early[:end], early[end + 4 :]


async def _drop_body(connection: socket.socket, length: int, early: bytes) -> bytes:
    """Receive ``length`` body bytes and forget them; what came after them."""
    loop = asyncio.get_running_loop()
    buffer = bytearray(SLICE_BYTES)
    missing = length - len(early)
    while missing > 0:
        got = await loop.sock_recv_into(connection, memoryview(buffer)[: min(missing, SLICE_BYTES)])
        if not got:
            raise ConnectionError("a body without its end")
        missing -= got
    return early[length:]


def _head(status: int, length: int, fields: Sequence[str]) -> bytes:
    lines = [f"HTTP/1.1 {status} shaped", f"Content-Length: {length}", "x-amz-request-id: shaped", *fields]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _pool() -> IO[bytes]:
    """Random bytes in a file that is memory."""
    pool = os.fdopen(os.memfd_create("shaped"), "w+b", buffering=0)
    pool.write(os.urandom(POOL_BYTES))
    return pool


@contextmanager
def serve_shaped(state: Path, *, first_byte_s: float, rate: float, cpus: Sequence[int] = ()) -> Iterator[Listening]:
    """Such an upstream in a process of its own; ``state``: a directory for its log."""
    state.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "bench.servers.shaped", "--port", str(port)]
    command += ["--first-byte-ms", str(first_byte_s * 1000), "--rate", str(int(rate))]
    with running("upstream", command, port=port, log=state / "shaped.log", cpus=cpus) as listening:
        yield listening


async def _run(port: int, upstream: ShapedUpstream) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        listener.setblocking(False)  # noqa: FBT003 - the socket's own signature
        await upstream.listen(listener)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.servers.shaped")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first-byte-ms", type=float, default=0.0)
    parser.add_argument("--rate", type=lambda text: parse_rate(float(text) if text.isdigit() else text), default=0.0)
    found = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(found.port, ShapedUpstream(first_byte_s=found.first_byte_ms / 1000, rate=found.rate)))


if __name__ == "__main__":
    main()
