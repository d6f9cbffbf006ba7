"""An answer of upstream as its bytes arrive: head, framing, body. No I/O.

Whoever receives asks for a ``buffer``, fills a part of it and says so (``received``); pieces of the body are taken in
order. httptools (llhttp) reads heads and chunked bodies. The rest of a body of known length never passes the parser:
it arrives in blocks of ``BLOCK_BYTES``, which end at multiples of that in the body, and are handed out as they are.
RFC 9112: an answer with two lengths, or with a length and chunks, is refused, and so is a body that is cut.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

import httptools

from cache.faults import Fault, UpstreamBroken, UpstreamUnreachable
from gateway.wires.blocks import BLOCK_BYTES, Blocks

HEAD_BYTES_MAX: Final = 256 * 1024
_BODYLESS: Final = frozenset({204, 304})
_EMPTY: Final = memoryview(b"")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Data = bytes | memoryview


class HungUp(UpstreamUnreachable):
    """Upstream closed the connection before it answered: a body-less request may be repeated."""


@dataclass(frozen=True, slots=True)
class Head:
    """``headers`` have lower-case names. ``length``: the body's, as announced; None: it is not.

    ``framed``: whether a cut body can be told from a whole one. ``bodyless``: none follows, whatever is announced.
    """

    status: int
    headers: list[tuple[str, str]]
    length: int | None
    framed: bool
    bodyless: bool


class _Parsed:
    """What the parser has found: the head, the pieces of the body since they were last taken, the end.

    ``to_head``: the answer is one to HEAD. ``beyond``: bytes came after the end.
    """

    def __init__(self, *, to_head: bool) -> None:
        self.head: Head | None = None
        self.pieces: list[bytes] = []
        self.keep_alive = self.ended = self.beyond = False
        self._to_head = to_head
        self._fields: list[tuple[str, str]] = []
        self._interim = self._spoilt = False
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(  # what other clients put up with, too
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def feed(self, data: memoryview) -> None:
        """Read on. Raises UpstreamBroken."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.ended:
                raise UpstreamBroken(f"{type(error).__name__}: {error}") from error
            self.beyond = True
        if self._spoilt:
            raise UpstreamBroken("a control character in a header")

    def on_message_begin(self) -> None:
        """The parser's: an answer begins."""
        if self.ended:
            self.beyond = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's; a trailer is of no use."""
        if self.head is None:
            text = value.rstrip(b" \t").decode("utf-8", "surrogateescape")
            self._spoilt = self._spoilt or _CONTROL.search(text) is not None
            self._fields.append((name.decode("ascii", "replace").lower(), text))

    def on_headers_complete(self) -> None:
        """The parser's: the head is whole."""
        status = self._parser.get_status_code()
        if self.ended or 100 <= status < 200:
            self._interim = True
            return
        fields = dict(self._fields)
        told = fields.get("content-length")
        length = int(told) if told is not None else None
        chunked = "chunked" in fields.get("transfer-encoding", "").lower()
        bodyless = self._to_head or status in _BODYLESS
        self.keep_alive = self._parser.should_keep_alive()
        self.head = Head(status, self._fields, length, bodyless or chunked or length is not None, bodyless)
        self.ended = bodyless

    def on_body(self, data: bytes) -> None:
        """The parser's: bytes of the body."""
        if self.ended:
            self.beyond = True
        else:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        """The parser's: the answer is over, or an interim one."""
        if self._interim:
            self._interim, self._fields = False, []
        elif self.head is not None:
            self.ended = True


class AnswerReader:
    """One answer; ``to_head``: the request's method was HEAD. ``blocks``: the memory that it arrives in.

    ``ended``: the body is whole. ``taken``: bytes of it that were handed out.
    """

    def __init__(self, blocks: Blocks, *, to_head: bool) -> None:
        self.ended = False
        self.taken = 0
        self._blocks = blocks
        self._parsed = _Parsed(to_head=to_head)
        self._head_bytes = 0
        self._pieces: deque[Data] = deque()
        self._waiting = 0  # bytes in pieces
        self._left = 0  # bytes of a sized body that have not been received
        self._block = _EMPTY
        self._filled = self._given = 0  # of the block

    # --- what arrives

    def buffer(self) -> memoryview:
        """Where the next bytes go: one byte at least."""
        if not self._left:
            return self._blocks.scratch
        if not self._block:
            room = BLOCK_BYTES - (self.taken + self._waiting) % BLOCK_BYTES
            self._block = self._blocks.take(min(self._left, room))
        return self._block[self._filled :]

    def received(self, count: int) -> None:
        """So many bytes are in the buffer that was asked for last. Raises UpstreamBroken: nothing more may follow."""
        if not self._left:
            self._parse(count)
            return
        self._filled += count
        self._left -= count
        if self._filled == len(self._block):
            self._keep(self._block[self._given :])
            self._block, self._filled, self._given = _EMPTY, 0, 0
            self.ended = not self._left

    def _parse(self, count: int) -> None:
        parsed = self._parsed
        if self.ended:
            parsed.beyond = True
            return
        parsed.feed(self._blocks.scratch[:count])
        if parsed.head is None:
            self._head_bytes += count
            if self._head_bytes > HEAD_BYTES_MAX:
                raise UpstreamBroken("a head that does not end")
        pieces, parsed.pieces = parsed.pieces, []
        for piece in pieces:
            self._keep(piece)
        self.ended = parsed.ended
        if parsed.head is not None and parsed.head.length is not None and not parsed.ended:
            self._left = parsed.head.length - self._waiting - self.taken

    def poured(self, count: int) -> None:
        """So many bytes of the body were received elsewhere, by whoever had taken all before."""
        self._block, self._filled, self._given = _EMPTY, 0, 0
        self._left -= count
        self.taken += count
        self.ended = not self._left

    def closed(self) -> Fault | None:
        """The connection has ended: what is wrong with that, None when the answer is whole."""
        if self.head is None:
            return HungUp("upstream closed the connection")
        return None if self.ended else UpstreamBroken("upstream closed the connection in a body")

    # --- what is there

    @property
    def head(self) -> Head | None:
        """The head, once it is whole."""
        return self._parsed.head

    @property
    def reusable(self) -> bool:
        """Whether the answer has ended, nothing came after it, and upstream keeps the connection."""
        return self.ended and self._parsed.keep_alive and not self._parsed.beyond

    @property
    def left(self) -> int:
        """Bytes of a body of known length that are still to be received, and need no parser."""
        return self._left

    @property
    def full(self) -> bool:
        """Whether enough waits to be taken; receiving goes on when some was."""
        return self._waiting >= BLOCK_BYTES

    def has(self, *, partial: bool) -> bool:
        """Whether ``take`` has a piece."""
        return bool(self._pieces) or (partial and self._filled > self._given)

    def take(self, *, partial: bool) -> Data | None:
        """The next piece of the body; ``partial``: also of a block that is not full yet. None: there is none now."""
        if self._pieces:
            piece = self._pieces.popleft()
            self._waiting -= len(piece)
        elif partial and self._filled > self._given:
            piece = self._block[self._given : self._filled]
            self._given = self._filled
        else:
            return None
        self.taken += len(piece)
        return piece

    def _keep(self, piece: Data) -> None:
        self._pieces.append(piece)
        self._waiting += len(piece)
