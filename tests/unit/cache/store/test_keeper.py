from __future__ import annotations

import asyncio
from pathlib import Path

from cache.policy.s3fifo import S3Fifo
from cache.store.environment import prepare
from cache.store.keeper import Keeper
from cache.store.recovery import FANS
from cache.tally import Tally
from tests.unit.cache.store.samples import chunk_of, fill, store_in


async def test_a_keeper_recovers_and_evicts_while_stores_work(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for number in range(50):
        fill(store, chunk_of(number))
    left_over = store.create(chunk_of(99))
    store._index.remove([(chunk_of(number).id, None) for number in range(50)])
    quota = 20 * 4096
    keeper = Keeper(prepare(tmp_path), S3Fifo(quota), Tally(), quota_bytes=quota, chunk_bytes=4096)
    assert list(store.check()) == [f"{left_over.path} counts as filling and is not there"]
    stop = asyncio.Event()
    running = asyncio.create_task(keeper.run(stop))
    while keeper.recovery.fans_done < FANS or keeper.used_bytes() > 16 * 4096:
        await asyncio.to_thread(keeper.used_bytes)  # gives way to the keeper's threads
    stop.set()
    await running
    assert keeper.used_bytes() == 16 * 4096
    assert not list(keeper.check())
    left_over.abandon()
