"""An Origin in memory: it counts its calls, holds them at gates, and breaks on request.

``hold()`` keeps every fetch before its first byte until the block ends; ``pause_at(n)`` keeps fetches after ``n`` bytes
of their span. ``troubles`` are raised, one per exchange, after ``(bytes, fault)`` (-1: instead of an answer).
Content comes from the key and version.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from cache.faults import Fault, UpstreamRefused, VersionChanged
from cache.ports import Beginning
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion


def body_of(key: str, etag: str, size: int) -> bytes:
    return Random(f"{key}/{etag}").randbytes(size)


@dataclass
class MemoryOrigin:
    objects: dict[ObjectRef, ObjectVersion] = field(default_factory=dict)
    heads: list[ObjectRef] = field(default_factory=list)
    calls: list[tuple[str, ByteSpan]] = field(default_factory=list)
    begun: list[tuple[str, bool]] = field(default_factory=list)
    troubles: list[tuple[int, Fault]] = field(default_factory=list)
    piece_bytes: int = 64 * 1024

    def __post_init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._pause_at: int | None = None
        self._resumed = asyncio.Event()
        self._news = asyncio.Event()
        self.active = 0

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for a call that makes it so."""
        while not happened():
            self._news.clear()
            await self._news.wait()

    def put(self, key: str, size: int, etag: str = '"v1"') -> ObjectVersion:
        version = ObjectVersion("memory", "b", key, etag, size)
        self.objects[ObjectRef("b", key)] = version
        return version

    def body(self, version: ObjectVersion) -> bytes:
        return body_of(version.key, version.etag, version.size)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    @asynccontextmanager
    async def pause_at(self, count: int) -> AsyncIterator[None]:
        self._pause_at = count
        self._resumed.clear()
        try:
            yield
        finally:
            self._pause_at = None
            self._resumed.set()

    async def head(self, ref: ObjectRef) -> Entry:
        self.heads.append(ref)
        self._news.set()
        await self._open.wait()
        version = self.objects.get(ref)
        if version is None:
            raise UpstreamRefused(404)
        return Entry(version, (("etag", version.etag),), checked_at=0.0, token=0)

    @asynccontextmanager
    async def fetch(self, version: ObjectVersion, span: ByteSpan) -> AsyncIterator[AsyncIterator[bytes]]:
        self.calls.append((version.key, span))
        self._news.set()
        trouble = self.troubles.pop(0) if self.troubles else None
        self.active += 1
        try:
            await self._open.wait()
            if self.objects.get(ObjectRef(version.bucket, version.key)) != version:
                raise VersionChanged(version.key)
            yield self._pieces(self.body(version)[span.start : span.stop], trouble)
        finally:
            self.active -= 1

    @asynccontextmanager
    async def begin(self, ref: ObjectRef, count: int, *, whole: bool) -> AsyncIterator[Beginning]:
        self.begun.append((ref.key, whole))
        self._news.set()
        trouble = self.troubles.pop(0) if self.troubles else None
        self.active += 1
        try:
            await self._open.wait()
            version = self.objects.get(ref)
            if version is None:
                raise UpstreamRefused(404, (), b"<Error/>")
            if not version.size:
                raise UpstreamRefused(416)
            if trouble is not None and trouble[0] < 0:
                raise trouble[1]
            entry = Entry(version, (("etag", version.etag),), checked_at=0.0, token=0, partial=not whole)
            yield Beginning(entry, self._pieces(self.body(version)[:count], trouble))
        finally:
            self.active -= 1

    async def _pieces(self, data: bytes, trouble: tuple[int, Fault] | None) -> AsyncIterator[bytes]:
        for start in range(0, len(data), self.piece_bytes):
            if self._pause_at is not None and start >= self._pause_at:
                await self._resumed.wait()
            piece = data[start : start + self.piece_bytes]
            if trouble is not None and start + len(piece) > trouble[0]:
                if trouble[0] > start:
                    yield piece[: trouble[0] - start]
                raise trouble[1]
            yield piece
