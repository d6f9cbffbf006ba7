"""A large object as a file: read from front to back, its next parts already on their way.

The stream knows an object's size, its first part, and how to fetch the part that begins at an offset. It keeps
``parts_ahead`` fetches in flight, the part at hand, and the one before it, because a tar reader steps back by up to a
block. Seeking further back, or ahead of the parts in flight, is not what this is for: the first is refused, the second
reads through. Not thread-safe. ``close`` drops what is in flight.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from typing_extensions import override
else:

    def override(method: Callable[..., object]) -> Callable[..., object]:  # noqa: D103  (typing has it from 3.12)
        return method


class ObjectStream(io.RawIOBase):
    """The bytes of one object version, in order. Reads raise what :meth:`Reader.read` raises."""

    def __init__(self, first: bytes, size: int, fetch: Callable[[int], Future[bytes]], *, parts_ahead: int = 4) -> None:
        """``first``: the object's first part, as long as every part but the last. ``size`` in bytes."""
        super().__init__()
        self.size = size
        self._part_bytes = len(first)
        self._fetch = fetch
        self._parts_ahead = max(parts_ahead, 1)
        self._before, self._part, self._begin = b"", first, 0
        self._ahead: deque[Future[bytes]] = deque()
        self._at = 0
        self._fill()

    @override
    def readable(self) -> bool:
        """It is for reading."""
        return True

    @override
    def seekable(self) -> bool:
        """Forward, and back by a part."""
        return True

    @override
    def tell(self) -> int:
        """Where the next read begins, in bytes."""
        return self._at

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is read before the next read, which raises UnsupportedOperation if that was too far back."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        """The next ``size`` bytes, fewer only at the object's end; all that is left without ``size``."""
        left = max(self.size - self._at, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        first = self._next(wanted)
        if len(first) == wanted:
            return bytes(first)
        pieces, got = [first], len(first)
        while got < wanted:
            pieces.append(self._next(wanted - got))
            got += len(pieces[-1])
        return b"".join(pieces)

    @override
    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Bytes up to the end of the buffer or of the part at hand; 0 only at the object's end."""
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    @override
    def close(self) -> None:
        """Forget the parts in flight."""
        while self._ahead:
            self._ahead.popleft().cancel()
        self._before = self._part = b""
        super().close()

    def _next(self, bytes_max: int) -> memoryview:
        """Up to ``bytes_max`` bytes at the position, out of one part; the position moves past them."""
        if self.closed:
            raise ValueError("read of a closed stream")
        if self._at >= self.size or bytes_max == 0:
            return memoryview(b"")
        while self._at >= self._begin + len(self._part):
            self._advance()
        part, begin = self._part, self._begin
        if self._at < begin:
            part, begin = self._before, begin - len(self._before)
        if self._at < begin:
            raise io.UnsupportedOperation(f"cannot go back to byte {self._at}: the stream is past {begin}")
        data = memoryview(part)[self._at - begin : self._at - begin + bytes_max]
        self._at += len(data)
        return data

    def _advance(self) -> None:
        arrived = self._ahead[0].result()
        self._ahead.popleft()
        self._begin += len(self._part)
        self._before, self._part = self._part, arrived
        self._fill()

    def _fill(self) -> None:
        """Keep ``parts_ahead`` fetches in flight."""
        while len(self._ahead) < self._parts_ahead:
            start = self._begin + len(self._part) + len(self._ahead) * self._part_bytes
            if start >= self.size:
                return
            self._ahead.append(self._fetch(start))
