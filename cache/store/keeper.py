"""The keeper: what the node process does for the store while its workers serve.

One object so that the composition root has one thing to run, until the stop event: recovery (at once, and again every
hour, for the rows that LMDB did not take), eviction, the scrub and the upkeep of the LMDB environment (rows of the
catalog bounded, what killed processes held given back).
Each of the four is a task of this run. A cache that cannot be kept still serves what can be read, so no chore ends the
run: what one raises is counted as a disk error, an error nobody foresaw is also logged (once for each kind of it, with
its traceback), and the chore begins again after a pause. Create it after :func:`~cache.store.environment.prepare` and
before the first worker starts: whatever lies in ``filling/`` is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from cache.faults import DiskFault
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
TROUBLE_PAUSE_S: Final = 5.0

_log: Final = logging.getLogger(__name__)


class Keeper:
    """The node process's part of the store. ``chunk_bytes`` is the configured chunk size.

    ``trouble_pause_s``: how long a chore that failed rests; may be set before ``run``.
    """

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
        self.trouble_pause_s = TROUBLE_PAUSE_S
        self._logged: set[tuple[str, type[Exception]]] = set()
        self._index = ChunkIndex(environment)
        self.catalog = LmdbCatalog(environment, Tokens(environment.places.tokens), tally)
        self.recovery = Recovery(environment, tally)
        self.evictor = Evictor(environment, policy, tally, quota_bytes=quota_bytes, chunk_bytes=chunk_bytes)
        self.scrub = Scrub(environment, tally, bytes_per_s=scrub_bytes_per_s)
        self.recovery.clear_filling(everything=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the store until ``stop`` is set. Never raises."""
        chores = {
            "recovery": self._recover,
            "eviction": self.evictor.run,
            "scrub": self.scrub.run,
            "upkeep": self._upkeep,
        }
        async with asyncio.TaskGroup() as tasks:
            for name, chore in chores.items():
                tasks.create_task(self._tend(name, chore, stop), name=name)

    def used_bytes(self) -> int:
        """Bytes on disk of all whole chunks of the node. Raises DiskFailed."""
        return self._index.used()

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        yield from self._index.check()
        yield from self.catalog.check()
        yield from self.evictor.check()

    async def _tend(self, name: str, chore: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
        """Run a chore until ``stop`` is set, whatever it raises."""
        while not stop.is_set():
            try:
                await chore(stop)
            except Exception as error:  # noqa: BLE001 - the node serves on without its keeper
                self._tally.add(Count.DISK_ERRORS)
                self._log_unforeseen(name, error)
                await _rest(stop, self.trouble_pause_s)

    def _log_unforeseen(self, name: str, error: Exception) -> None:
        kind = name, type(error)
        if not isinstance(error, OSError | DiskFault) and kind not in self._logged:
            self._logged.add(kind)
            _log.error("%s of the cache directory failed and is tried again: %s", name, error, exc_info=error)

    async def _recover(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.recovery.run(stop)
            await _rest(stop, RECOVERY_PAUSE_S)

    async def _upkeep(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            trimmed = await asyncio.to_thread(self.catalog.trim)
            await asyncio.to_thread(self._index.free_dead_readers)
            if not trimmed:
                await _rest(stop, UPKEEP_PAUSE_S)


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
