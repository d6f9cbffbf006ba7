"""Store and Catalog in memory, as doubles: the same contracts, no directory, no LMDB.

A chunk's file is a ``memfd``, so that senders have a descriptor to read from. ``MemoryStore`` can be told to fail:
``full`` and ``failing`` raise from ``create`` and ``append``; ``damage`` makes a chunk's reader raise DiskDamaged.
Counts what was asked: ``finds``, ``created``, ``touched``.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence

from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import DiskDamaged, DiskFailed, DiskFull, OwnFault
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion


class MemoryReader:
    def __init__(self, store: MemoryStore, chunk: Chunk, fd: int) -> None:
        self._store = store
        self._fd = fd
        self.chunk = chunk
        self.cold = False

    def __del__(self) -> None:
        os.close(self._fd)

    @property
    def fd(self) -> int:
        return self._fd

    @property
    def length(self) -> int:
        return self.chunk.length

    async def reached(self, position: int) -> int:
        if not 0 <= position < self.length:
            raise ValueError(f"no byte {position} in a chunk of {self.length}")
        if self.chunk in self._store.damaged:
            self._store.chunks.pop(self.chunk, None)
            raise DiskDamaged(self.chunk.id.hex())
        self.cold = False
        return self.length

    def ready(self, start: int, stop: int) -> bool:
        return not self.cold and self.chunk not in self._store.damaged and stop <= self.length

    def unit_hash(self, unit: int) -> int:
        start = unit * UNIT_BYTES
        return xxh3_64_intdigest(os.pread(self._fd, min(UNIT_BYTES, self.length - start), start))


class MemoryWriter:
    def __init__(self, store: MemoryStore, chunk: Chunk) -> None:
        self._store = store
        self._chunk = chunk
        self._reader = MemoryReader(store, chunk, os.memfd_create("chunk"))
        self._written = 0
        self._open = True

    @property
    def fd(self) -> int:
        return self._reader.fd

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self._reader.fd}"

    def unit_hash(self, unit: int) -> int:
        return self._reader.unit_hash(unit)

    def append(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        self._store.refuse()
        if not self._open:
            raise DiskFailed("closed")
        if self._written + len(view) > self._chunk.length:
            raise OwnFault("more bytes than the chunk has")
        while view:
            count = os.write(self._reader.fd, view)
            self._written += count
            view = view[count:]

    def seal(self) -> MemoryReader:
        if self._written != self._chunk.length:
            raise OwnFault(f"{self._written} of {self._chunk.length} bytes")
        self._store.refuse()
        self._open = False
        self._store.damaged.discard(self._chunk)
        self._store.chunks[self._chunk] = self._reader
        return self._reader

    def abandon(self) -> None:
        self._open = False


class MemoryStore:
    def __init__(self) -> None:
        self.chunks: dict[Chunk, MemoryReader] = {}
        self.damaged: set[Chunk] = set()
        self.full = False
        self.failing = False
        self.finds: Counter[Chunk] = Counter()
        self.created: Counter[Chunk] = Counter()
        self.touched: Counter[Chunk] = Counter()

    def find(self, chunk: Chunk) -> MemoryReader | None:
        self.finds[chunk] += 1
        return None if self.failing else self.chunks.get(chunk)

    def find_ready(self, chunk: Chunk, span: ByteSpan) -> MemoryReader | None:
        reader = self.find(chunk)
        if reader is None or not reader.ready(span.start, span.stop):
            return None
        self.touch(chunk)
        return reader

    def take(self, chunk: Chunk) -> bytes | None:
        reader = self.find_ready(chunk, chunk.span)
        return None if reader is None else os.pread(reader.fd, chunk.length, 0)

    def create(self, chunk: Chunk) -> MemoryWriter:
        self.created[chunk] += 1
        self.refuse()
        return MemoryWriter(self, chunk)

    def touch(self, chunk: Chunk) -> None:
        self.touched[chunk] += 1

    def damage(self, chunk: Chunk) -> None:
        """The chunk's bytes no longer match."""
        self.damaged.add(chunk)

    def evict(self, chunk: Chunk) -> None:
        """The chunk is gone; readers that are held stay valid."""
        self.chunks.pop(chunk, None)

    def refuse(self) -> None:
        if self.full:
            raise DiskFull("told to be full")
        if self.failing:
            raise DiskFailed("told to fail")


class MemoryCatalog:
    def __init__(self) -> None:
        self.entries: dict[ObjectRef, Entry] = {}
        self._tokens: dict[tuple[str, str], int] = {}
        self.invalidated: list[ObjectRef] = []

    def find(self, ref: ObjectRef) -> Entry | None:
        entry = self.entries.get(ref)
        return entry if entry is not None and entry.token == self.token(ref) else None

    def recall(self, ref: ObjectRef) -> ObjectVersion | None:
        entry = self.entries.get(ref)
        return entry.version if entry is not None else None

    def put(self, ref: ObjectRef, entry: Entry) -> None:
        self.entries[ref] = entry

    def token(self, ref: ObjectRef) -> int:
        return self._tokens.get((ref.bucket, ref.key), 0)

    def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        for ref in refs:
            self.invalidated.append(ref)
            self._tokens[ref.bucket, ref.key] = secrets.randbits(63)
