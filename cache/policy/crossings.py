"""Which chunks of other nodes deserve a copy here: those whose bytes have crossed once already, and do so again.

For every chunk that is relayed, the bytes that crossed are summed; once as many have crossed as the chunk is long, the
next read of it admits it. So a chunk that is read whole is copied at the second time, one of which only slices are
read when they add up to it, and what is read once in a long scan never. The sums kept are those of the last
``window_bytes`` of crossings, oldest chunk first out, and of ``NAMES_MAX`` chunks: what returns later than that would
not have stayed on this disk either. One of these serves one worker; eviction treats the copies as any chunk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

NAMES_MAX: Final = 65_536


class Crossings:
    """The sums of one worker. ``window_bytes``: how far back they reach, in bytes that crossed."""

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._sums: OrderedDict[bytes, int] = OrderedDict()
        self._total_bytes = 0

    def admits(self, chunk_id: bytes, count: int, length: int) -> bool:
        """``count`` bytes of a chunk of ``length`` are about to cross: whether to bring all of it, and keep it.

        An admitted chunk is forgotten: should it be evicted, it begins anew.
        """
        crossed = self._sums.pop(chunk_id, 0)
        self._total_bytes -= crossed
        if crossed >= length:
            return True
        self._sums[chunk_id] = crossed + count
        self._total_bytes += crossed + count
        while self._total_bytes > self._window_bytes or len(self._sums) > NAMES_MAX:
            _, dropped = self._sums.popitem(last=False)
            self._total_bytes -= dropped
        return False

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        held = sum(self._sums.values())
        if held != self._total_bytes:
            yield f"the sums are {held} B together, and count {self._total_bytes} B"
