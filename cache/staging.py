"""Staging: bringing a whole object into the cluster's cache before anybody reads it, in the background.

Every chunk is asked for as a reader would, at its owner, but only its first byte and then its last: the fill in between
does the work, and next to nothing crosses. At most ``OBJECTS_MAX`` objects wait or are under way in one worker, beyond
that a wish is dropped (it is a hint, never a promise); ``CHUNKS_AT_ONCE`` chunks are under way for all of them. A fault
ends the staging of its object and nothing else. ``Cache`` owns the tasks and awaits them in ``close``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing
from typing import Final

from cache.faults import Fault
from cache.pieces import Cause
from cache.plan import Step, plan_steps
from cache.versions import ByteSpan, ObjectVersion
from cache.ways import Ways

OBJECTS_MAX: Final = 64
CHUNKS_AT_ONCE: Final = 8
_log: Final = logging.getLogger(__name__)


class Staging:
    """The staging of one worker. Chunks are cut at ``chunk_bytes``."""

    def __init__(self, ways: Ways, chunk_bytes: int) -> None:
        self._ways = ways
        self._chunk_bytes = chunk_bytes
        self._chunks = asyncio.Semaphore(CHUNKS_AT_ONCE)
        self._objects: dict[bytes, asyncio.Task[None]] = {}

    def begin(self, version: ObjectVersion) -> bool:
        """Bring the object in, in the background; whether that is under way now."""
        name = version.identity
        if name in self._objects:
            return True
        if not version.size or len(self._objects) >= OBJECTS_MAX:
            return False
        task = self._objects[name] = asyncio.create_task(self._stage(version), name=f"stage {version.bucket}")
        task.add_done_callback(lambda _: self._objects.pop(name))
        return True

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        await asyncio.gather(*self._objects.values(), return_exceptions=True)

    async def close(self) -> None:
        """End all; fills that have begun go on."""
        for task in self._objects.values():
            task.cancel()
        await self.settled()

    def check(self) -> Iterator[str]:
        """What is wrong with me."""
        if len(self._objects) > OBJECTS_MAX:
            yield f"{len(self._objects)} objects are being staged"

    async def _stage(self, version: ObjectVersion) -> None:
        """One task per object walks its chunks, several at once."""
        steps = plan_steps(version, ByteSpan(0, version.size), self._chunk_bytes)
        try:
            async with asyncio.TaskGroup() as walkers:
                for _ in range(CHUNKS_AT_ONCE):
                    walkers.create_task(self._walk(steps))
        except* Fault as faults:
            _log.info("%s/%s is not staged whole: %s", version.bucket, version.key, faults.exceptions[0])

    async def _walk(self, steps: Iterator[Step]) -> None:
        for step in steps:
            async with self._chunks:
                for at in (0, step.chunk.length - 1):
                    await self._touch(Step(step.chunk, ByteSpan(at, at + 1)))

    async def _touch(self, step: Step) -> None:
        """Wait for one byte of a chunk."""
        opening = self._ways.ask(step)
        async with aclosing(self._ways.pieces(step, opening, _unmetered)) as pieces:
            async for _ in pieces:
                pass


def _unmetered(_cause: Cause, _seconds: float) -> None:
    """No client waits."""
