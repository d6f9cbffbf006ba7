"""Eviction: the node process learns of every chunk that comes, and unlinks the ones its policy names.

Workers put sealed chunks into the index; this reads on from the last sequence that it saw, so a policy hears of chunks
in the order of coming, and after a restart of all of them again. Evicting is ``unlink`` and then the row: whoever has
the file open finishes undisturbed. A kill in between leaves a row without a file, which recovery or a later eviction
takes out. Room is kept for chunks on their way: the larger of a twentieth of the quota and four chunks, but at most
half; the same again on the filesystem, where others may need space, in which case the cache gives way to them.

All work is blocking and in steps of bounded size; ``run`` has one thread do them. The policy is only touched by steps.
Most steps of an idle node find nothing new; they look at the free space, and at the index only to see that it is as it
was.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from typing import Final

from cache.faults import DiskFailed
from cache.policy.rules import Policy
from cache.store.environment import Environment
from cache.store.index import Arrival, ChunkIndex
from cache.store.mapped import Touches
from cache.tally import Count, Tally

LEARN_BATCH: Final = 4096
EVICT_BATCH: Final = 128
PAUSE_S: Final = 0.05
ROOM_SHARE: Final = 0.05
ROOM_CHUNKS: Final = 4
RESERVE_BYTES_MAX: Final = 256 << 20


def room_bytes(total_bytes: int, chunk_bytes: int) -> int:
    """How much of ``total_bytes`` to keep free for chunks of ``chunk_bytes`` that are on their way."""
    return min(max(int(total_bytes * ROOM_SHARE), ROOM_CHUNKS * chunk_bytes), total_bytes // 2)


def disk_space(path: str) -> tuple[int, int]:
    """Bytes of the filesystem at ``path``, and those of them that are free for us. Raises OSError."""
    space = os.statvfs(path)
    return space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize


async def _pass_on(stop: asyncio.Event, ended: threading.Event) -> None:
    await stop.wait()
    ended.set()


class Evictor:
    """Keeps one cache directory within its quota and off the last bytes of its filesystem.

    ``pause_s``: how long it rests when there was nothing to evict; may be set before ``run``.
    """

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        tally: Tally,
        *,
        quota_bytes: int,
        chunk_bytes: int,
        space: Callable[[str], tuple[int, int]] = disk_space,
    ) -> None:
        self._places = environment.places
        self._index = ChunkIndex(environment)
        self._touches = Touches(environment.places.touches)
        self._policy = policy
        self._tally = tally
        self._used_bytes_max = quota_bytes - room_bytes(quota_bytes, chunk_bytes)
        self._chunk_bytes = chunk_bytes
        self._space = space
        self.pause_s = PAUSE_S
        self._sequences: dict[bytes, int] = {}
        self._learnt = 0
        self._moment: int | None = None
        self._used_bytes = 0

    def step(self) -> int:
        """Learn what came, evict at most ``EVICT_BATCH`` chunks if there are too many bytes; the bytes evicted.

        Raises DiskFailed when the index or the filesystem cannot be asked.
        """
        self._learn()
        surplus = self._surplus()
        return self._evict(surplus) if surplus > 0 else 0

    async def run(self, stop: asyncio.Event) -> None:
        """Step until ``stop`` is set; a failing disk is tried again at the next step.

        Raises what a step raises but DiskFailed. When it is cancelled, the step under way is the last.
        """
        ended = threading.Event()
        telling = asyncio.create_task(_pass_on(stop, ended))
        try:
            await asyncio.to_thread(self._step_until, ended)
        finally:
            ended.set()
            telling.cancel()

    def check(self) -> Iterator[str]:
        """What is wrong with me and my policy."""
        yield from self._policy.check()
        held = sum(arrival.disk_bytes for arrival in self._all() if arrival.chunk_id in self._sequences)
        if held > self._policy.used_bytes:
            yield f"the index has {held} B of chunks that were learnt, the policy counts {self._policy.used_bytes} B"

    def _step_until(self, ended: threading.Event) -> None:
        """All steps, and the rests between them: a rest in the thread costs a third of one in the loop."""
        while not ended.is_set():
            evicted = 0
            try:
                evicted = self.step()
            except DiskFailed:
                self._tally.add(Count.DISK_ERRORS)
            if not evicted:
                ended.wait(self.pause_s)

    def _all(self) -> Iterator[Arrival]:
        after = 0
        while batch := self._index.arrivals(after, LEARN_BATCH):
            yield from batch
            after = batch[-1].sequence

    def _learn(self) -> None:
        """Hear of what came, and how much there is now; where nothing was changed since the last time, both stand."""
        moment = self._index.moment()  # asked first: what comes while the rows are read is read again the next time
        if moment == self._moment:
            return
        while batch := self._index.arrivals(self._learnt, LEARN_BATCH):
            for arrival in batch:
                self._policy.added(arrival.chunk_id, arrival.disk_bytes)
                self._sequences[arrival.chunk_id] = arrival.sequence
            self._learnt = batch[-1].sequence
        self._used_bytes = self._index.used()
        self._moment = moment

    def _surplus(self) -> int:
        """By how many bytes the cache is too large, for its quota or for its filesystem."""
        try:
            total, free = self._space(self._places.chunks)
        except OSError as error:
            raise DiskFailed(f"no answer about free space: {error}") from error
        reserve = min(room_bytes(total, self._chunk_bytes), max(RESERVE_BYTES_MAX, ROOM_CHUNKS * self._chunk_bytes))
        return max(self._used_bytes - self._used_bytes_max, reserve - free)

    def _evict(self, surplus: int) -> int:
        victims: list[tuple[bytes, int | None]] = []
        start = self._policy.used_bytes
        while start - self._policy.used_bytes < surplus and len(victims) < EVICT_BATCH:
            chunk_id = self._policy.evict(self._touches.take)
            if chunk_id is None:
                break
            victims.append((chunk_id, self._sequences.pop(chunk_id, None)))
            self._unlink(chunk_id)
        evicted = self._index.remove(victims)
        self._tally.add(Count.EVICTED_CHUNKS, len(victims))
        self._tally.add(Count.EVICTED_BYTES, evicted)
        return evicted

    def _unlink(self, chunk_id: bytes) -> None:
        try:
            os.unlink(self._places.chunk(chunk_id))
        except FileNotFoundError:
            pass
        except OSError:
            self._tally.add(Count.DISK_ERRORS)
