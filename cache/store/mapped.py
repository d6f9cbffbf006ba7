"""Memory that all processes of a node share: invalidation tokens and read marks, each a mapped file.

*Tokens*: one 64-bit word per slot of object keys. A catalog entry counts only while its slot still holds the token
read before upstream was asked. Invalidation writes a fresh random token, never an increment: two processes may write
at once, and either's token differs from every one handed out before. An aligned word is read and written whole.

*Changes*, in the same file: a second word per slot, random again whenever a catalog row of that slot was written. Who
keeps a row decoded compares the word that was there *before* he read the row, and need not look the row up again.

*Touches*: one byte per slot of chunk ids, the number of recent reads up to 3, for the eviction policy. A lost or
shared mark only makes eviction a little less clever, so nothing is locked. The files hold no truth: deleted, they
start anew (the node process then renews every token).
"""

from __future__ import annotations

import mmap
import os
import secrets
from collections.abc import Iterator
from typing import Final

from cache.faults import DiskFailed

TOKEN_SLOTS: Final = 65_536
TOUCH_SLOTS: Final = 1 << 20
MARK_MAX: Final = 3
_TOKENS_63: Final = int.from_bytes((b"\xff" * 7 + b"\x7f") * TOKEN_SLOTS, "little")


def map_file(path: str, size: int) -> tuple[mmap.mmap, bool]:
    """Map ``path``, resized to ``size`` bytes when it was not so; and whether it was not. Raises DiskFailed."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fresh = os.fstat(fd).st_size != size
            if fresh:
                os.ftruncate(fd, size)
            os.posix_fallocate(fd, 0, size)  # a write to a hole on a full disk would kill the process
            return mmap.mmap(fd, size), fresh
        finally:
            os.close(fd)
    except OSError as error:
        raise DiskFailed(f"cannot map {path}: {error}") from error


class Tokens:
    """The invalidation tokens of a node, and the changes. Raises DiskFailed when the file cannot be mapped.

    ``words`` and ``changes`` hold them by slot, to be read: ``renew`` and ``changed`` write.
    """

    __slots__ = ("changes", "fresh", "words")

    def __init__(self, path: str) -> None:
        memory, self.fresh = map_file(path, 16 * TOKEN_SLOTS)
        both = memoryview(memory).cast("Q")
        self.words, self.changes = both[:TOKEN_SLOTS], both[TOKEN_SLOTS:]

    def renew(self, slot: int) -> None:
        """Whatever was learnt under the slot's old token no longer counts, in any process."""
        self.words[slot] = secrets.randbits(63)

    def changed(self, slot: int) -> None:
        """A row of the slot has been written: who keeps one decoded looks again, in any process."""
        self.changes[slot] = secrets.randbits(63)

    def renew_all(self) -> None:
        """As :meth:`renew`, for every slot, in about a millisecond."""
        size = 8 * TOKEN_SLOTS
        fresh = int.from_bytes(secrets.token_bytes(size), "little") & _TOKENS_63
        self.words.cast("B")[:] = fresh.to_bytes(size, "little")

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        if any(word >> 63 for word in (*self.words, *self.changes)):
            yield "a token has more than 63 bits"


class Touches:
    """The read marks of a node. Raises DiskFailed when the file cannot be mapped."""

    __slots__ = ("_marks",)

    def __init__(self, path: str) -> None:
        self._marks, _ = map_file(path, TOUCH_SLOTS)

    @staticmethod
    def slot(chunk_id: bytes) -> int:
        """Where the chunk's mark is."""
        return int.from_bytes(chunk_id[:3], "big") & (TOUCH_SLOTS - 1)

    def touch(self, slot: int) -> None:
        """The chunk of that slot was read once more."""
        mark = self._marks[slot]
        if mark < MARK_MAX:
            self._marks[slot] = mark + 1

    def take(self, chunk_id: bytes) -> int:
        """How often the chunk was read since the last ``take``, at most 3; the mark is zero afterwards."""
        slot = self.slot(chunk_id)
        mark = self._marks[slot]
        if mark:
            self._marks[slot] = 0
        return mark

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        worst = max(bytes(self._marks[:]))
        if worst > MARK_MAX:
            yield f"a read mark of {worst}, at most {MARK_MAX}"
