"""The readers that a store keeps open: the most recently found chunks, bounded in number.

A kept reader saves opening the file and, more, keeps its record of verified units. It also holds the disk space of a
file that was evicted meanwhile, so ``sweep`` looks at a few at a time and lets those go whose file has no name left.
Letting go never disturbs a response: whoever sends from a reader holds it too. A lock guards the order, because a
chunk is sealed in a thread and found on the loop.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from cache.store.stored import StoredChunk


class OpenReaders:
    """At most ``limit`` readers by chunk id; the one found longest ago goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 1)
        self._readers: OrderedDict[bytes, StoredChunk] = OrderedDict()
        self._lock = threading.Lock()
        self._unswept: list[bytes] = []

    def __len__(self) -> int:
        return len(self._readers)

    def find(self, chunk_id: bytes) -> StoredChunk | None:
        """The reader, now the most recent."""
        reader = self._readers.get(chunk_id)
        if reader is not None:
            try:  # unlocked: either call is one step, and a thread may have dropped the reader between them
                self._readers.move_to_end(chunk_id)
            except KeyError:
                return None
        return reader

    def keep(self, reader: StoredChunk) -> None:
        """Remember the reader, in place of an older one of the same chunk."""
        with self._lock:
            self._readers[reader.chunk.id] = reader
            self._readers.move_to_end(reader.chunk.id)
        if len(self._readers) > self._limit:
            self.shed(len(self._readers) - self._limit)

    def drop(self, chunk_id: bytes) -> None:
        """Forget the chunk's reader, if there is one."""
        with self._lock:
            self._readers.pop(chunk_id, None)

    def shed(self, count: int) -> None:
        """Forget the ``count`` readers found longest ago."""
        with self._lock:
            for _ in range(min(count, len(self._readers))):
                self._readers.popitem(last=False)

    def sweep(self, count: int) -> int:
        """Look at ``count`` readers, round and round, and forget those whose file has no name left; how many."""
        with self._lock:
            self._unswept = self._unswept or list(self._readers)
            turn, self._unswept = self._unswept[:count], self._unswept[count:]
            gone = [key for key in turn if (reader := self._readers.get(key)) is not None and not reader.linked()]
            for key in gone:
                del self._readers[key]
        return len(gone)

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        if len(self._readers) > self._limit:
            yield f"{len(self._readers)} readers open, at most {self._limit}"
        for key, reader in list(self._readers.items()):
            if reader.chunk.id != key:
                yield f"{key.hex()} holds the reader of {reader.chunk.id.hex()}"
