"""Bodies of the objects that a run writes: slices of one random buffer at differing offsets.

Incompressible, different from object to object, and no copy each. One maker belongs to one process; threads share it,
since it is only read. A shell, for its dice.
"""

from __future__ import annotations

import os
from typing import Final

_OFFSETS: Final = 64 * 1024


class Bodies:
    """Makes bodies of up to ``size_max`` bytes; the buffer is made on first use."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._buffer: memoryview | None = None

    def body(self, number: int, size: int) -> memoryview:
        """The body of object ``number``, of ``size`` bytes."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = memoryview(os.urandom(self._size_max + _OFFSETS))
        start = number * 64 % _OFFSETS
        return buffer[start : start + size]
