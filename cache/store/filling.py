"""A chunk file in the making: appended to under a temporary name, hashed unit by unit, made visible whole.

Nothing but ``seal`` gives the file its final name, and only after payload and footer are written, so whatever lies
under a final name was whole when it got there. A process killed before leaves a file in ``filling/`` and nothing else.
The descriptor that others read from is opened for reading only: it may be handed to another process. It stays open as
long as anyone holds the writer or the reader that ``seal`` returned. All methods block: call them in a thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from xxhash import xxh3_64

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import DiskFailed, DiskFault, OwnFault
from cache.store.footer import encode
from cache.store.room import reserve
from cache.store.stored import OpenFile, StoredChunk


@dataclass(frozen=True, slots=True)
class Outlet:
    """What a writer asks of its store. ``fault`` turns an OSError into the fault to raise and counts it."""

    publish: Callable[[Chunk, str, int], None]
    sealed: Callable[[Chunk, OpenFile, tuple[int, ...]], StoredChunk]
    ended: Callable[[str], None]
    fault: Callable[[OSError], DiskFault]


class FileWriter:
    """Implements ports.ChunkWriter. Raises OSError from the constructor; the store turns it into a fault."""

    def __init__(self, chunk: Chunk, path: str, outlet: Outlet) -> None:
        self._chunk = chunk
        self._path = path
        self._outlet = outlet
        self._written = 0
        self._hashes: list[int] = []
        self._unit = xxh3_64()
        flags = os.O_NOFOLLOW | os.O_CLOEXEC
        self._out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600)
        try:
            reserve(self._out, chunk.length)
            self._file = OpenFile(os.open(path, os.O_RDONLY | flags))
        except OSError:
            os.close(self._out)
            self._out = -1
            os.unlink(path)
            raise

    def __del__(self) -> None:
        self._close()

    @property
    def fd(self) -> int:
        """A descriptor for reading what was appended; valid while the writer or the sealed reader is held."""
        return self._file.fd

    @property
    def path(self) -> str:
        """The temporary file."""
        return self._path

    def unit_hash(self, unit: int) -> int:
        """The hash of a unit whose last byte was appended."""
        return self._hashes[unit] if unit < len(self._hashes) else self._unit.intdigest()

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Add payload. Raises DiskFull, DiskFailed, and OwnFault for more bytes than the chunk has."""
        view = memoryview(data).cast("B")
        if self._written + len(view) > self._chunk.length:
            raise OwnFault(f"more than {self._chunk.length} bytes for {self._chunk.id.hex()}")
        self._write(view)
        self._hash(view)
        self._written += len(view)

    def seal(self) -> StoredChunk:
        """Write the footer, make the chunk visible, return it. Raises DiskFull, DiskFailed, OwnFault when short."""
        if self._written != self._chunk.length:
            raise OwnFault(f"{self._written} of {self._chunk.length} bytes for {self._chunk.id.hex()}")
        if self._written % UNIT_BYTES:
            self._hashes.append(self._unit.intdigest())
        hashes = tuple(self._hashes)
        footer = encode(self._chunk, hashes)
        self._write(memoryview(footer))
        try:
            self._close()
            self._outlet.publish(self._chunk, self._path, self._written + len(footer))
        except OSError as error:
            raise self._outlet.fault(error) from error
        return self._outlet.sealed(self._chunk, self._file, hashes)

    def abandon(self) -> None:
        """Drop the file, if it was not sealed. Never raises."""
        self._close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def _write(self, view: memoryview) -> None:
        if self._out < 0:
            raise DiskFailed(f"{self._path} is closed")
        try:
            while view:
                view = view[os.write(self._out, view) :]
        except OSError as error:
            raise self._outlet.fault(error) from error

    def _hash(self, view: memoryview) -> None:
        at = self._written % UNIT_BYTES
        while view:
            part = view[: UNIT_BYTES - at]
            self._unit.update(part)
            at += len(part)
            view = view[len(part) :]
            if at == UNIT_BYTES:
                self._hashes.append(self._unit.intdigest())
                self._unit.reset()
                at = 0

    def _close(self) -> None:
        out, self._out = getattr(self, "_out", -1), -1
        if out >= 0:
            with contextlib.suppress(OSError):
                os.close(out)
            self._outlet.ended(self._path)
