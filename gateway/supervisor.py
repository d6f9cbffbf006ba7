"""The workers of a node as processes: started, watched, started again, drained.

Each worker slot has one task, which owns the slot's process from start to end. A worker that ends while nobody asked it
to is started again at once, then with doubling pauses up to ``BACKOFF_MAX_S``; one that has lived ``SETTLED_S`` starts
from the beginning. A slot is ready once its process has said so. The first life of a slot may have begun before; later
ones are new interpreters, because a node that serves can no longer be forked safely (see ``lives``).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.lives import Life, spawn

BACKOFF_MIN_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
SETTLED_S: Final = 10.0
READY_S: Final = 60.0


class Supervisor:
    """``commands``: the arguments after the interpreter, one list per worker; ``settings``: what each is told.

    ``first``: the lives that have begun, one per worker, or none. ``grace_s``: how long a worker may take to end after
    SIGTERM.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        settings: bytes,
        *,
        grace_s: float,
        crashed: Callable[[], None],
        first: Sequence[Life] = (),
    ) -> None:
        self._grace_s = grace_s
        self._crashed = crashed
        self._commands = commands
        self._settings = settings
        self._lives: list[Life | None] = list(first) or [None] * len(commands)
        self._ready = [False] * len(commands)
        self._all_ready = asyncio.Event()
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Keep every worker running until ``stop`` is set; then drain and wait for the last one."""
        slots = [asyncio.create_task(self._keep(slot), name=f"worker {slot}") for slot in range(len(self._commands))]
        try:
            await stop.wait()
        finally:
            self._stopping = True
            for slot, life in zip(slots, self._lives, strict=True):
                if life is None:
                    slot.cancel()
                else:
                    life.send_signal(signal.SIGTERM)
            await asyncio.wait(slots, timeout=self._grace_s)
            for life in self._lives:
                if life is not None:
                    structlog.get_logger().error("a worker outlived its grace and is killed", pid=life.pid)
                    life.send_signal(signal.SIGKILL)
            await asyncio.gather(*slots, return_exceptions=True)

    def pids(self) -> list[int | None]:
        """The process of each slot, None while it has none."""
        return [None if life is None else life.pid for life in self._lives]

    def not_ready(self) -> list[str]:
        """Why requests should not come here yet, one reason per worker that is not ready."""
        return [f"worker {slot} is not ready" for slot, ready in enumerate(self._ready) if not ready]

    async def ready(self) -> None:
        """Wait until every worker is ready."""
        await self._all_ready.wait()

    def _set_ready(self, slot: int, *, ready: bool) -> None:
        self._ready[slot] = ready
        if all(self._ready):
            self._all_ready.set()
        else:
            self._all_ready.clear()

    async def _keep(self, slot: int) -> None:
        pause_s = BACKOFF_MIN_S
        while True:
            began = time.monotonic()
            try:
                ended = f"exit code {await self._live(slot)}"
            except OSError as error:  # no process could be had: too many, or no memory
                ended = str(error)
            if self._stopping:
                return
            structlog.get_logger().error("worker ended", worker=slot, why=ended)
            self._crashed()
            pause_s = BACKOFF_MIN_S if time.monotonic() - began > SETTLED_S else min(pause_s * 2, BACKOFF_MAX_S)
            await asyncio.sleep(pause_s)

    async def _live(self, slot: int) -> int:
        """One life of one worker; its exit code. Raises OSError when no process can be had."""
        life = self._lives[slot]
        if life is None:
            life = self._lives[slot] = spawn(self._commands[slot])
        try:
            self._set_ready(slot, ready=await self._becomes_ready(life))
            return await life.ended()
        finally:
            self._set_ready(slot, ready=False)
            life.send_signal(signal.SIGKILL)
            await life.ended()
            self._lives[slot] = None

    async def _becomes_ready(self, life: Life) -> bool:
        try:
            async with asyncio.timeout(READY_S):
                return await life.begin(self._settings)
        except TimeoutError:
            structlog.get_logger().error("a worker does not become ready and is killed", pid=life.pid)
            life.send_signal(signal.SIGKILL)
            return False
