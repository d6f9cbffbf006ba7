"""What an eviction policy is: told of chunks that came and went, it names the next one to go.

A policy holds names and sizes, never files. The evictor (:mod:`cache.store.evict`) tells it every chunk in the order
of coming, and asks for victims when there is too much on the disk. Reads are not told one by one: readers in other
processes leave marks in shared memory, and a policy *takes* the mark of a chunk (which clears it) when it has to judge
that chunk. So a policy sees how often a chunk was read since it last looked, at most 3, and a hit costs one memory
write. What always holds: ``used_bytes`` is the sum of the lengths told and not yet gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

Take = Callable[[bytes], int]
"""The number of reads of a chunk since the last such call, at most 3."""


class Policy(Protocol):
    """Chunks by id, in the order in which they should go."""

    @property
    def used_bytes(self) -> int:
        """Bytes of all chunks held."""
        ...

    def added(self, chunk_id: bytes, length: int) -> None:
        """A chunk came (or came anew, with another length)."""
        ...

    def removed(self, chunk_id: bytes) -> None:
        """A chunk went, and not by ``evict``. Unknown ids are ignored."""
        ...

    def evict(self, take: Take) -> bytes | None:
        """Choose the chunk to go now and forget it; None when there is none."""
        ...

    def check(self) -> Iterator[str]:
        """What is wrong with me, one line each."""
        ...
