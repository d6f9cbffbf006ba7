"""The index of chunk files: who they are, how much disk they take, and in which order they came.

Three databases move together in one transaction: ``chunks`` (id → bytes on disk, sequence, time), ``arrivals``
(sequence → id, bytes on disk) and the two numbers in ``meta`` (last sequence, bytes used). So the bytes used always
equal the sum of the rows, whichever process was killed when. The *files* are the truth: a row without a file and a
file without a row both happen (a kill between rename and insert) and recovery settles them. The hit path never comes
here.

Every method is one short transaction and raises DiskFailed when LMDB cannot do it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Concatenate, Final, ParamSpec, TypeVar

import lmdb

from cache.faults import DiskFailed
from cache.store.environment import Environment

_ROW: Final = struct.Struct("<QQd")
_ARRIVAL: Final = struct.Struct("<16sQ")
_SEQUENCE: Final = struct.Struct(">Q")
_USED_KEY: Final = b"used bytes"
_LAST_KEY: Final = b"last sequence"

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A chunk in the order of coming, and the bytes that its file takes on the disk."""

    sequence: int
    chunk_id: bytes
    disk_bytes: int


def _as_disk_fault(
    method: Callable[Concatenate[ChunkIndex, P], R],
) -> Callable[Concatenate[ChunkIndex, P], R]:
    def guarded(self: ChunkIndex, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except (lmdb.Error, struct.error) as error:
            raise DiskFailed(f"index: {error}") from error

    guarded.__doc__ = method.__doc__
    return guarded


class ChunkIndex:
    """The rows of one environment, shared by all processes of the node."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment  # kept: while any part of it is in use, nobody may open it anew
        self._env = environment.lmdb
        self._chunks = environment.chunks
        self._arrivals = environment.arrivals
        self._meta = environment.meta

    @_as_disk_fault
    def moment(self) -> int:
        """The number of the last change, by whichever process, to these rows or to the catalog beside them."""
        with self._env.begin() as txn:
            return int(txn.id())

    @_as_disk_fault
    def used(self) -> int:
        """Bytes on disk of all rows."""
        with self._env.begin(db=self._meta) as txn:
            return self._number(txn, _USED_KEY)

    @_as_disk_fault
    def insert(self, rows: Iterable[tuple[bytes, int, float]]) -> None:
        """Add (id, bytes on disk, seconds since the epoch); an id that is there already arrives anew."""
        with self._env.begin(write=True) as txn:
            used, last = self._number(txn, _USED_KEY), self._number(txn, _LAST_KEY)
            for chunk_id, length, sealed_at in rows:
                used += length - self._drop(txn, chunk_id, None)
                last += 1
                txn.put(chunk_id, _ROW.pack(length, last, sealed_at), db=self._chunks)
                txn.put(_SEQUENCE.pack(last), _ARRIVAL.pack(chunk_id, length), db=self._arrivals)
            self._set(txn, _USED_KEY, used)
            self._set(txn, _LAST_KEY, last)

    @_as_disk_fault
    def remove(self, rows: Iterable[tuple[bytes, int | None]]) -> int:
        """Take out ids, each only if it still has the given sequence (None: in any case); the bytes taken out."""
        with self._env.begin(write=True) as txn:
            taken = sum(self._drop(txn, chunk_id, sequence) for chunk_id, sequence in rows)
            self._set(txn, _USED_KEY, self._number(txn, _USED_KEY) - taken)
        return taken

    @_as_disk_fault
    def arrivals(self, after: int, limit: int) -> list[Arrival]:
        """At most ``limit`` chunks that came after sequence ``after`` and are still there, in order."""
        with self._env.begin(db=self._arrivals) as txn:
            cursor = txn.cursor()
            found: list[Arrival] = []
            if cursor.set_range(_SEQUENCE.pack(after + 1)):
                for key, value in cursor:
                    if len(found) == limit:
                        break
                    found.append(Arrival(_SEQUENCE.unpack(key)[0], *_ARRIVAL.unpack(value)))
            return found

    @_as_disk_fault
    def page(self, after: bytes, limit: int) -> list[tuple[bytes, int, int]]:
        """At most ``limit`` rows (id, bytes on disk, sequence) with ids beyond ``after``, by id."""
        with self._env.begin(db=self._chunks) as txn:
            cursor = txn.cursor()
            found: list[tuple[bytes, int, int]] = []
            if cursor.set_range(after + b"\0" if after else b"\0"):
                for key, value in cursor:
                    if len(found) == limit:
                        break
                    length, sequence, _ = _ROW.unpack(value)
                    found.append((bytes(key), length, sequence))
            return found

    @_as_disk_fault
    def missing(self, chunk_ids: Iterable[bytes]) -> list[bytes]:
        """Those of the ids that have no row."""
        with self._env.begin(db=self._chunks) as txn:
            return [chunk_id for chunk_id in chunk_ids if txn.get(chunk_id) is None]

    @_as_disk_fault
    def free_dead_readers(self) -> int:
        """Give back what killed processes held in the environment, so that its file stops growing; how many."""
        return int(self._env.reader_check())

    @_as_disk_fault
    def check(self) -> Iterator[str]:
        """What is wrong with me: sums and cross references. Reads every row."""
        return iter(self._findings())

    def _findings(self) -> list[str]:
        with self._env.begin() as txn:
            rows = {bytes(key): _ROW.unpack(value) for key, value in txn.cursor(db=self._chunks)}
            arrivals = {
                _SEQUENCE.unpack(key)[0]: _ARRIVAL.unpack(value) for key, value in txn.cursor(db=self._arrivals)
            }
            used = self._number(txn, _USED_KEY)
        total = sum(length for length, _, _ in rows.values())
        found = [] if total == used else [f"rows hold {total} B, used bytes counts {used} B"]
        pairs = {sequence: (chunk_id, length) for chunk_id, (length, sequence, _) in rows.items()}
        return found if pairs == arrivals else [*found, "chunks and arrivals name different rows"]

    def _drop(self, txn: lmdb.Transaction, chunk_id: bytes, sequence: int | None) -> int:
        row = txn.get(chunk_id, db=self._chunks)
        if row is None:
            return 0
        length, held, _ = _ROW.unpack(row)
        if sequence is not None and sequence != held:
            return 0
        txn.delete(chunk_id, db=self._chunks)
        txn.delete(_SEQUENCE.pack(held), db=self._arrivals)
        return int(length)

    def _number(self, txn: lmdb.Transaction, key: bytes) -> int:
        return int.from_bytes(txn.get(key, default=b"", db=self._meta), "little")

    def _set(self, txn: lmdb.Transaction, key: bytes, value: int) -> None:
        txn.put(key, max(value, 0).to_bytes(8, "little"), db=self._meta)
