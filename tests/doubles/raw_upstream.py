"""An upstream of raw bytes: each connection is read up to the end of a request's head, then a scripted answer goes out.

    async with RawUpstream() as raw:
        raw.answer(b"HTTP/1.1 206 ...\\r\\n\\r\\n", b"body", then="fin")

Answers are used in order, one per request; the last one is repeated. ``then``: ``keep`` the connection, ``fin`` or
``rst`` it. Request bodies are not read, so only body-less requests should come. Heads as they came: ``raw.heads``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Literal, Self

Then = Literal["keep", "fin", "rst"]


@dataclass(frozen=True, slots=True)
class Scripted:
    """One answer: pieces sent with a pause of one loop turn between them, then what becomes of the connection."""

    pieces: tuple[bytes, ...]
    then: Then = "keep"


class RawUpstream:
    """See the module."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self._script: list[Scripted] = []
        self._used = self._sent = 0
        self._turn = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def endpoint(self) -> str:
        """Where it listens, as an endpoint URL."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def answer(self, *pieces: bytes, then: Then = "keep") -> None:
        """Add an answer to the script."""
        self._script.append(Scripted(pieces, then))

    def restart(self) -> None:
        """Forget the script."""
        self._script.clear()
        self._used = self._sent = 0

    async def answered(self, count: int) -> None:
        """Return once ``count`` answers of the script are out."""
        async with self._turn:
            await self._turn.wait_for(lambda: self._sent >= count)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answered(reader, writer):
                    pass
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection lives on."""
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        scripted = self._script[min(self._used, len(self._script) - 1)]
        self._used += 1
        try:
            return await self._send(scripted, writer)
        finally:
            async with self._turn:
                self._sent += 1
                self._turn.notify_all()

    async def _send(self, scripted: Scripted, writer: asyncio.StreamWriter) -> bool:
        for piece in scripted.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if scripted.then == "rst":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return scripted.then == "keep"
