from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cache.store.environment import open_environment
from cache.store.index import ChunkIndex
from cache.store.recovery import FANS, Recovery
from cache.tally import Count, Tally
from tests.unit.cache.store.samples import chunk_of, fill, flip, path_of, store_in


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def index(tmp_path: Path) -> ChunkIndex:
    return ChunkIndex(open_environment(tmp_path))


@pytest.fixture
def recovery(tmp_path: Path, tally: Tally) -> Recovery:
    return Recovery(open_environment(tmp_path), tally)


def settle_all(recovery: Recovery) -> None:
    for fan in range(FANS):
        recovery.settle(fan)


def forget(index: ChunkIndex, *numbers: int) -> None:
    index.remove([(chunk_of(number).id, None) for number in numbers])


def test_files_without_rows_get_rows(tmp_path: Path, recovery: Recovery, index: ChunkIndex) -> None:
    store = store_in(tmp_path)
    for number in range(40):
        fill(store, chunk_of(number))
    forget(index, *range(30))
    settle_all(recovery)
    assert index.used() == 40 * 4096
    assert {key for key, _, _ in index.page(b"", 100)} == {chunk_of(number).id for number in range(40)}
    assert not list(index.check())
    sequences = [sequence for _, _, sequence in index.page(b"", 100)]
    settle_all(recovery)
    assert [sequence for _, _, sequence in index.page(b"", 100)] == sequences


def test_rows_without_files_go(tmp_path: Path, recovery: Recovery, index: ChunkIndex) -> None:
    store = store_in(tmp_path)
    for number in range(40):
        fill(store, chunk_of(number))
    for number in range(10):
        path_of(tmp_path, chunk_of(number)).unlink()
    settle_all(recovery)
    assert index.used() == 30 * 4096
    assert not list(index.check())


def test_unindexed_files_that_are_no_whole_chunks_go(
    tmp_path: Path, recovery: Recovery, index: ChunkIndex, tally: Tally
) -> None:
    store = store_in(tmp_path)
    for number in range(6):
        fill(store, chunk_of(number))
    forget(index, *range(5))
    flip(path_of(tmp_path, chunk_of(0)), 8 * 1000 + 9)
    os.truncate(path_of(tmp_path, chunk_of(1)), 500)
    path_of(tmp_path, chunk_of(2)).write_bytes(path_of(tmp_path, chunk_of(3)).read_bytes())
    path_of(tmp_path, chunk_of(4)).unlink()
    path_of(tmp_path, chunk_of(4)).symlink_to(path_of(tmp_path, chunk_of(3)))
    stray = path_of(tmp_path, chunk_of(5)).with_name("stray")
    stray.write_bytes(b"x")
    settle_all(recovery)
    assert index.used() == 2 * 4096
    assert tally.words[Count.DISK_DAMAGED] == 5
    assert not stray.exists()
    assert sorted(path.is_file() for path in (tmp_path / "chunks").glob("*/*")) == [True, True]


def test_a_missing_chunks_directory_is_an_empty_one(tmp_path: Path, recovery: Recovery) -> None:
    (tmp_path / "chunks").rmdir()
    settle_all(recovery)


def test_leftovers_of_dead_processes_go_and_those_of_live_ones_stay(tmp_path: Path, recovery: Recovery) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    filling = tmp_path / "filling"
    mine = store_in(tmp_path).create(chunk_of())
    (filling / f"{'0' * 32}.{dead.pid}.0").write_bytes(b"x")
    (filling / "stray").write_bytes(b"x")
    (filling / f"moved.{dead.pid}.7").mkdir()
    (filling / f"moved.{dead.pid}.7" / "inside").write_bytes(b"x")
    assert recovery.clear_filling() == 3
    assert [str(path) for path in filling.iterdir()] == [mine.path]
    assert recovery.clear_filling(everything=True) == 1
    assert not list(filling.iterdir())


async def test_run_settles_everything(tmp_path: Path, recovery: Recovery, index: ChunkIndex, tally: Tally) -> None:
    fill(store_in(tmp_path), chunk_of())
    forget(index, 0)
    (tmp_path / "chunks" / "00").write_bytes(b"a file where a directory belongs")
    await recovery.run(asyncio.Event())
    assert recovery.fans_done == FANS
    assert index.used() == 4096
    assert tally.words[Count.DISK_ERRORS] == 1


async def test_run_ends_when_told(recovery: Recovery) -> None:
    stop = asyncio.Event()
    stop.set()
    await recovery.run(stop)
    assert recovery.fans_done == 0
