"""The catalog in LMDB: what this node knows of each key, shared by its workers. Implements ports.Catalog.

A row lies under the digest of its question and repeats the question, so that two questions with one digest never share
an answer. It counts only while the token of the key's slot is the one that was read before upstream was asked: an
invalidation is one memory write and holds in every process at once. Old rows are overwritten, not deleted; ``trim``
(node process) bounds their number. Trouble with LMDB, or a row that does not decode, is a miss and never an exception:
the catalog only saves questions. Rows may be written a moment after they are put, all of that moment in one
transaction (``later``): this process sees them at once, the others then.

The last rows found are kept decoded, and looked up again only once a row of their slot has been written by anybody
(``mapped.Tokens.changes``), decoded again only when the bytes are others. ``checked_at`` is comparable between the
processes of one boot; the node process empties the catalog after another boot (:mod:`cache.store.environment`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import lmdb
import msgspec

from cache.faults import DiskFailed
from cache.store.environment import Environment
from cache.store.mapped import TOKEN_SLOTS, Tokens
from cache.tally import Count, Tally
from cache.versions import Entry, ObjectRef, ObjectVersion

KNOWN_MAX: Final = 8192
UNWRITTEN_MAX: Final = 512
ROWS_MAX: Final = 1_000_000
TRIM_SAMPLE: Final = 512


class _Row(msgspec.Struct, array_like=True, frozen=True):
    """A row as it lies in LMDB: the question, then the entry."""

    ref: tuple[str, str, str]
    origin: str
    etag: str
    size: int
    version_id: str
    headers: tuple[tuple[str, str], ...]
    checked_at: float
    token: int
    partial: bool = False


class _Known:
    """A question that was asked: where its row lies, and the row as last seen, with what it decodes to."""

    __slots__ = ("change", "digest", "entry", "raw", "slot")

    def __init__(self, ref: ObjectRef) -> None:
        self.digest = ref.digest()
        self.slot = ref.slot(TOKEN_SLOTS)
        self.change = -1  # the slot's word before the row was read; -1: it was not
        self.raw = b""
        self.entry: Entry | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Row).decode


class LmdbCatalog:
    """One process's face of the catalog. ``rows_max`` is what ``trim`` cuts the number of rows down to.

    ``later`` calls what it is given a moment later (None: rows are written as they are put).
    """

    def __init__(
        self,
        environment: Environment,
        tokens: Tokens,
        tally: Tally,
        *,
        rows_max: int = ROWS_MAX,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._environment = environment  # kept: while any part of it is in use, nobody may open it anew
        self._env = environment.lmdb
        self._db = environment.catalog
        self._tokens = tokens
        self._words, self._changes = tokens.words, tokens.changes
        self._tally = tally
        self._rows_max = rows_max
        self._later = later
        self._known: dict[ObjectRef, _Known] = {}
        self._unwritten: dict[ObjectRef, Entry] = {}

    def find(self, ref: ObjectRef) -> Entry | None:
        """The entry, unless there is none or an invalidation came after it was asked for."""
        known = self._ask(ref)
        entry = self._row(known, ref)
        return entry if entry is not None and entry.token == self._words[known.slot] else None

    def recall(self, ref: ObjectRef) -> ObjectVersion | None:
        """The version in the key's row, whether it still counts or not."""
        entry = self._row(self._ask(ref), ref)
        return entry.version if entry is not None else None

    def _row(self, known: _Known, ref: ObjectRef) -> Entry | None:
        change = self._changes[known.slot]
        if change == known.change:
            return known.entry
        if ref in self._unwritten:
            self.write()
            change = self._changes[known.slot]
        try:
            with self._env.begin(db=self._db) as txn:
                raw = txn.get(known.digest, default=b"")
        except lmdb.Error:
            self._tally.add(Count.DISK_ERRORS)
            return None
        if raw != known.raw:
            known.raw, known.entry = raw, _entry_of(raw, ref)
        known.change = change
        return known.entry

    def put(self, ref: ObjectRef, entry: Entry) -> None:
        """Remember. What cannot be a row, or is not taken by LMDB, is forgotten when it is written."""
        known = self._ask(ref)
        known.raw, known.entry, known.change = b"", entry, self._changes[known.slot]
        begins = not self._unwritten
        self._unwritten[ref] = entry
        if self._later is None or len(self._unwritten) >= UNWRITTEN_MAX:
            self.write()
        elif begins:
            self._later(self.write)

    def write(self) -> None:
        """Write the rows that were put and are not written yet."""
        unwritten, self._unwritten = self._unwritten, {}
        if not unwritten:
            return
        rows = []
        for ref, entry in unwritten.items():
            known = self._ask(ref)
            try:
                rows.append((known, entry, _row_of(ref, entry)))
            except ValueError:  # a header of upstream's is no text
                known.raw, known.entry = b"", None
        try:
            with self._env.begin(db=self._db, write=True) as txn:
                for known, _, raw in rows:
                    txn.put(known.digest, raw)
        except lmdb.Error:
            self._tally.add(Count.DISK_ERRORS)
            for known, _, _ in rows:
                known.raw, known.entry = b"", None
        for known, entry, raw in rows:
            if known.entry is entry:
                known.raw = raw  # it need not be decoded when it is read again
            self._tokens.changed(known.slot)

    def token(self, ref: ObjectRef) -> int:
        """The ref's invalidation token now."""
        return self._words[self._ask(ref).slot]

    def invalidate(self, refs: Sequence[ObjectRef]) -> None:
        """Whatever was known of these keys no longer counts, in any process, once this returns."""
        for ref in refs:
            self._tokens.renew(ref.slot(TOKEN_SLOTS))

    def distrust(self) -> None:
        """Node process: every entry, of any key, is to be asked for again."""
        self._tokens.renew_all()

    def rows(self) -> int:
        """How many rows there are, counting or not. Raises DiskFailed."""
        try:
            with self._env.begin() as txn:
                return int(txn.stat(self._db)["entries"])
        except lmdb.Error as error:
            raise DiskFailed(f"catalog: {error}") from error

    def trim(self) -> int:
        """Node process: while there are too many rows, drop the older half of a random sample. How many; blocks.

        One call drops at most ``TRIM_SAMPLE`` / 2 rows, so that no writer waits long. Raises DiskFailed.
        """
        surplus = self.rows() - self._rows_max
        if surplus <= 0:
            return 0
        try:
            with self._env.begin(db=self._db, write=True) as txn:
                sample = list(_sample(txn.cursor(), min(TRIM_SAMPLE, self._rows_max + surplus)))
                oldest = sorted(sample)[: min(surplus, max(1, len(sample) // 2))]
                return sum(txn.delete(key) for _, key in oldest)
        except lmdb.Error as error:
            raise DiskFailed(f"catalog: {error}") from error

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        yield from self._tokens.check()
        if len(self._known) > KNOWN_MAX:
            yield f"{len(self._known)} questions remembered, at most {KNOWN_MAX}"

    def _ask(self, ref: ObjectRef) -> _Known:
        known = self._known.get(ref)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                del self._known[next(iter(self._known))]
            known = self._known[ref] = _Known(ref)
        return known


def _row_of(ref: ObjectRef, entry: Entry) -> bytes:
    version = entry.version
    row = _Row(
        (ref.bucket, ref.key, ref.version_id),
        version.origin,
        version.etag,
        version.size,
        version.version_id,
        entry.headers,
        entry.checked_at,
        entry.token,
        entry.partial,
    )
    return _encode(row)


def _entry_of(raw: bytes, ref: ObjectRef) -> Entry | None:
    """The entry in a row; None when the row is damaged or answers another question."""
    try:
        row = _decode(raw)
        if row.ref != (ref.bucket, ref.key, ref.version_id):
            return None
        version = ObjectVersion(row.origin, ref.bucket, ref.key, row.etag, row.size, row.version_id)
    except (msgspec.DecodeError, ValueError):
        return None
    return Entry(version, row.headers, row.checked_at, row.token, row.partial)


def _sample(cursor: lmdb.Cursor, count: int) -> Iterator[tuple[float, bytes]]:
    """(time of checking, key) of ``count`` rows from a random place on, and round; digests are spread evenly."""
    cursor.set_range(secrets.token_bytes(16)) or cursor.first()
    for _ in range(count):
        try:
            yield _decode(cursor.value()).checked_at, bytes(cursor.key())
        except msgspec.DecodeError:
            yield float("-inf"), bytes(cursor.key())
        cursor.next() or cursor.first()
