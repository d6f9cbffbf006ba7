from __future__ import annotations

import asyncio
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


def evictor_in(directory: Path, quota_bytes: int, *, free_bytes: int = 1 << 40, tally: Tally | None = None) -> Evictor:
    return Evictor(
        open_environment(directory),
        Lru(),
        tally or Tally(),
        quota_bytes=quota_bytes,
        chunk_bytes=SIZE,
        space=lambda _: (1 << 40, free_bytes),
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
    evictor = evictor_in(tmp_path, 1 << 40, free_bytes=0)
    assert evictor.step() == EVICT_BATCH * SIZE
    assert evictor.step() == 10 * SIZE
    assert evictor.step() == 0


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
