"""A part of a chunk in memory, as a file, for the readers of a span that was fetched by itself.

It has the face of a chunk file in the making: payload lies at its own offset in the chunk (what is before is a hole),
so whoever sends from a descriptor can send from this one. It is never sealed and goes when nobody holds it. How many
there are is bounded by who makes them, their size by what counts as a small span (``cache/plan.py``).
"""

from __future__ import annotations

import os

from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES
from cache.faults import DiskFailed, OwnFault
from cache.ports import ChunkReader


class Scratch:
    """Implements ports.ChunkWriter but for ``seal``. ``start``: where in the chunk its bytes begin."""

    def __init__(self, start: int) -> None:
        self._fd = os.memfd_create("span", os.MFD_CLOEXEC)
        self._end = start

    def __del__(self) -> None:
        os.close(self._fd)

    @property
    def fd(self) -> int:
        """A descriptor that readers may send from."""
        return self._fd

    @property
    def path(self) -> str:
        """Nobody opens it by name."""
        return ""

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Add payload. Raises DiskFailed when there is no memory for it."""
        view = memoryview(data)
        try:
            while view:
                count = os.pwrite(self._fd, view, self._end)
                self._end += count
                view = view[count:]
        except OSError as error:
            raise DiskFailed(f"no memory for a span: {error}") from error

    def unit_hash(self, unit: int) -> int:
        """The hash of a unit that lies whole in what was appended."""
        start = unit * UNIT_BYTES
        return xxh3_64_intdigest(os.pread(self._fd, min(UNIT_BYTES, self._end - start), start))

    def seal(self) -> ChunkReader:
        """A part is no chunk. Raises OwnFault."""
        raise OwnFault("a part of a chunk is never sealed")

    def abandon(self) -> None:
        """Nothing is left anywhere."""
