"""The supervisor over real processes: started again, told of, drained, and killed when they outlive their grace."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.supervisor import Supervisor

GOOD = "import os, sys, time; sys.stdin.read(); os.write(0, b'ready\\n'); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {GOOD}"
TOO_LONG = "#" * 300_000  # one argument that no kernel takes


class Watched:
    """A supervisor under way, whose crashes can be awaited."""

    def __init__(self, *scripts: str, grace_s: float = 10.0) -> None:
        self.stop = asyncio.Event()
        self.crashes: asyncio.Queue[None] = asyncio.Queue(maxsize=100)
        self.supervisor = Supervisor(
            [["-c", script] for script in scripts],
            b"settings",
            grace_s=grace_s,
            crashed=lambda: self.crashes.put_nowait(None),
        )

    async def ready(self) -> list[int]:
        """The processes, once all are ready."""
        await self.supervisor.ready()
        return [pid for pid in self.supervisor.pids() if pid is not None]


@asynccontextmanager
async def watched(*scripts: str, grace_s: float = 10.0) -> AsyncIterator[Watched]:
    watched = Watched(*scripts, grace_s=grace_s)
    running = asyncio.create_task(watched.supervisor.run(watched.stop))
    try:
        yield watched
    finally:
        watched.stop.set()
        await running


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_killed_worker_is_started_again_and_told_of() -> None:
    async with watched(GOOD, GOOD) as under:
        first, second = await under.ready()
        os.kill(first, signal.SIGKILL)
        await under.crashes.get()
        again, same = await under.ready()
        assert again != first
        assert same == second
    assert not lives(again)
    assert not lives(second)
    assert under.crashes.empty()


async def test_a_process_that_cannot_be_had_is_tried_again() -> None:
    async with watched(TOO_LONG, GOOD) as under:
        for _ in range(2):
            await under.crashes.get()
        assert under.supervisor.not_ready() == ["worker 0 is not ready"] or under.supervisor.pids()[0] is None


async def test_a_worker_that_outlives_its_grace_is_killed() -> None:
    async with watched(DEAF, grace_s=0.2) as under:
        (pid,) = await under.ready()
    assert not lives(pid)
