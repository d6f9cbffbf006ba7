"""Least recently used, as far as marks can tell: a queue with a second chance.

A chunk enters at the tail. When the head is asked to go and was read since it was last looked at, it moves to the tail
instead; the first one that was not read goes. That orders chunks by their last read to within one round of the queue,
and needs no work at a hit. Simple, and beaten by one long scan, which is why S3-FIFO is the default.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from cache.policy.rules import Take


class Lru:
    """Implements rules.Policy."""

    def __init__(self) -> None:
        self._queue: OrderedDict[bytes, int] = OrderedDict()
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """Bytes of all chunks held."""
        return self._used_bytes

    def added(self, chunk_id: bytes, length: int) -> None:
        """A chunk came: it is the most recent."""
        self.removed(chunk_id)
        self._queue[chunk_id] = length
        self._used_bytes += length

    def removed(self, chunk_id: bytes) -> None:
        """A chunk went by itself."""
        self._used_bytes -= self._queue.pop(chunk_id, 0)

    def evict(self, take: Take) -> bytes | None:
        """The first chunk from the head that was not read since it was last looked at; after one round, the head."""
        for _ in range(len(self._queue)):
            chunk_id = next(iter(self._queue))
            if not take(chunk_id):
                break
            self._queue.move_to_end(chunk_id)
        if not self._queue:
            return None
        chunk_id, length = self._queue.popitem(last=False)
        self._used_bytes -= length
        return chunk_id

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        held = sum(self._queue.values())
        if held != self._used_bytes:
            yield f"the queue holds {held} B, used_bytes counts {self._used_bytes} B"
