"""An upstream of generated objects whose answers break off: where, how and in which framing is told per object."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from tests.doubles.bodies import body_of
from tests.doubles.head_server import HeadServer, reset

_HEAD = re.compile(rb"(GET|HEAD) /[^/ ]+/([^ ?]+)[^ ]* HTTP/1.1\r\n")
_RANGE = re.compile(rb"range: bytes=(\d+)-(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Cut:
    """Answers to GETs end after ``after`` body bytes, by RST or FIN; with chunked framing or a length."""

    after: int
    reset: bool
    chunked: bool


class CuttingUpstream(HeadServer):
    """Between ``async with``. ``sizes`` are the objects; ``cuts`` says which are cut. Counts ``struck``."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[str, int] = {}
        self.cuts: dict[str, Cut] = {}
        self.struck = 0

    async def answer_head(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        """A HEAD or a GET of one of the objects."""
        found = _HEAD.match(head)
        assert found is not None
        key = found[2].decode()
        size, etag = self.sizes[key], f'"{key}-1"'
        lines = ["HTTP/1.1 200 OK", f"etag: {etag}", "content-type: binary/octet-stream"]
        if found[1] == b"HEAD":
            writer.write("\r\n".join([*lines, f"content-length: {size}", "", ""]).encode())
            return True
        span = _RANGE.search(head)
        start, stop = (int(span[1]), int(span[2]) + 1) if span else (0, size)
        lines[0] = "HTTP/1.1 206 Partial Content"
        lines.append(f"content-range: bytes {start}-{stop - 1}/{size}")
        cut = self.cuts.get(key)
        chunked = cut is not None and cut.chunked
        lines.append("transfer-encoding: chunked" if chunked else f"content-length: {stop - start}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        body = body_of(key, 1, start, stop)
        if cut is None:
            writer.write(body)
            return True
        return await self._cut_off(body, cut, writer)

    async def _cut_off(self, body: bytes, cut: Cut, writer: asyncio.StreamWriter) -> bool:
        sent = body[: cut.after]
        for at in range(0, len(sent), 60_000):
            piece = sent[at : at + 60_000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if cut.chunked else piece)
            await writer.drain()
        if len(sent) == len(body):
            writer.write(b"0\r\n\r\n" if cut.chunked else b"")
            return True
        self.struck += 1
        if cut.reset:
            reset(writer)
        return False
