"""Chunks: aligned slices of one object version, their ids, and the units in which they are verified.

A chunk id is the 128-bit xxh3 over version identity, chunk size and index: it names the file and the index entry. The
*placement* of a chunk, a 64-bit point that the ring maps to its owner, leaves the ETag out, so that a key's next
version lives where the last one did. A unit is the slice (256 KiB; the last one shorter) that has one hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from xxhash import xxh3_64_intdigest, xxh3_128_digest

from cache.versions import ByteSpan, ObjectRef, ObjectVersion

UNIT_BYTES: Final = 256 * 1024
CHUNK_BYTES_DEFAULT: Final = 8 * 1024 * 1024


@lru_cache(maxsize=8192)
def placement_of(ref: ObjectRef, index: int) -> int:
    """The 64-bit point at which chunk ``index`` of a key lies on the ring."""
    return xxh3_64_intdigest(ref.digest() + index.to_bytes(8, "big"))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Chunk ``index`` of ``version``, cut at ``chunk_bytes``. Raises ValueError when the version has no such chunk."""

    version: ObjectVersion
    chunk_bytes: int
    index: int
    id: bytes = field(init=False, repr=False, compare=False)
    length: int = field(init=False, repr=False, compare=False)
    """Payload bytes."""

    def __post_init__(self) -> None:
        if self.chunk_bytes <= 0 or not 0 <= self.index * self.chunk_bytes < self.version.size:
            raise ValueError(f"no such chunk: {self.index} of {self.version.size} bytes by {self.chunk_bytes}")
        cut = self.chunk_bytes.to_bytes(8, "big") + self.index.to_bytes(8, "big")
        object.__setattr__(self, "id", xxh3_128_digest(self.version.identity + cut))
        object.__setattr__(self, "length", min(self.chunk_bytes, self.version.size - self.index * self.chunk_bytes))

    @property
    def span(self) -> ByteSpan:
        """Where the chunk lies in its object."""
        start = self.index * self.chunk_bytes
        return ByteSpan(start, start + self.length)

    @property
    def placement(self) -> int:
        """The 64-bit point on the ring; the same for every version of the key."""
        return placement_of(ObjectRef(self.version.bucket, self.version.key), self.index)


@lru_cache(maxsize=8192)
def chunk_of(version: ObjectVersion, chunk_bytes: int, index: int) -> Chunk:
    """The chunk; those asked for again and again are made once. Raises as :class:`Chunk`."""
    return Chunk(version, chunk_bytes, index)


def unit_count(length: int) -> int:
    """How many units a chunk of ``length`` bytes has."""
    return -(-length // UNIT_BYTES)
