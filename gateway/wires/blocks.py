"""Memory that answers are received into: blocks, used again once nobody looks into them any more.

A body passes through many hands (the hash, the file, who waits for its first bytes), and none of them says when it is
done. But memory of which a view exists cannot change its size, so whoever tries knows. Memory from the allocator would
come zeroed, and page by page from the kernel: a twelfth of what a cold stream costs. No I/O; for one loop.
"""

from __future__ import annotations

from collections import deque
from typing import Final

BLOCK_BYTES: Final = 256 * 1024
BLOCKS_MAX: Final = 64
_FRESH_BYTES_MAX: Final = BLOCK_BYTES // 8  # less than that is not worth a block
_LOOKS: Final = 4


class Blocks:
    """Up to ``BLOCKS_MAX`` blocks that are kept, and ``scratch``: memory for heads, for whoever reads one now."""

    def __init__(self, scratch_bytes: int = BLOCK_BYTES) -> None:
        self.scratch = memoryview(bytearray(scratch_bytes))
        self._kept: deque[bytearray] = deque()

    def take(self, size: int) -> memoryview:
        """Memory of ``size`` bytes (``BLOCK_BYTES`` at most), whatever they hold; its own while a view of it exists."""
        if size <= _FRESH_BYTES_MAX:
            return memoryview(bytearray(size))
        block = self._free() if len(self._kept) >= _LOOKS else None
        if block is None:
            block = bytearray(BLOCK_BYTES)
            if len(self._kept) < BLOCKS_MAX:
                self._kept.append(block)
        return memoryview(block)[:size]

    def _free(self) -> bytearray | None:
        """One of the blocks that were taken longest ago, if nobody looks into it."""
        for _ in range(_LOOKS):
            block = self._kept.popleft()
            self._kept.append(block)
            try:
                block.append(block.pop())
            except BufferError:
                continue
            return block
        return None
