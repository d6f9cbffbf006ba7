from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache.faults import DiskFailed, DiskFull
from cache.policy.lru import Lru
from cache.policy.s3fifo import S3Fifo
from cache.store.environment import open_environment
from cache.store.evict import EVICT_BATCH, Evictor, room_bytes
from cache.store.index import ChunkIndex
from cache.tally import Count, Tally
from tests.unit.cache.store.samples import chunk_of, fill, path_of, store_in

PAYLOAD = 3000
SIZE = 4096  # on disk

FILLER = """
import sys
from pathlib import Path
from tests.unit.cache.store.samples import chunk_of, fill, store_in
store = store_in(Path(sys.argv[1]))
for number in range(10):
    fill(store, chunk_of(number, 3000))
"""


class Space:
    """A filesystem's answers: ``trouble`` first, then ``free_bytes``; ``looks`` are its askers' threads."""

    def __init__(self, free_bytes: int = 1 << 40, trouble: Sequence[Exception] = ()) -> None:
        self.free_bytes = free_bytes
        self.looks: list[int] = []
        self._trouble = list(trouble)
        self._changed = threading.Condition()

    def __call__(self, _: str) -> tuple[int, int]:
        with self._changed:
            self.looks.append(threading.get_ident())
            self._changed.notify_all()
        if self._trouble:
            raise self._trouble.pop(0)
        return 1 << 40, self.free_bytes

    async def looked_at(self, count: int) -> None:
        """Return when it was asked so often."""
        with ThreadPoolExecutor(1) as waiting:
            await asyncio.get_running_loop().run_in_executor(waiting, self._wait, count)

    def _wait(self, count: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self.looks) >= count)


def evictor_in(directory: Path, quota_bytes: int, *, space: Space | None = None, tally: Tally | None = None) -> Evictor:
    return Evictor(
        open_environment(directory),
        Lru(),
        tally or Tally(),
        quota_bytes=quota_bytes,
        chunk_bytes=SIZE,
        space=space or Space(),
    )


def left(directory: Path, count: int) -> list[int]:
    store = store_in(directory)
    return [number for number in range(count) if store.find(chunk_of(number, PAYLOAD)) is not None]


