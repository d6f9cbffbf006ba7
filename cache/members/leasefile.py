"""The leases of one node, in a small file that its workers share: what one grants, another's write must wait for.

What the node heard of the others lies there too, so that it distrusts once and not once per worker. One record per
member, found by the hash of its id; the rules are in ``leases``. Every look and every change happens under an exclusive
``flock`` on the process's own descriptor, for microseconds, so a grant and a missed invalidation in two workers have an
order. The file belongs to this boot (the run directory): when it is new, every standing is new. Opening it counts as a
grant to everybody, see ``leases``. Times are of the machine's monotonic clock, which its processes share. A file of
another layout is begun anew. The file has all its blocks before it is mapped: a write to a hole on a full disk would
kill the process.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from xxhash import xxh3_64_intdigest

from cache.faults import DiskFailed
from cache.members.leases import Grant, Mourning, judge_ask, judge_miss, may_forgo
from cache.ports import Clock

MEMBERS_MAX: Final = 1024

_MAGIC: Final = 0x466F72656C656131  # layout number one
_WORDS: Final = 8  # per record, and of the header
_BYTES: Final = 8 * _WORDS * (MEMBERS_MAX + 1)
_OPENED_AT: Final = 1  # word of the header
# The words of a record: who, what this node granted to it, what this node heard of it.
_ID, _GRANTED_AT, _STANDING, _GRANTED_STANDING, _OBEYED, _HEARD_AT, _REFUSED_AT, _DISTRUSTED_AT = range(_WORDS)


class LeaseTable:
    """See the theory. ``lease_s`` is the cluster's. Raises DiskFailed when the file or room for it cannot be had."""

    def __init__(self, path: str, *, lease_s: float, clock: Clock) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._fd, self._map = _mapped(path)
        with self._locked():
            self._bytes = memoryview(self._map)
            self._words, self._times = self._bytes.cast("Q"), self._bytes.cast("d")
            if self._words[0] != _MAGIC:
                self._map[:] = bytes(_BYTES)
                self._words[0] = _MAGIC
            self._times[_OPENED_AT] = clock.monotonic()

    def close(self) -> None:
        """Let go of the file; nothing else may follow."""
        for view in (self._words, self._times, self._bytes):
            view.release()
        self._map.close()
        os.close(self._fd)

    def asked(self, node_id: str, standing: int) -> tuple[float, int]:
        """A member asks for a lease, quoting a standing: seconds granted (0: none), and its standing now."""
        with self._locked():
            at = self._record(node_id)
            grant = judge_ask(self._grant(at), quoted=standing, now=self._clock.monotonic())
            if grant is not None:
                self._put(at, grant)
            return (0.0 if grant is None else self.lease_s), self._words[at + _STANDING]

    def forgo(self, node_id: str) -> bool:
        """Whether the member need not be told of an invalidation; then it counts as missed."""
        with self._locked():
            at = self._record(node_id)
            now, opened_at = self._clock.monotonic(), self._times[_OPENED_AT]
            if not may_forgo(self._grant(at), now=now, opened_at=opened_at, lease_s=self.lease_s):
                return False
            self._words[at + _STANDING] = _fresh()
            return True

    def missed(self, node_id: str, *, began_at: float, gone: bool) -> float:
        """The member could not be told: until when (monotonic seconds) the write must wait."""
        with self._locked():
            at = self._record(node_id)
            grant, until = judge_miss(
                self._grant(at),
                fresh=_fresh(),
                began_at=began_at,
                gone=gone,
                opened_at=self._times[_OPENED_AT],
                lease_s=self.lease_s,
            )
            self._put(at, grant)
            return until

    def obeyed(self, node_id: str) -> int:
        """The standing at the member ``node_id`` since which this node has distrusted what it knew; 0: none."""
        with self._locked():
            return self._words[self._record(node_id) + _OBEYED]

    def obey(self, node_id: str, standing: int) -> None:
        """This node has distrusted everything after it learned ``standing``."""
        with self._locked():
            self._words[self._record(node_id) + _OBEYED] = standing

    def heard(self, node_id: str) -> None:
        """The member itself just granted a lease to a worker of this node."""
        with self._locked():
            self._times[self._record(node_id) + _HEARD_AT] = self._clock.monotonic()

    def must_distrust(self, node_id: str) -> bool:
        """Every port of the member refused: whether this node must distrust everything now."""
        with self._locked():
            mourning = self._mourning(self._record(node_id))
        return mourning.must_distrust(now=self._clock.monotonic(), lease_s=self.lease_s)

    def distrusted(self, node_id: str, *, asked_at: float) -> None:
        """This node has distrusted everything after a refusal that was asked for at ``asked_at`` (monotonic s)."""
        with self._locked():
            at = self._record(node_id)
            mourning = self._mourning(at).distrusted(asked_at=asked_at)
            self._times[at + _REFUSED_AT] = mourning.refused_at
            self._times[at + _DISTRUSTED_AT] = mourning.distrusted_at

    def renew_standings(self) -> None:
        """Every member must distrust everything before its next lease: writes may have been lost with a process."""
        with self._locked():
            for at in range(_WORDS, _WORDS * (MEMBERS_MAX + 1), _WORDS):
                if self._words[at]:
                    self._words[at + _STANDING] = _fresh()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _record(self, node_id: str) -> int:
        """The first word of the member's record, made when there is none. Raises ValueError when the table is full."""
        name = xxh3_64_intdigest(node_id.encode()) or 1
        for at in range(_WORDS, _WORDS * (MEMBERS_MAX + 1), _WORDS):
            if self._words[at] == name:
                return at
            if not self._words[at]:
                self._words[at + _ID] = name
                self._words[at + _STANDING] = _fresh()
                return at
        raise ValueError(f"a lease table holds {MEMBERS_MAX} members")

    def _grant(self, at: int) -> Grant:
        return Grant(self._times[at + _GRANTED_AT], self._words[at + _STANDING], self._words[at + _GRANTED_STANDING])

    def _mourning(self, at: int) -> Mourning:
        return Mourning(self._times[at + _HEARD_AT], self._times[at + _REFUSED_AT], self._times[at + _DISTRUSTED_AT])

    def _put(self, at: int, grant: Grant) -> None:
        self._times[at + _GRANTED_AT] = grant.granted_at
        self._words[at + _STANDING] = grant.standing
        self._words[at + _GRANTED_STANDING] = grant.granted_standing


def _mapped(path: str) -> tuple[int, mmap.mmap]:
    """The opened file and its map, all blocks allocated. Raises DiskFailed."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _BYTES)
            return fd, mmap.mmap(fd, _BYTES)
        except OSError:
            os.close(fd)
            raise
    except OSError as error:
        raise DiskFailed(f"cannot keep leases in {path}: {error}") from error


def _fresh() -> int:
    """A standing that nobody has heard of; never 0."""
    return int.from_bytes(os.urandom(8), "big") | 1
