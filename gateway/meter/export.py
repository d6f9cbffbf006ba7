"""The meter of a node: the files of its workers added up, the rates of the last minute, and the two ways to show them.

The node process makes one :class:`NodeMeter` *before* it starts workers, calls ``sample`` about four times a second and
``status`` or ``metrics`` when asked. Counters begin at 0 with it: files that dead workers of an earlier node process
left are deleted. From then on nothing that a worker counted is lost: when a worker dies (its ``flock`` is free), what
its file holds is added to a base sum, once; the file stays for a post-mortem, the latest ``DEAD_FILES_MAX`` of them. So
sums never shrink, whoever is killed. All of it belongs to one thread. ``readings`` and ``documents`` know what the
words mean; this module only finds files, maps them and keeps time.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import add
from typing import Final

from cache.tally import Count, Tally
from gateway.meter import documents, layout
from gateway.meter.counters import SUFFIX
from gateway.meter.documents import Document
from gateway.meter.metrics import Snapshot, render
from gateway.meter.readings import ClientKey, Pages, Roster, Sums
from gateway.meter.stalls import Recent
from gateway.meter.windows import Series

DEAD_FILES_MAX: Final = 16


def _nothing() -> tuple[int, int]:
    return 0, 0


def _nobody() -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the status shows beside the counters. The callables are asked at every status and must not block long."""

    version: str = ""
    space: Callable[[], tuple[int, int]] = _nothing  # bytes used by the cache, and its quota
    members: Callable[[], Sequence[str]] = _nobody  # ids of the nodes in the ring


