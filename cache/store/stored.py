"""A whole chunk on disk, opened: which of its bytes may leave, and the verification that lets them.

A unit may leave when its xxh3 matched *and* its pages have stayed in memory since (DESIGN decision 11). The reader
keeps one bit per unit that matched, and the times and size that ``fstat`` gave then: whoever writes to the file
changes them, even one who restores the modification time, and every bit falls. ``cachestat`` says whether the pages
are in memory; readahead is off on the descriptor (POSIX_FADV_RANDOM), so no page comes in beside those that are read
in order to be checked. With ``always`` no bit is believed: each span is read from the page cache (``RWF_NOWAIT``) and
hashed at each send. It is read rather than mapped, since a file cut under a mapping would kill the process.

The marks are touched by the event loop's thread alone; a thread only reads, hashes and reports. The descriptor is
closed when the last holder lets the reader go. ``cache/store/files.py`` makes readers; senders use them.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import DiskDamaged, DiskFailed
from cache.store.mapped import Touches
from cache.store.pages import Pages
from cache.tally import Count, Tally

WINDOW_UNITS: Final = 4
READ_TIMEOUT_S: Final = 2.0
RESTLESS_MAX: Final = 3

Stamp = tuple[int, int, int]


class OpenFile:
    """A descriptor for reading that closes when nobody holds this object any more."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)

    def stamp(self) -> Stamp:
        """Change time, modification time (ns) and size: another value after any write to the file."""
        stat = os.fstat(self.fd)
        return stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size

    def linked(self) -> bool:
        """Whether the file still has a name: an evicted or replaced one only holds disk space."""
        return os.fstat(self.fd).st_nlink > 0


@dataclass(frozen=True, slots=True)
class Desk:
    """What all readers of one store share. ``failed`` counts a strike, ``damaged`` takes a file out of the store."""

    pages: Pages
    threads: ThreadPoolExecutor
    tally: Tally
    always: bool
    failed: Callable[[OSError | None], None]
    damaged: Callable[[Chunk, OpenFile], None]
    timeout_s: float = READ_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a thread found: the file's stamp before and after, the first unit that does not match, or the error."""

    before: Stamp
    after: Stamp
    bad_unit: int | None
    error: OSError | None


_local = threading.local()


def _scratch() -> memoryview:
    """This thread's buffer of one unit, aligned to a page: the kernel copies three times as fast into that."""
    try:
        held: memoryview = _local.scratch
    except AttributeError:
        held = _local.scratch = memoryview(mmap.mmap(-1, UNIT_BYTES))
    return held


def _read_into(fd: int, buffer: memoryview, offset: int, flags: int) -> bool:
    """Fill the buffer from the file; False when the file (or, with RWF_NOWAIT, the memory) ends before."""
    while (count := os.preadv(fd, (buffer,), offset, flags)) < len(buffer):
        if not count:
            return False
        buffer, offset = buffer[count:], offset + count
    return True


