"""Recovery: index and files brought together again, in the background, while the node serves.

The files are the truth. A chunk file without a row (the index was lost, or a kill fell between rename and insert) has
its footer read and gets its row; a row without a file goes; a file that is no whole chunk of its own name goes. Files
with a row are not read: the store checks each footer when it opens it. Leftovers in ``filling/`` go when the process
that filled them is gone.

The node process runs this after :func:`~cache.store.environment.prepare` and now and then; workers may fill, read and
evict meanwhile, so a difference is looked at twice before it is acted upon. One step is one of the 256 directories.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterable
from typing import Final

from cache.faults import DiskFailed
from cache.store.chunk_files import open_chunk_file, read_footer, remove_judged
from cache.store.environment import Environment
from cache.store.footer import FooterDamaged, disk_bytes
from cache.store.index import ChunkIndex
from cache.store.places import Places
from cache.tally import Count, Tally

BATCH: Final = 128
FANS: Final = 256


class Recovery:
    """Passes over a cache directory. ``fans_done`` of the 256 directories are settled in the present pass."""

    def __init__(self, environment: Environment, tally: Tally) -> None:
        self._places = environment.places
        self._index = ChunkIndex(environment)
        self._tally = tally
        self.fans_done = 0

    async def run(self, stop: asyncio.Event) -> None:
        """The whole pass, in a thread, until ``stop`` is set. A directory that cannot be read or settled is counted."""
        await asyncio.to_thread(self.clear_filling)
        for fan in range(FANS):
            if stop.is_set():
                return
            try:
                await asyncio.to_thread(self.settle, fan)
            except (DiskFailed, OSError):
                self._tally.add(Count.DISK_ERRORS)
            self.fans_done = fan + 1

    def clear_filling(self, *, everything: bool = False) -> int:
        """Remove leftovers of fills: of dead processes, or (before any worker runs) everything; how many.

        What the disk refuses is counted and left. Never raises.
        """
        try:
            names = _names(self._places.filling)
        except OSError:
            self._tally.add(Count.DISK_ERRORS)
            return 0
        gone = [name for name in names if everything or not _alive(Places.filler(name))]
        for name in gone:
            path = f"{self._places.filling}/{name}"
            try:
                os.unlink(path)
            except IsADirectoryError:
                shutil.rmtree(path, ignore_errors=True)
            except FileNotFoundError:
                pass
            except OSError:
                self._tally.add(Count.DISK_ERRORS)
        return len(gone)

    def settle(self, fan: int) -> None:
        """Bring files and rows of one of the 256 directories together. Blocks. Raises DiskFailed, OSError."""
        names = _names(f"{self._places.chunks}/{fan:02x}")
        on_disk = set(self._ids(f"{fan:02x}", names))
        rows = self._rows(fan)
        lost = [(key, rows[key]) for key in rows.keys() - on_disk if not os.path.lexists(self._places.chunk(key))]
        for at in range(0, len(lost), BATCH):
            self._index.remove(lost[at : at + BATCH])
        unknown = sorted(on_disk - rows.keys())
        for at in range(0, len(unknown), BATCH):
            self._adopt(unknown[at : at + BATCH])

    def _ids(self, fan: str, names: Iterable[str]) -> Iterable[bytes]:
        for name in names:
            chunk_id = Places.chunk_id(fan, name)
            if chunk_id is not None:
                yield chunk_id
            else:
                self._tally.add(Count.DISK_DAMAGED)
                remove_judged(self._places, f"{self._places.chunks}/{fan}/{name}", None)

    def _rows(self, fan: int) -> dict[bytes, int]:
        rows: dict[bytes, int] = {}
        after = bytes([fan])
        while batch := self._index.page(after, BATCH):
            rows.update((key, sequence) for key, _, sequence in batch if key[0] == fan)
            after = batch[-1][0]
            if after[0] != fan:
                break
        return rows

    def _adopt(self, chunk_ids: list[bytes]) -> None:
        """Give rows to those of the files that are whole chunks, as their footers say, and remove the others."""
        found = [row for chunk_id in chunk_ids if (row := self._read(chunk_id)) is not None]
        missing = set(self._index.missing(chunk_id for chunk_id, _, _ in found))
        self._index.insert(row for row in found if row[0] in missing)

    def _read(self, chunk_id: bytes) -> tuple[bytes, int, float] | None:
        path = self._places.chunk(chunk_id)
        try:
            file = open_chunk_file(path)
        except FileNotFoundError:
            return None
        except OSError:
            file = None
        if file is not None:
            with contextlib.suppress(FooterDamaged):
                chunk = read_footer(file).chunk
                if chunk.id == chunk_id:
                    status = os.fstat(file.fd)
                    return chunk_id, disk_bytes(status.st_size), status.st_mtime
        self._tally.add(Count.DISK_DAMAGED)
        remove_judged(self._places, path, file)
        return None


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _alive(pid: int | None) -> bool:
    return pid is not None and os.path.exists(f"/proc/{pid}")
