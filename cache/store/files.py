"""The store of one worker: chunk files found, made, and taken out when damaged. Implements ports.Store.

The hit path asks no index: a chunk is in the store exactly when a regular file under its name decodes to its identity.
All workers of a node use one directory at once; whatever another process does to a file (evict, replace, damage) is
noticed here by its link count, its times or its hashes. Whatever is not a whole, regular chunk file of the right
identity is removed, counted and a miss. A disk that keeps failing is left alone for a while (``health``).

``find`` and ``touch`` are for the event loop's thread; ``create`` and the writer's methods for any thread. The node
process evicts; this class only refuses to begin a chunk that would pass the quota.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from cache.chunks import Chunk
from cache.faults import DiskFailed, DiskFault, DiskFull
from cache.store.chunk_files import open_chunk_file, read_footer, remove_judged
from cache.store.environment import open_environment
from cache.store.filling import FileWriter, Outlet
from cache.store.footer import BLOCK_BYTES, FooterDamaged, disk_bytes
from cache.store.health import REST_S, Health
from cache.store.index import ChunkIndex
from cache.store.mapped import Touches
from cache.store.pages import Pages
from cache.store.readers import OpenReaders
from cache.store.room import FULL
from cache.store.stored import Desk, OpenFile, StoredChunk
from cache.tally import Count, Tally
from cache.versions import ByteSpan

THREADS: Final = 8
SWEEP_READERS: Final = 64
SPENT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
FOREIGN: Final = frozenset({errno.ELOOP, errno.EACCES, errno.ENXIO, errno.EISDIR, errno.EPERM})


class FileStore:
    """One worker's face of the shared cache directory.

    ``quota_bytes`` bounds the disk space of all chunk files of the node. ``open_files_max`` bounds the readers kept
    open. A disk that keeps failing is left alone for ``disk_rest_s``. ``now`` is a monotonic clock in seconds. Raises
    DiskFailed when the directory cannot be used at all.
    """

    def __init__(  # noqa: PLR0913 - what it works with, by name
        self,
        directory: Path,
        *,
        quota_bytes: int,
        tally: Tally,
        verify: Literal["auto", "always"] = "auto",
        open_files_max: int = 1024,
        disk_rest_s: float = REST_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = open_environment(directory)
        self._places = self._environment.places
        self._index = ChunkIndex(self._environment)
        self._touches = Touches(self._places.touches)
        self._quota_bytes = quota_bytes
        self._tally = tally
        self._now = now
        self._health = Health(disk_rest_s)
        self._readers = OpenReaders(open_files_max)
        self._numbers = itertools.count()
        self._filling: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(THREADS, "verify")
        pages = Pages()
        always = verify == "always" or not pages.available
        self._desk = Desk(pages, self._threads, tally, always, self._strike, self._damaged)
        self._outlet = Outlet(self._publish, self._sealed, self._ended, self._fault)

    def find(self, chunk: Chunk) -> StoredChunk | None:
        """The chunk, opened; None when there is no whole copy, or the disk is failing. Never raises."""
        if not self._health.usable(self._now()):
            return None
        reader = self._readers.find(chunk.id)
        if reader is not None:
            if reader.linked() and reader.chunk == chunk:
                return reader
            self._readers.drop(chunk.id)
        try:
            reader = self._open(chunk)
        except OSError as error:
            self._cannot_open(chunk, error)
            return None
        if reader is not None:
            self._readers.keep(reader)
        return reader

    def find_ready(self, chunk: Chunk, span: ByteSpan) -> StoredChunk | None:
        """The chunk, if it is kept open and ``span`` of it may be sent at once: then it was read. Opens nothing."""
        reader = self._readers.find(chunk.id)
        if reader is None or not self._is(reader, chunk) or not reader.ready(span.start, span.stop):
            return None
        self._touches.touch(reader.slot)
        return reader

    def take(self, chunk: Chunk) -> memoryview | None:
        """The payload of a chunk of one unit, if it is kept open, in memory and matches its hash now: then it was read.

        Valid until the next ``take``. Only for the loop's thread.
        """
        reader = self._readers.find(chunk.id)
        data = reader.taken() if reader is not None and self._is(reader, chunk) else None
        if reader is not None and data is not None:
            self._touches.touch(reader.slot)
        return data

    def _is(self, reader: StoredChunk, chunk: Chunk) -> bool:
        """Whether the reader is of that very chunk, and its disk may be asked."""
        same = reader.chunk is chunk or reader.chunk == chunk
        return same and not (self._health.doubted and not self._health.usable(self._now()))

    def create(self, chunk: Chunk) -> FileWriter:
        """Begin a chunk file. Raises DiskFull (the quota too), DiskFailed. Blocks."""
        if not self._health.usable(self._now()):
            raise DiskFailed("the disk keeps failing and is left alone for a while")
        self._expect_room(chunk.length + BLOCK_BYTES)
        path = self._places.temporary(chunk.id, os.getpid(), next(self._numbers))
        self._filling[path] = chunk.length + BLOCK_BYTES
        try:
            return FileWriter(chunk, path, self._outlet)
        except OSError as error:
            self._ended(path)
            raise self._fault(error) from error

    def touch(self, chunk: Chunk) -> None:
        """The chunk was read: one memory write, for eviction."""
        self._touches.touch(Touches.slot(chunk.id))

    def sweep(self) -> int:
        """Let go of some evicted files; call it about once a second. How many were let go."""
        return self._readers.sweep(SWEEP_READERS)

    def used_bytes(self) -> int:
        """Bytes on disk of all whole chunks of the node, which the quota bounds. Raises DiskFailed."""
        return self._index.used()

    def close(self) -> None:
        """Let all readers go and end the threads, once nobody waits on ``reached`` any more."""
        self._readers.shed(len(self._readers))
        self._threads.shutdown(wait=True)

    def check(self) -> Iterator[str]:
        """What is wrong with me, one line each; silent when well."""
        yield from self._readers.check()
        yield from self._health.check()
        yield from self._index.check()
        for path in list(self._filling):
            if not os.path.exists(path):
                yield f"{path} counts as filling and is not there"

    def _open(self, chunk: Chunk) -> StoredChunk | None:
        file = open_chunk_file(self._places.chunk(chunk.id))
        try:
            footer = read_footer(file)
        except FooterDamaged:
            footer = None
        if footer is None or footer.chunk != chunk:
            self._damaged(chunk, file)
            return None
        return StoredChunk(chunk, file, footer.hashes, self._desk, verified=False)

    def _cannot_open(self, chunk: Chunk, error: OSError) -> None:
        match error.errno:
            case errno.ENOENT:
                pass
            case code if code in SPENT:
                self._readers.shed(len(self._readers) // 4 + 1)
                self._tally.add(Count.DISK_ERRORS)
            case code if code in FOREIGN:
                self._damaged(chunk, None)
            case _:
                self._strike(error)

    def _damaged(self, chunk: Chunk, file: OpenFile | None) -> None:
        """Take a file out of the store and count it; only if the name still leads to that file (None: in any case)."""
        self._tally.add(Count.DISK_DAMAGED)
        self._readers.drop(chunk.id)
        if remove_judged(self._places, self._places.chunk(chunk.id), file):
            with contextlib.suppress(DiskFailed):
                self._index.remove([(chunk.id, None)])

    def _expect_room(self, wanted: int) -> None:
        used = self._index.used() + sum(list(self._filling.values()))
        if used + wanted > self._quota_bytes:
            raise DiskFull(f"{used} of {self._quota_bytes} bytes used, {wanted} more wanted")

    def _publish(self, chunk: Chunk, temporary: str, file_bytes: int) -> None:
        path = self._places.chunk(chunk.id)
        try:
            os.rename(temporary, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(temporary, path)
        except IsADirectoryError:
            self._damaged(chunk, None)
            os.rename(temporary, path)
        try:
            self._index.insert([(chunk.id, disk_bytes(file_bytes), time.time())])
        except DiskFailed:  # the file is the truth; recovery will index it
            self._tally.add(Count.DISK_ERRORS)

    def _sealed(self, chunk: Chunk, file: OpenFile, hashes: tuple[int, ...]) -> StoredChunk:
        os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_RANDOM)
        reader = StoredChunk(chunk, file, hashes, self._desk, verified=True)
        self._readers.keep(reader)
        return reader

    def _ended(self, path: str) -> None:
        self._filling.pop(path, None)

    def _fault(self, error: OSError) -> DiskFault:
        if error.errno in FULL:
            return DiskFull(str(error))
        if error.errno in SPENT:
            self._tally.add(Count.DISK_ERRORS)
        else:
            self._strike(error)
        return DiskFailed(str(error))

    def _strike(self, _error: OSError | None) -> None:
        self._tally.add(Count.DISK_ERRORS)
        self._health.strike(self._now())