class StoredChunk:
    """Implements ports.ChunkReader over a chunk file."""

    __slots__ = ("_checks", "_desk", "_file", "_hashes", "_stamp", "_verified", "chunk", "slot")

    def __init__(self, chunk: Chunk, file: OpenFile, hashes: tuple[int, ...], desk: Desk, *, verified: bool) -> None:
        self.chunk = chunk
        self.slot = Touches.slot(chunk.id)  # of its read mark
        self._file = file
        self._hashes = hashes
        self._desk = desk
        self._stamp = file.stamp()
        self._verified = (1 << len(hashes)) - 1 if verified else 0
        self._checks: dict[int, asyncio.Future[Outcome]] = {}

    @property
    def fd(self) -> int:
        """A descriptor open for reading, and only for that."""
        return self._file.fd

    @property
    def length(self) -> int:
        """Payload bytes."""
        return self.chunk.length

    def unit_hash(self, unit: int) -> int:
        """The xxh3-64 of unit ``unit``."""
        return self._hashes[unit]

    def linked(self) -> bool:
        """Whether the file is still in the store (not evicted, not replaced)."""
        return self._file.linked()

    def ready(self, start: int, stop: int) -> bool:
        """Whether bytes [start, stop) may be sent at once: verified, unchanged since, and in memory."""
        desk = self._desk
        first, last = start // UNIT_BYTES, -(-stop // UNIT_BYTES)
        if desk.always:
            return self._matches_now(first, last)
        need = ((1 << (last - first)) - 1) << first
        if self._verified & need != need or not self._unchanged():
            return False
        return desk.pages.resident(self._file.fd, start, stop)

    def taken(self) -> memoryview | None:
        """The payload of a chunk of one unit, if it is in memory and matches now; None also says "perhaps".

        Valid until this thread reads again.
        """
        try:
            matches = self._matches(0, os.RWF_NOWAIT)
        except OSError:
            return None
        return _scratch()[: self.length] if matches else None

    async def reached(self, position: int) -> int:
        """The bound up to which bytes from ``position`` on may be sent; reads and verifies up to 1 MiB for it.

        Raises DiskDamaged (the file is then out of the store) and DiskFailed (also when the disk does not answer).
        """
        if not 0 <= position < self.length:
            raise ValueError(f"no byte {position} in a chunk of {self.length}")
        first = position // UNIT_BYTES
        stop = min(first + WINDOW_UNITS, len(self._hashes))
        bound = self._ready_bound(position, first, stop)
        if bound:
            return bound
        for _ in range(RESTLESS_MAX):
            if self._judge(await self._read(first, stop), first, stop):
                return self._end_of(stop)
        raise DiskFailed(f"{self.chunk.id.hex()} changes while it is read")

    def _ready_bound(self, position: int, first: int, stop: int) -> int:
        """How far the ready bytes at ``position`` reach, or 0."""
        if self._desk.always:
            return self._end_of(stop) if self._matches_now(first, stop) else 0
        rest = self._verified >> first
        run = (~rest & (rest + 1)).bit_length() - 1
        if run == 0 or not self._unchanged():
            return 0
        for units in (run, min(run, stop - first)):
            bound = self._end_of(first + units)
            if self._desk.pages.resident(self._file.fd, position, bound):
                return bound
        return 0

    def _end_of(self, units: int) -> int:
        return min(units * UNIT_BYTES, self.length)

    def _unchanged(self) -> bool:
        stamp = self._file.stamp()
        if stamp == self._stamp:
            return True
        self._stamp = stamp
        self._verified = 0
        return False

    def _matches_now(self, first: int, stop: int) -> bool:
        """Hash units that are in memory; False when one is not, or does not match (``reached`` will say)."""
        try:
            return all(self._matches(unit, os.RWF_NOWAIT) for unit in range(first, stop))
        except OSError:
            return False

    def _matches(self, unit: int, flags: int = 0) -> bool:
        start = unit * UNIT_BYTES
        buffer = _scratch()[: min(UNIT_BYTES, self.length - start)]
        return _read_into(self._file.fd, buffer, start, flags) and xxh3_64_intdigest(buffer) == self._hashes[unit]

    async def _read(self, first: int, stop: int) -> Outcome:
        """Have a thread read and hash the units; readers of the same window share one reading."""
        check = self._checks.get(first)
        if check is None:
            loop = asyncio.get_running_loop()
            check = loop.run_in_executor(self._desk.threads, self._verify, first, stop)
            self._checks[first] = check
            check.add_done_callback(lambda _: self._checks.pop(first, None))
        try:
            async with asyncio.timeout(self._desk.timeout_s):
                return await asyncio.shield(check)
        except TimeoutError:
            self._desk.failed(None)
            raise DiskFailed(f"no answer from the disk in {self._desk.timeout_s} s") from None

    def _verify(self, first: int, stop: int) -> Outcome:
        """In a thread: read the units from the disk (which brings their pages in) and hash them."""
        before = self._file.stamp()
        bad_unit, error = None, None
        try:
            bad_unit = next((unit for unit in range(first, stop) if not self._matches(unit)), None)
        except OSError as raised:
            error = raised
        return Outcome(before, self._file.stamp(), bad_unit, error)

    def _judge(self, outcome: Outcome, first: int, stop: int) -> bool:
        """Mark what was verified; False when the file changed meanwhile. Raises DiskFailed, DiskDamaged."""
        if outcome.error is not None:
            self._desk.failed(outcome.error)
            raise DiskFailed(f"cannot read {self.chunk.id.hex()}: {outcome.error}")
        if outcome.bad_unit is not None:
            self._verified = 0
            self._desk.damaged(self.chunk, self._file)
            raise DiskDamaged(f"unit {outcome.bad_unit} of {self.chunk.id.hex()} does not match its hash")
        if outcome.before != outcome.after:
            return False
        if outcome.before != self._stamp:
            self._verified, self._stamp = 0, outcome.before
        self._verified |= ((1 << (stop - first)) - 1) << first
        self._desk.tally.add(Count.UNITS_VERIFIED, stop - first)
        return True
