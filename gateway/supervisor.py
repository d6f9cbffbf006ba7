"""The workers of a node as processes: started, watched, started again, drained.

Each worker slot has one task, which owns the slot's process from start to end. A worker that ends while nobody asked it
to is started again at once, then with doubling pauses up to ``BACKOFF_MAX_S``; one that has lived ``SETTLED_S`` starts
from the beginning. A slot is ready once its process has said so. Settings go to the child over its standard input, so
no secret is in an argument, a file or the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

BACKOFF_MIN_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
SETTLED_S: Final = 10.0
READY_S: Final = 60.0


class Supervisor:
    """``commands``: the arguments after the interpreter, one list per worker; ``settings``: what they read.

    ``grace_s``: how long a worker may take to end after SIGTERM.
    """

    def __init__(
        self, commands: Sequence[Sequence[str]], settings: bytes, *, grace_s: float, crashed: Callable[[], None]
    ) -> None:
        self._grace_s = grace_s
        self._crashed = crashed
        self._commands = commands
        self._settings = settings
        self._processes: list[asyncio.subprocess.Process | None] = [None] * len(commands)
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
            for process in self._processes:
                if process is not None and process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGTERM)
            for slot, process in enumerate(self._processes):
                if process is None or process.returncode is not None:
                    slots[slot].cancel()
            await asyncio.wait(slots, timeout=self._grace_s)
            for process in self._processes:
                if process is not None and process.returncode is None:
                    structlog.get_logger().error("a worker outlived its grace and is killed", pid=process.pid)
                    process.kill()
            await asyncio.gather(*slots, return_exceptions=True)

    def pids(self) -> list[int | None]:
        """The process of each slot, None while it has none."""
        return [None if one is None or one.returncode is not None else one.pid for one in self._processes]

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
        """One life of one worker; its exit code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._commands[slot],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._processes[slot] = process
        try:
            with contextlib.suppress(ConnectionError):
                await self._tell(process)
            self._set_ready(slot, ready=await self._hears_ready(process))
            return await process.wait()
        finally:
            self._set_ready(slot, ready=False)
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _tell(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        process.stdin.write(self._settings)
        await process.stdin.drain()
        process.stdin.close()

    async def _hears_ready(self, process: asyncio.subprocess.Process) -> bool:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            async with asyncio.timeout(READY_S):
                return (await process.stdout.readline()).strip() == b"ready"
        except TimeoutError:
            structlog.get_logger().error("a worker does not become ready and is killed", pid=process.pid)
            process.kill()
            return False
