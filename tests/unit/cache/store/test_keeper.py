from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from typing_extensions import override

from cache.policy.s3fifo import S3Fifo
from cache.store.environment import prepare
from cache.store.keeper import Keeper
from cache.store.recovery import FANS
from cache.tally import Count, Tally
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


class UnforeseenPolicy(S3Fifo):
    """Fails as no disk does, whenever it is asked to evict; ``asked`` counts."""

    asked = 0

    @override
    def evict(self, take: Callable[[bytes], int]) -> bytes | None:
        self.asked += 1
        raise RuntimeError("nobody foresaw this")


def spoil_filling(directory: Path) -> None:
    """From now on listing ``filling/`` is refused."""
    (directory / "filling").rmdir()
    (directory / "filling").write_bytes(b"a file where a directory belongs")


async def run_until(keeper: Keeper, done: Callable[[], bool]) -> None:
    """Run the keeper till ``done``, or till it ends by itself, which fails."""
    stop = asyncio.Event()
    running = asyncio.create_task(keeper.run(stop))
    while not done() and not running.done():
        await asyncio.to_thread(keeper.used_bytes)  # gives way to the keeper's threads
    assert not running.done()
    stop.set()
    await running


async def test_a_filling_directory_that_cannot_be_listed_ends_nothing(tmp_path: Path) -> None:
    tally = Tally()
    keeper = Keeper(prepare(tmp_path), S3Fifo(1 << 20), tally, quota_bytes=1 << 20, chunk_bytes=4096)
    spoil_filling(tmp_path)
    await run_until(keeper, lambda: keeper.recovery.fans_done == FANS)
    assert tally.words[Count.DISK_ERRORS] == 1


def test_a_keeper_is_made_though_the_filling_directory_cannot_be_listed(tmp_path: Path) -> None:
    tally = Tally()
    environment = prepare(tmp_path)
    spoil_filling(tmp_path)
    Keeper(environment, S3Fifo(1 << 20), tally, quota_bytes=1 << 20, chunk_bytes=4096)
    assert tally.words[Count.DISK_ERRORS] == 1


async def test_an_error_that_nobody_foresaw_is_logged_once_and_the_chore_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, tally = store_in(tmp_path), Tally()
    for number in range(20):
        fill(store, chunk_of(number))
    policy = UnforeseenPolicy(10 * 4096)
    keeper = Keeper(prepare(tmp_path), policy, tally, quota_bytes=10 * 4096, chunk_bytes=4096)
    keeper.trouble_pause_s = 0.001
    await run_until(keeper, lambda: policy.asked >= 3 and keeper.recovery.fans_done == FANS)
    assert tally.words[Count.DISK_ERRORS] >= 3
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "eviction" in record.getMessage()
