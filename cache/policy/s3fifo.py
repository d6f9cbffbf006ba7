"""S3-FIFO: three first-in-first-out queues that keep one long scan from pushing out what is read again and again.

Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023, weighted by bytes. A chunk enters *small*.
When small holds more than its tenth of the bytes, its head goes: to *main* if it was read more than once since it
came, else out, leaving its name in *ghost*. A chunk whose name is still in ghost enters main at once. Main's head goes
round again, at the price of one of its counted reads, until one has none left. Names in ghost cost memory only; they
are bounded by the bytes that main may hold, and by the number of chunks held.

Reads come as marks taken when a chunk is judged. What always holds: a chunk is in exactly one of small and main, a
name is never in ghost and in a queue at once, and the byte counts are the sums of the queues.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from cache.policy.rules import Take

SMALL_SHARE: Final = 0.1
READS_MAX: Final = 3
READS_TO_STAY: Final = 2
GHOSTS_MIN: Final = 1024


class _Queue:
    """First in, first out, with the sum of the lengths."""

    __slots__ = ("chunks", "total_bytes")

    def __init__(self) -> None:
        self.chunks: OrderedDict[bytes, int] = OrderedDict()
        self.total_bytes = 0

    def push(self, chunk_id: bytes, length: int) -> None:
        self.chunks[chunk_id] = length
        self.total_bytes += length

    def pop(self) -> tuple[bytes, int]:
        chunk_id, length = self.chunks.popitem(last=False)
        self.total_bytes -= length
        return chunk_id, length

    def drop(self, chunk_id: bytes) -> bool:
        length = self.chunks.pop(chunk_id, None)
        self.total_bytes -= length or 0
        return length is not None


class S3Fifo:
    """Implements rules.Policy for a cache of ``capacity_bytes``."""

    def __init__(self, capacity_bytes: int) -> None:
        self._small_bytes_max = int(capacity_bytes * SMALL_SHARE)
        self._ghost_bytes_max = capacity_bytes - self._small_bytes_max
        self._small = _Queue()
        self._main = _Queue()
        self._ghost = _Queue()
        self._reads: dict[bytes, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes of all chunks held; ghosts hold none."""
        return self._small.total_bytes + self._main.total_bytes

    def added(self, chunk_id: bytes, length: int) -> None:
        """A chunk came: into small, or into main if its name is remembered."""
        known = self._ghost.drop(chunk_id) or chunk_id in self._main.chunks
        self.removed(chunk_id)
        (self._main if known else self._small).push(chunk_id, length)

    def removed(self, chunk_id: bytes) -> None:
        """A chunk went by itself; its name is not remembered."""
        for queue in (self._small, self._main, self._ghost):
            queue.drop(chunk_id)
        self._reads.pop(chunk_id, None)

    def evict(self, take: Take) -> bytes | None:
        """The next to go: from small while it is over its share (or main is empty), else from main.

        When every chunk was read again and again, the search ends after two rounds, with the head of main.
        """
        for _ in range(2 * (len(self._small.chunks) + len(self._main.chunks))):
            from_small = self._small.total_bytes > self._small_bytes_max or not self._main.chunks
            victim = self._judge_small(take) if from_small and self._small.chunks else self._judge_main(take)
            if victim is not None:
                return victim
        return self._give_up_head()

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        queues = {"small": self._small, "main": self._main, "ghost": self._ghost}
        for name, queue in queues.items():
            held = sum(queue.chunks.values())
            if held != queue.total_bytes:
                yield f"{name} holds {held} B and counts {queue.total_bytes} B"
        if self._small.chunks.keys() & self._main.chunks.keys():
            yield "a chunk is in small and in main"
        if self._ghost.chunks.keys() & (self._small.chunks.keys() | self._main.chunks.keys()):
            yield "a chunk that is held is in ghost"
        if not self._reads.keys() <= self._main.chunks.keys():
            yield "reads are counted of a chunk that is not in main"

    def _judge_small(self, take: Take) -> bytes | None:
        chunk_id, length = self._small.pop()
        if take(chunk_id) >= READS_TO_STAY:
            self._main.push(chunk_id, length)
            return None
        self._ghost.push(chunk_id, length)
        self._trim_ghost()
        return chunk_id

    def _judge_main(self, take: Take) -> bytes | None:
        chunk_id, length = self._main.pop()
        reads = min(self._reads.pop(chunk_id, 0) + take(chunk_id), READS_MAX)
        if reads == 0:
            return chunk_id
        if reads > 1:
            self._reads[chunk_id] = reads - 1
        self._main.push(chunk_id, length)
        return None

    def _give_up_head(self) -> bytes | None:
        """Main's head, however often it was read; by now every chunk that stayed is there."""
        if not self._main.chunks:
            return None
        chunk_id, _ = self._main.pop()
        self._reads.pop(chunk_id, None)
        return chunk_id

    def _trim_ghost(self) -> None:
        names_max = max(GHOSTS_MIN, len(self._small.chunks) + len(self._main.chunks))
        while self._ghost.total_bytes > self._ghost_bytes_max or len(self._ghost.chunks) > names_max:
            self._ghost.pop()
