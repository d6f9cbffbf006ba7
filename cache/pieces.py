"""What a read hands to whoever sends it: pieces of a body, in order, each with where it came from.

A :class:`FilePiece` leaves by ``sendfile`` from a chunk file that is already verified as far as the piece reaches; a
:class:`MemoryPiece` carries bytes (a small chunk, a peer's verified units, a direct stream). A piece is valid until the
next one is asked for; whoever sends it keeps no reference after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cache.ports import ChunkReader, Passage


class Source(IntEnum):
    """Where the bytes of an answer came from; the meter's word for it."""

    LOCAL = 0
    PEER = 1
    UPSTREAM = 2
    FORWARDED = 3


class Cause(IntEnum):
    """What a response waited for; the stall's cause."""

    UPSTREAM = 0
    PEER = 1
    DISK = 2
    AUTH = 3
    CLIENT = 4


@dataclass(slots=True)
class FilePiece:
    """``length`` bytes at ``offset`` of a chunk file's payload."""

    reader: ChunkReader
    offset: int
    length: int
    source: Source

    def __len__(self) -> int:
        """Bytes of the body."""
        return self.length


@dataclass(slots=True)
class MemoryPiece:
    """Bytes in memory. ``passage``: they may also be moved from where they came, from the first one on, at once."""

    data: bytes | memoryview
    source: Source
    passage: Passage | None = None

    def __len__(self) -> int:
        """Bytes of the body."""
        return len(self.data)


Piece = FilePiece | MemoryPiece
