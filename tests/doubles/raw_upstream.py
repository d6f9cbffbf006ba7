"""An upstream of raw bytes: each connection is read up to the end of a request's head, then a scripted answer goes out.

    async with RawUpstream() as raw:
        raw.answer(b"HTTP/1.1 206 ...\\r\\n\\r\\n", b"body", then="fin")

Answers are used in order, one per request; the last one is repeated. ``then``: ``keep`` the connection, ``fin`` or
``rst`` it. Request bodies are not read, so only body-less requests should come. Heads as they came: ``raw.heads``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from tests.doubles.head_server import HeadServer, reset

Then = Literal["keep", "fin", "rst"]


@dataclass(frozen=True, slots=True)
class Scripted:
    """One answer: pieces sent with a pause of one loop turn between them, then what becomes of the connection."""

    pieces: tuple[bytes, ...]
    then: Then = "keep"


class RawUpstream(HeadServer):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[bytes] = []
        self._script: list[Scripted] = []
        self._used = self._sent = 0
        self._turn = asyncio.Condition()

    def answer(self, *pieces: bytes, then: Then = "keep") -> None:
        """Add an answer to the script."""
        self._script.append(Scripted(pieces, then))

    def hang_up_between(self, answer: bytes) -> None:
        """Add ``answer``, a connection that ends at its next request, and the answer again."""
        self.answer(answer)
        self.answer(b"", then="fin")
        self.answer(answer)

    def restart(self) -> None:
        """Forget the script."""
        self._script.clear()
        self._used = self._sent = 0

    async def answered(self, count: int) -> None:
        """Return once ``count`` answers of the script are out."""
        async with self._turn:
            await self._turn.wait_for(lambda: self._sent >= count)

    async def answer_head(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        """One answer of the script."""
        self.heads.append(head)
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
            reset(writer)
        return scripted.then == "keep"
