"""The scrub: every chunk file read from the disk and hashed, slowly, so that damage is found before a reader needs it.

Readers verify what they send, so the scrub protects no answer; it finds a dying disk early and keeps chunks from being
found damaged when upstream is down. It reads at most so many bytes per second, and pages that it alone brought into
memory are given back. A damaged file is taken out and counted. :func:`fsck` makes the same reading on demand, changes
nothing and tells everything that is not as it should be, in the files and in the index.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cache.faults import DiskFailed
from cache.store.chunk_files import damaged_unit, open_chunk_file, read_footer, remove_judged
from cache.store.environment import Environment, open_environment
from cache.store.footer import FooterDamaged
from cache.store.index import ChunkIndex
from cache.store.mapped import Tokens, Touches
from cache.store.pages import Pages
from cache.store.places import Places
from cache.store.stored import OpenFile
from cache.tally import Count, Tally

BYTES_PER_S: Final = 64 << 20
BATCH: Final = 256
PASS_PAUSE_S: Final = 600.0


def judge_file(file: OpenFile, chunk_id: bytes, pages: Pages) -> str:
    """Read one chunk file whole: what is wrong with it, "" when nothing. Raises OSError.

    Pages that were not in memory before are not kept there.
    """
    try:
        footer = read_footer(file)
    except FooterDamaged as damage:
        return f"footer: {damage}"
    if footer.chunk.id != chunk_id:
        return f"it is chunk {footer.chunk.id.hex()}"
    length = footer.chunk.length
    resident = pages.resident(file.fd, 0, length)
    unit = damaged_unit(file, footer)
    if pages.available and not resident:
        os.posix_fadvise(file.fd, 0, length, os.POSIX_FADV_DONTNEED)
    return "" if unit is None else f"unit {unit} does not match its hash"


class Scrub:
    """Pass after pass over the chunks that the index names."""

    def __init__(self, environment: Environment, tally: Tally, *, bytes_per_s: int = BYTES_PER_S) -> None:
        self._places = environment.places
        self._index = ChunkIndex(environment)
        self._tally = tally
        self._bytes_per_s = bytes_per_s
        self._pages = Pages()
        self._after = b""

    async def run(self, stop: asyncio.Event) -> None:
        """Scrub until ``stop`` is set, keeping to the rate."""
        while not stop.is_set():
            pause_s = PASS_PAUSE_S
            try:
                batch = await asyncio.to_thread(self.step, 8)
                pause_s = batch / self._bytes_per_s if batch else PASS_PAUSE_S
            except (DiskFailed, OSError):
                self._tally.add(Count.DISK_ERRORS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)

    def step(self, files: int) -> int:
        """Scrub the next ``files`` chunks; the bytes looked at, 0 at the end of a pass. Raises DiskFailed, OSError."""
        rows = self._index.page(self._after, files)
        self._after = rows[-1][0] if rows else b""
        for chunk_id, _, sequence in rows:
            self._scrub(chunk_id, sequence)
        return sum(length for _, length, _ in rows)

    def _scrub(self, chunk_id: bytes, sequence: int) -> None:
        try:
            file = open_chunk_file(self._places.chunk(chunk_id))
            finding = judge_file(file, chunk_id, self._pages)
        except FileNotFoundError:
            self._index.remove([(chunk_id, sequence)])
            return
        if finding and remove_judged(self._places, self._places.chunk(chunk_id), file):
            self._tally.add(Count.DISK_DAMAGED)
            self._index.remove([(chunk_id, sequence)])


def fsck(directory: Path) -> Iterator[str]:
    """Everything that is wrong in a cache directory, one line each; reads all of it, changes nothing.

    On a directory in use, a chunk that comes or goes meanwhile may be named. Raises DiskFailed without an index.
    """
    environment = open_environment(directory)
    places, index, pages = environment.places, ChunkIndex(environment), Pages()
    yield from index.check()
    yield from Tokens(places.tokens).check()
    yield from Touches(places.touches).check()
    rows: set[bytes] = set()
    while batch := index.page(max(rows, default=b""), BATCH):
        rows.update(key for key, _, _ in batch)
    for path in sorted(Path(places.chunks).glob("*/*")):
        chunk_id = Places.chunk_id(path.parent.name, path.name)
        if chunk_id is None:
            yield f"{path}: no chunk's name"
            continue
        yield from _file_findings(places, chunk_id, pages)
        if chunk_id not in rows:
            yield f"{path}: not in the index"
        rows.discard(chunk_id)
    for chunk_id in sorted(rows):
        yield f"{places.chunk(chunk_id)}: in the index, and not there"
    for name in sorted(os.listdir(places.filling)):
        if not os.path.exists(f"/proc/{Places.filler(name)}"):
            yield f"{places.filling}/{name}: left over by a process that is gone"


def _file_findings(places: Places, chunk_id: bytes, pages: Pages) -> Iterator[str]:
    path = places.chunk(chunk_id)
    try:
        finding = judge_file(open_chunk_file(path), chunk_id, pages)
    except OSError as error:
        finding = str(error)
    if finding:
        yield f"{path}: {finding}"
