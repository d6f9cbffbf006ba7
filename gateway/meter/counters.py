"""The meter of one worker: counters in a file that the node process maps too.

A worker makes one :class:`WorkerMeter`; its file ``worker-<i>.<pid>.meter`` lies in the node's run directory and holds
the tally's words and a page per client. Whoever answers a request asks for its :class:`ClientMeter` once per
connection or request and tells it what was put on the socket and what was waited for. Only the loop's thread may write.

The worker holds an exclusive ``flock`` on the file as long as it lives: that is how the node process knows the dead
from the living (pids are reused, locks are not). The file's blocks are allocated at once, so that a disk that fills up
later cannot kill the worker in the middle of an addition; where even that is impossible the meter counts in private
memory and the worker serves on. Distinct clients beyond 1,000 share the client ``other``. See ``layout`` for the words.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import mmap
import os
import time
from collections.abc import Iterator
from typing import Final

from cache.pieces import Cause, Source
from cache.tally import Tally
from gateway.meter import layout

SUFFIX: Final = ".meter"
OTHER: Final = "other"

_ROWS: Final = layout.OperationRows()
_VARIANTS_MAX: Final = 4 * layout.CLIENTS_MAX
# A global costs less than an attribute of a module, and these stand on the hot path.
_HEAD: Final = layout.HEAD
_IN_FLIGHT: Final = layout.IN_FLIGHT
_SOURCES: Final = len(layout.SOURCES)
_SHIFT: Final = layout.BUCKET_SHIFT
_BUCKETS: Final = layout.BUCKETS
_LAST: Final = _BUCKETS - 1
_TIMES: Final = tuple(layout.TIMES + source * layout.TIMES_WORDS for source in Source)


class ClientMeter:
    """What one client got and waited for, in one worker. Every method costs a fraction of a microsecond."""

    __slots__ = ("_body", "_stalls", "_times", "_words")

    def __init__(self, words: memoryview) -> None:
        """``words``: the client's page, writable, of format ``Q``."""
        self._words = words
        self._body = words[layout.BODY : layout.HEAD]
        self._stalls = words[layout.STALLS : layout.REQUESTS]
        times = [words[at : at + layout.TIMES_WORDS] for at in _TIMES]
        self._times = tuple((part[: 2 * _BUCKETS], part[2 * _BUCKETS :]) for part in times)

    def sent(self, source: Source, count: int) -> None:
        """``count`` body bytes from ``source`` were taken by the socket."""
        self._body[source] += count

    def head(self, count: int) -> None:
        """``count`` bytes of response heads were taken by the socket."""
        self._words[_HEAD] += count

    def answered(self, operation: str, status: int, source: Source, first_byte_s: float, total_s: float) -> None:
        """One request is over: its operation's name, its status, and how long first byte and whole answer took."""
        if not 100 <= status < 600:
            status = 599
        self._words[_ROWS[operation] + status // 100 * _SOURCES + source] += 1
        buckets, sums = self._times[source]
        micros = int(first_byte_s * 1e6)
        bucket = (micros >> _SHIFT).bit_length()
        buckets[bucket if bucket < _LAST else _LAST] += 1  # noqa: FURB136 - min() costs four times as much
        sums[0] += micros
        micros = int(total_s * 1e6)
        bucket = (micros >> _SHIFT).bit_length()
        buckets[_BUCKETS + (bucket if bucket < _LAST else _LAST)] += 1  # noqa: FURB136 - as above
        sums[1] += micros

    def waited(self, cause: Cause, seconds: float) -> None:
        """A response waited for ``cause``."""
        self._stalls[cause] += int(seconds * 1e6)

    def began(self) -> None:
        """A request of this client is in flight. Each call needs its ``ended``."""
        self._words[_IN_FLIGHT] += 1

    def ended(self) -> None:
        """A request of this client is in flight no more, however it ended."""
        self._words[_IN_FLIGHT] -= 1


class WorkerMeter:
    """All counters of one worker process. ``tally`` is the cache's, on the same file.

    ``path`` is the file, or an empty string when the counters are private: no ``run_dir`` was given, or the
    directory does not take a file (full, read-only).
    """

    def __init__(self, run_dir: str, worker: int) -> None:
        self.path, self._fd, self._memory = _shared(run_dir, worker) if run_dir else _private()
        self._clients: dict[tuple[str, str, str], ClientMeter] = {}
        self._variants: dict[tuple[str, str, str, int, float], ClientMeter] = {}  # what was asked → its client
        self._words = memoryview(self._memory).cast("Q")
        self.tally = Tally(self._words[layout.HEAD_TALLY : layout.HEAD_TALLY + layout.TALLY_WORDS])
        self._words[layout.HEAD_PID] = os.getpid()
        self._words[layout.HEAD_WORKER] = worker
        self._words[layout.HEAD_STARTED_NS] = time.time_ns()
        self._words[layout.HEAD_VERSION] = layout.VERSION
        self._words[layout.HEAD_MAGIC] = layout.MAGIC  # last: from here on a reader believes the rest

    def client(self, name: str, job: str, rank: str, gpus: int, target: float) -> ClientMeter:
        """The meter of a client; made at its first call. ``target`` is in bytes/s per GPU.

        The 1,001st distinct (name, job, rank) and all after it share the meter of the client ``other``.
        """
        variant = (name, job, rank, gpus, target)
        found = self._variants.get(variant)
        return found if found is not None else self._admit(variant)

    def check(self) -> Iterator[str]:
        """What is wrong with the counters, one line each; silent when well. Reads only."""
        if self._words[layout.HEAD_CLIENTS] != len(self._clients):
            yield f"{self._words[layout.HEAD_CLIENTS]} pages in use, {len(self._clients)} clients known"
        for (name, job, rank), meter in self._clients.items():
            if meter._words[layout.IN_FLIGHT]:  # noqa: SLF001 - as above
                yield f"client {name!r} {job!r} {rank!r} has requests in flight"

    def close(self) -> None:
        """Unlock the file; it stays, for the node process to fold. Nothing may be counted after this."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)  # the mapping holds a duplicate of the descriptor
            os.close(self._fd)
            self._fd = -1
        self._clients.clear()
        self._variants.clear()

    def _admit(self, variant: tuple[str, str, str, int, float]) -> ClientMeter:
        name, job, rank, gpus, target = variant
        key = (name, job, rank)
        if key not in self._clients and len(self._clients) >= layout.CLIENTS_MAX:
            key, gpus, target = (OTHER, "", ""), 0, 0.0
        meter = self._clients.get(key) or self._add(key)
        words = meter._words  # noqa: SLF001 - a client's page is this module's own
        words[layout.GPUS], words[layout.TARGET] = max(gpus, 0), max(int(target), 0)
        if len(self._variants) >= _VARIANTS_MAX:
            self._variants.clear()
        self._variants[variant] = meter
        return meter

    def _add(self, key: tuple[str, str, str]) -> ClientMeter:
        page = len(self._clients) + 1
        start = page * layout.PAGE_BYTES
        label = json.dumps([text[: layout.LABEL_CHARS_MAX] for text in key], ensure_ascii=False).encode(
            "utf-8", "replace"
        )
        words = self._words[page * layout.PAGE_WORDS : (page + 1) * layout.PAGE_WORDS]
        at = start + layout.LABEL_OFFSET
        self._memory[at : at + len(label)] = label
        words[layout.LABEL_LENGTH] = len(label)
        self._words[layout.HEAD_CLIENTS] = page
        meter = self._clients[key] = ClientMeter(words)
        return meter


def _private() -> tuple[str, int, mmap.mmap]:
    return "", -1, mmap.mmap(-1, layout.FILE_BYTES)


def _shared(run_dir: str, worker: int) -> tuple[str, int, mmap.mmap]:
    """A new, locked, wholly allocated file; private memory when the directory does not take one."""
    try:
        path, fd = _create(run_dir, worker)
    except OSError:
        return _private()
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.posix_fallocate(fd, 0, layout.FILE_BYTES)
        return path, fd, mmap.mmap(fd, layout.FILE_BYTES)
    except OSError:
        os.close(fd)
        os.unlink(path)
        return _private()


def _create(run_dir: str, worker: int) -> tuple[str, int]:
    """The first free name: a predecessor that had the same pid may have left its file, whose counts are not ours."""
    for attempt in itertools.count():
        again = f".{attempt}" if attempt else ""
        path = os.path.join(run_dir, f"worker-{worker}.{os.getpid()}{again}{SUFFIX}")
        try:
            return path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
    raise AssertionError("unreachable")
