"""A server that reads one request head after another from each connection; who derives from it answers.

Request bodies are not read, so only body-less requests should come.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Self


class HeadServer:
    """Listens on a port of 127.0.0.1 between ``async with``. Counts ``connections``."""

    def __init__(self) -> None:
        self.connections = 0
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

    async def answer_head(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer the request of this head; whether the connection lives on."""
        raise NotImplementedError

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self.answer_head(await reader.readuntil(b"\r\n\r\n"), writer):
                    await writer.drain()
        finally:
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection by RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
