"""The keeper: what the node process does for the store while its workers serve.

One object so that the composition root has one thing to run, until the stop event: recovery (at once, and again every
hour, for the rows that LMDB did not take), eviction, the scrub and the upkeep of the LMDB environment (rows of the
catalog bounded, what killed processes held given back).
Each of the four is a task of this run; the first that fails ends the others and the run. Create it after
:func:`~cache.store.environment.prepare` and before the first worker starts: whatever lies in ``filling/`` is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from cache.faults import DiskFailed
from cache.policy.rules import Policy
from cache.store.catalog import LmdbCatalog
from cache.store.environment import Environment
from cache.store.evict import Evictor
from cache.store.index import ChunkIndex
from cache.store.mapped import Tokens
from cache.store.recovery import Recovery
from cache.store.scrub import BYTES_PER_S, Scrub
from cache.tally import Count, Tally

UPKEEP_PAUSE_S: Final = 2.0
RECOVERY_PAUSE_S: Final = 3600.0


class Keeper:
    """The node process's part of the store. ``chunk_bytes`` is the configured chunk size."""

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        tally: Tally,
        *,
        quota_bytes: int,
        chunk_bytes: int,
        scrub_bytes_per_s: int = BYTES_PER_S,
    ) -> None:
        self._tally = tally
        self._index = ChunkIndex(environment)
        self.catalog = LmdbCatalog(environment, Tokens(environment.places.tokens), tally)
        self.recovery = Recovery(environment, tally)
        self.evictor = Evictor(environment, policy, tally, quota_bytes=quota_bytes, chunk_bytes=chunk_bytes)
        self.scrub = Scrub(environment, tally, bytes_per_s=scrub_bytes_per_s)
        self.recovery.clear_filling(everything=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the store until ``stop`` is set."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recover(stop))
            tasks.create_task(self.evictor.run(stop))
            tasks.create_task(self.scrub.run(stop))
            tasks.create_task(self._upkeep(stop))

    def used_bytes(self) -> int:
        """Bytes on disk of all whole chunks of the node. Raises DiskFailed."""
        return self._index.used()

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        yield from self._index.check()
        yield from self.catalog.check()
        yield from self.evictor.check()

    async def _recover(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.recovery.run(stop)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RECOVERY_PAUSE_S)

    async def _upkeep(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            trimmed = 0
            try:
                trimmed = await asyncio.to_thread(self.catalog.trim)
                await asyncio.to_thread(self._index.free_dead_readers)
            except DiskFailed:
                self._tally.add(Count.DISK_ERRORS)
            if not trimmed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), UPKEEP_PAUSE_S)
