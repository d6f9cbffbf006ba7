"""A TCP proxy that counts: what a client's sockets carried, byte by byte, in both directions.

One proxy stands for one client. A client that goes away is passed on as the end of its bytes, and what the server had
on its way is still read to its end, so ``down`` is exactly what left the server. Threads may use the port; the proxy
runs in the loop that entered it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

READ_BYTES = 64 * 1024


class CountingProxy:
    """Between ``async with``. ``up``: bytes to the server; ``down``: bytes from it."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.up = self.down = self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def endpoint(self) -> str:
        """As an endpoint URL."""
        return f"http://127.0.0.1:{self.port}"

    async def at_rest(self) -> None:
        """Return once every connection of the proxy has ended on both sides."""
        while self._open:
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        try:
            out_reader, out_writer = await asyncio.open_connection("127.0.0.1", self._to)
            try:
                upward = asyncio.create_task(self._carry_up(reader, out_writer))
                await self._carry_down(out_reader, writer)
                upward.cancel()
                await asyncio.gather(upward, return_exceptions=True)
            finally:
                out_writer.transport.abort()
        except (asyncio.CancelledError, OSError):
            return  # the test is over, or the server is gone
        finally:
            writer.transport.abort()
            self._open.discard(task)

    async def _carry_up(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                self.up += len(data)
                to.write(data)
                await to.drain()
        with contextlib.suppress(ConnectionError, OSError):
            to.write_eof()

    async def _carry_down(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        gone = False
        while data := await reader.read(READ_BYTES):
            self.down += len(data)
            if not gone:
                try:
                    to.write(data)
                    await to.drain()
                except ConnectionError:
                    gone = True
        if not gone:
            with contextlib.suppress(ConnectionError, OSError):
                to.write_eof()
                await to.drain()