@dataclass(slots=True)
class _Worker:
    """One worker's file, mapped."""

    path: str
    fd: int
    pages: Pages
    alive: bool = True

    def look(self) -> bool:
        """Whether the worker lives: it holds the lock as long as it does."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        return False

    def row(self, sums: Sums) -> Document:
        """The worker in the status document; ``sums`` are its own counts."""
        pid, index, started_at = self.pages.head()
        return {
            "worker": index,
            "pid": pid,
            "alive": self.alive,
            "started_at": started_at,
            "connections": sums.tally[Count.CONNECTIONS_NOW] if self.alive else 0,
            "requests": sum(counts.requests for counts in sums.clients.values()),
            "loop_lag_s": sums.tally[Count.LOOP_LAG_US_MAX] / 1e6 if self.alive else 0.0,
        }


class _Track:
    """The recent past of one client, or of all together: its body bytes, and its waits."""

    __slots__ = ("_series", "_waits")

    def __init__(self, t: float) -> None:
        """It had nothing at ``t``."""
        self._series = Series(t, 0)
        self._waits = Recent(t, [0] * len(layout.CAUSES))

    def note(self, t: float, moving: Sequence[int]) -> None:
        self._series.add(t, sum(moving[: len(layout.SOURCES)]))
        self._waits.add(t, moving[-len(layout.CAUSES) :])

    def rates(self) -> dict[str, float]:
        return self._series.rates()

    def recent(self) -> tuple[dict[str, float], float]:
        return self._waits.waited_s(), self._waits.elapsed_s()


@dataclass(slots=True)
class _State:
    """All counts at one moment."""

    t: float
    sums: Sums
    workers: list[Document]


class NodeMeter:
    """Sums, rates and waits of one node. ``tally``: what the node process itself counts (evictions), added to the rest.

    Raises OSError when ``run_dir`` cannot be made or listed.
    """

    def __init__(
        self, run_dir: str, node_id: str, facts: NodeFacts | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tally = Tally()
        self._run_dir = run_dir
        self._node_id = node_id
        self._facts = facts or NodeFacts()
        self._clock = clock
        self._began = self._sampled = clock()
        self._workers: dict[str, _Worker] = {}
        self._base = Sums()
        self._roster = Roster()
        self._all = _Track(self._began)
        self._tracks: dict[ClientKey, _Track] = {}
        os.makedirs(run_dir, mode=0o700, exist_ok=True)
        self._clear_away()

    def sample(self) -> None:
        """Look who lives, and note what each client got and waited for: cheap, call it about four times a second."""
        self._find_workers()
        moving = {key: counts.moving for key, counts in self._base.clients.items()}
        for worker in self._alive():
            for key, words in zip(worker.pages.keys(), worker.pages.moving(), strict=True):
                place = self._roster.place(key)
                moving[place] = list(map(add, moving[place], words)) if place in moving else words
        self._note(moving, self._clock())

    def status(self) -> Document:
        """The node's status document, ready for JSON (see ``documents``)."""
        state = self._read()
        rows = [
            documents.client_row(key, counts, track.rates(), track.recent())
            for key, counts in sorted(state.sums.clients.items())
            for track in (self._tracks[key],)
        ]
        total, tally = state.sums.total(), state.sums.tally
        return {
            "node": self._node_id,
            "version": self._facts.version,
            "uptime_s": state.t - self._began,
            "members": list(self._facts.members()),
            "workers": state.workers,
            "cache": documents.cache_part(tally, *self._facts.space()),
            "upstream": documents.upstream_part(tally),
            "peers": documents.peers_part(tally),
            "clients": rows,
            "totals": documents.total_row(rows, total, self._all.rates(), self._all.recent()),
            "counters": {count.name.lower(): tally[count] for count in Count},
        }

    def metrics(self) -> bytes:
        """The node's metrics as Prometheus text (see ``metrics``)."""
        state = self._read()
        tally = state.sums.tally
        used, quota = self._facts.space()
        gauges = {
            "forebay_cache_bytes": ("Bytes of chunks in the local store.", float(used)),
            "forebay_cache_capacity_bytes": ("Bytes that the local store may hold.", float(quota)),
            "forebay_ring_nodes": ("Nodes in the ring.", float(len(self._facts.members()))),
            "forebay_cache_fills_in_flight": ("Fills under way.", float(tally[Count.FILLS_NOW])),
            "forebay_connections_open": ("Client connections open.", float(tally[Count.CONNECTIONS_NOW])),
            "forebay_event_loop_lag_seconds": ("Largest lag of a worker's loop.", tally[Count.LOOP_LAG_US_MAX] / 1e6),
            "forebay_workers_alive": ("Workers alive.", float(len(list(self._alive())))),
            "forebay_uptime_seconds": ("Seconds since the node process began.", state.t - self._began),
        }
        rates = {key: track.rates() for key, track in self._tracks.items()}
        build = {"version": self._facts.version, "node": self._node_id}
        return render(Snapshot(state.sums, rates, gauges, build))

    def check(self) -> Iterator[str]:
        """What is wrong with the sums, one line each; silent when well. Reads only."""
        for key in self._base.clients:
            if key not in self._tracks:
                yield f"client {key} is in the base sum, but has no rates"
        for worker in self._workers.values():
            if worker.alive and not worker.look():
                yield f"{worker.path} is counted as alive, but its worker is dead"

    def close(self) -> None:
        """Let go of the workers' files; they stay where they are."""
        for worker in self._workers.values():
            if worker.alive:
                os.close(worker.fd)
        self._workers.clear()

    def _alive(self) -> Iterator[_Worker]:
        return (worker for worker in self._workers.values() if worker.alive)

    def _read(self) -> _State:
        """Everything, now. The rates get the same moment as a sample, so that they agree with the sums."""
        self._find_workers()
        sums, rows = self._base.copy(), []
        sums.add_tally(self._tally_words(), alive=True)
        for worker in self._workers.values():
            own = Sums()
            own.add(worker.pages, self._roster, alive=worker.alive)
            rows.append(worker.row(own))
            if worker.alive:
                sums.include(own)
        state = _State(self._clock(), sums, sorted(rows, key=lambda row: (row["worker"], row["started_at"])))
        self._note({key: counts.moving for key, counts in sums.clients.items()}, state.t)
        return state

    def _tally_words(self) -> list[int]:
        return self.tally.words[: len(Count)].tolist()

    def _note(self, moving: dict[ClientKey, list[int]], t: float) -> None:
        for key, words in moving.items():
            track = self._tracks.get(key)
            if track is None:  # it had nothing when we last looked
                track = self._tracks[key] = _Track(self._sampled)
            track.note(t, words)
        if moving:
            self._all.note(t, list(map(sum, zip(*moving.values(), strict=True))))
        self._sampled = t

    def _find_workers(self) -> None:
        for path in self._paths():
            if path not in self._workers:
                worker = _open(path)
                if worker is not None:
                    self._workers[path] = worker
        for worker in list(self._alive()):
            if not worker.look():
                self._fold(worker)

    def _paths(self) -> list[str]:
        """The files in the directory; none when it cannot be read (removed under us: those that are open count on)."""
        try:
            with os.scandir(self._run_dir) as entries:
                return sorted(entry.path for entry in entries if entry.name.endswith(SUFFIX))
        except OSError:
            return []

    def _fold(self, worker: _Worker) -> None:
        """A worker died: what it counted goes into the base. It cannot count on, so this is its last word."""
        self._base.add(worker.pages, self._roster, alive=False)
        worker.alive = False
        os.close(worker.fd)
        dead = [path for path, other in self._workers.items() if not other.alive]
        for path in dead[:-DEAD_FILES_MAX]:
            _unlink(path)
            del self._workers[path]

    def _clear_away(self) -> None:
        """Delete what dead workers of an earlier node process left."""
        with os.scandir(self._run_dir) as entries:
            paths = [entry.path for entry in entries if entry.name.endswith(SUFFIX)]
        for path in paths:
            worker = _open(path, even_unfinished=True)
            if worker is None:
                continue
            if not worker.look():
                _unlink(path)
            os.close(worker.fd)


def _open(path: str, *, even_unfinished: bool = False) -> _Worker | None:
    """The file, mapped; None when it is gone, or not ready to be read (yet, or ever)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if os.fstat(fd).st_size == layout.FILE_BYTES:
        memory = mmap.mmap(fd, layout.FILE_BYTES, prot=mmap.PROT_READ)
        worker = _Worker(path, fd, Pages(memoryview(memory).cast("Q")))
        if even_unfinished or worker.pages.ready():
            return worker
    elif even_unfinished:
        return _Worker(path, fd, Pages(memoryview(b"").cast("Q")))
    os.close(fd)
    return None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # gone already, or a disk that refuses: the file is harmless