def test_within_the_quota_nothing_goes(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for number in range(10):
        fill(store, chunk_of(number, PAYLOAD))
    evictor = evictor_in(tmp_path, 20 * SIZE)
    assert evictor.step() == 0
    assert left(tmp_path, 10) == list(range(10))


def test_the_oldest_unread_chunks_go(tmp_path: Path) -> None:
    tally = Tally()
    store = store_in(tmp_path)
    for number in range(100):
        fill(store, chunk_of(number, PAYLOAD))
    store.touch(chunk_of(1, PAYLOAD))
    evictor = evictor_in(tmp_path, 100 * SIZE, tally=tally)
    assert evictor.step() == 5 * SIZE
    assert sorted(set(range(100)) - set(left(tmp_path, 100))) == [0, 2, 3, 4, 5]
    assert store.used_bytes() == 95 * SIZE
    assert tally.words[Count.EVICTED_CHUNKS] == 5
    assert tally.words[Count.EVICTED_BYTES] == 5 * SIZE
    assert evictor.step() == 0
    assert not [*evictor.check(), *store.check()]


def test_a_new_evictor_learns_of_old_chunks(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for number in range(40):
        fill(store, chunk_of(number, PAYLOAD))
    assert evictor_in(tmp_path, 40 * SIZE).step() == 4 * SIZE
    assert evictor_in(tmp_path, 20 * SIZE).step() == 20 * SIZE


def test_a_chunk_filled_again_is_not_forgotten_by_its_older_row(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    evictor = evictor_in(tmp_path, 100 * SIZE)
    fill(store, chunk_of(0, PAYLOAD))
    evictor.step()
    path_of(tmp_path, chunk_of(0, PAYLOAD)).unlink()
    fill(store, chunk_of(0, PAYLOAD))
    evictor.step()
    assert store.used_bytes() == SIZE
    assert not list(evictor.check())


def test_a_chunk_that_went_by_itself_is_no_hindrance(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for number in range(20):
        fill(store, chunk_of(number, PAYLOAD))
    evictor = evictor_in(tmp_path, 10 * SIZE)
    evictor._learn()
    for number in range(10):
        path_of(tmp_path, chunk_of(number, PAYLOAD)).unlink()
    ChunkIndex(open_environment(tmp_path)).remove([(chunk_of(number, PAYLOAD).id, None) for number in range(5)])
    while evictor.step():
        pass
    assert store.used_bytes() <= 6 * SIZE
    assert not [*evictor.check(), *store.check()]


def test_a_filesystem_that_others_fill_makes_the_cache_give_way(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for number in range(EVICT_BATCH + 10):
        fill(store, chunk_of(number, PAYLOAD))
    evictor = evictor_in(tmp_path, 1 << 40, space=Space(free_bytes=0))
    assert evictor.step() == EVICT_BATCH * SIZE
    assert evictor.step() == 10 * SIZE
    assert evictor.step() == 0


def test_the_filesystem_is_looked_at_though_the_index_is_as_it_was(tmp_path: Path) -> None:
    store, space = store_in(tmp_path), Space()
    for number in range(10):
        fill(store, chunk_of(number, PAYLOAD))
    evictor = evictor_in(tmp_path, 1 << 40, space=space)
    assert [evictor.step(), evictor.step()] == [0, 0]
    space.free_bytes = 0
    assert evictor.step() == 10 * SIZE
    assert evictor.step() == 0
    assert not [*evictor.check(), *store.check()]


def test_what_another_process_fills_after_idle_steps_is_heard_of(tmp_path: Path) -> None:
    evictor = evictor_in(tmp_path, 10 * SIZE)
    assert [evictor.step(), evictor.step()] == [0, 0]
    command = [sys.executable, "-c", FILLER, str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parents[4])
    assert evictor.step() == 4 * SIZE
    assert evictor.step() == 0
    assert len(left(tmp_path, 10)) == 6
    assert not list(evictor.check())


@pytest.mark.parametrize(
    ("total", "chunk", "room"), [(1000, 1, 50), (1000, 50, 200), (1000, 500, 500), (1 << 40, 8 << 20, (1 << 40) // 20)]
)
def test_room_is_kept_for_chunks_on_their_way(total: int, chunk: int, room: int) -> None:
    assert room_bytes(total, chunk) == room


async def test_run_makes_room_so_that_fills_go_on(tmp_path: Path) -> None:
    quota = 50 * SIZE
    store = store_in(tmp_path, quota_bytes=quota)
    stop = asyncio.Event()
    evictor = Evictor(open_environment(tmp_path), S3Fifo(quota), Tally(), quota_bytes=quota, chunk_bytes=SIZE)
    running = asyncio.create_task(evictor.run(stop))
    for number in range(200):
        while True:
            try:
                fill(store, chunk_of(number, PAYLOAD))
                break
            except DiskFull:
                await asyncio.to_thread(evictor._index.used)  # gives way to the evictor's thread
    stop.set()
    await running
    assert store.used_bytes() <= quota
    assert not [*evictor.check(), *store.check()]


def test_an_unanswering_filesystem_is_a_fault(tmp_path: Path) -> None:
    def no_answer(_: str) -> tuple[int, int]:
        raise OSError("gone")

    evictor = Evictor(open_environment(tmp_path), Lru(), Tally(), quota_bytes=9, chunk_bytes=1, space=no_answer)
    with pytest.raises(DiskFailed):
        evictor.step()


async def test_one_thread_does_all_steps_of_a_run(tmp_path: Path) -> None:
    stop, space, tally = asyncio.Event(), Space(trouble=[OSError("gone"), OSError("gone")]), Tally()
    evictor = evictor_in(tmp_path, 1 << 40, space=space, tally=tally)
    evictor.pause_s = 0.001
    running = asyncio.create_task(evictor.run(stop))
    await space.looked_at(5)
    stop.set()
    await running
    assert len(set(space.looks)) == 1
    assert threading.get_ident() not in space.looks
    assert tally.words[Count.DISK_ERRORS] == 2


async def test_a_stop_ends_a_rest(tmp_path: Path) -> None:
    stop, space = asyncio.Event(), Space()
    evictor = evictor_in(tmp_path, 1 << 40, space=space)
    evictor.pause_s = 3600.0
    running = asyncio.create_task(evictor.run(stop))
    await space.looked_at(1)
    stop.set()
    await running
    assert len(space.looks) == 1


async def test_a_cancelled_run_gives_its_thread_back(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    space = Space()
    evictor = evictor_in(tmp_path, 1 << 40, space=space)
    evictor.pause_s = 3600.0
    running = asyncio.create_task(evictor.run(asyncio.Event()))
    await space.looked_at(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(threading.get_ident) == space.looks[0]
    assert len(space.looks) == 1


async def test_what_nobody_foresaw_reaches_whoever_runs_it(tmp_path: Path) -> None:
    evictor = evictor_in(tmp_path, 1 << 40, space=Space(trouble=[ValueError("unforeseen")]))
    with pytest.raises(ValueError, match="unforeseen"):
        await evictor.run(asyncio.Event())
