from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cache.store.environment import open_environment
from cache.store.scrub import Scrub, fsck
from cache.tally import Count, Tally
from tests.unit.cache.store.samples import chunk_of, fill, flip, path_of, store_in


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def scrub(tmp_path: Path, tally: Tally) -> Scrub:
    store = store_in(tmp_path)
    for number in range(10):
        fill(store, chunk_of(number))
    return Scrub(open_environment(tmp_path), tally)


def test_a_pass_over_sound_chunks_changes_nothing(tmp_path: Path, scrub: Scrub, tally: Tally) -> None:
    assert [scrub.step(4) for _ in range(4)] == [4 * 4096, 4 * 4096, 2 * 4096, 0]
    assert tally.words[Count.DISK_DAMAGED] == 0
    assert not list(fsck(tmp_path))


def test_damage_is_taken_out_and_counted(tmp_path: Path, scrub: Scrub, tally: Tally) -> None:
    flip(path_of(tmp_path, chunk_of(1)), 77)
    flip(path_of(tmp_path, chunk_of(2)), 8 * 1010)
    path_of(tmp_path, chunk_of(3)).write_bytes(path_of(tmp_path, chunk_of(4)).read_bytes())
    path_of(tmp_path, chunk_of(5)).unlink()
    scrub.step(20)
    store = store_in(tmp_path)
    assert [number for number in range(10) if store.find(chunk_of(number)) is None] == [1, 2, 3, 5]
    assert tally.words[Count.DISK_DAMAGED] == 3
    assert store.used_bytes() == 6 * 4096
    assert not list(fsck(tmp_path))


async def test_run_scrubs_until_told(tmp_path: Path, scrub: Scrub, tally: Tally) -> None:
    flip(path_of(tmp_path, chunk_of(1)), 77)
    stop = asyncio.Event()
    running = asyncio.create_task(scrub.run(stop))
    while not tally.words[Count.DISK_DAMAGED]:
        await asyncio.to_thread(list, fsck(tmp_path))  # gives way to the scrub's thread
    stop.set()
    await running


@pytest.mark.usefixtures("scrub")
def test_fsck_tells_everything_and_changes_nothing(tmp_path: Path) -> None:
    assert not list(fsck(tmp_path))
    flip(path_of(tmp_path, chunk_of(1)), 77)
    flip(path_of(tmp_path, chunk_of(2)), 8 * 1010)
    path_of(tmp_path, chunk_of(3)).write_bytes(path_of(tmp_path, chunk_of(4)).read_bytes())
    path_of(tmp_path, chunk_of(5)).unlink()
    store_in(tmp_path)._index.remove([(chunk_of(6).id, None)])
    path_of(tmp_path, chunk_of(7)).with_name("stray").write_bytes(b"x")
    path_of(tmp_path, chunk_of(8)).unlink()
    path_of(tmp_path, chunk_of(8)).symlink_to("nowhere")
    (tmp_path / "filling" / "x.999999999.0").write_bytes(b"x")
    findings = list(fsck(tmp_path))
    assert len(findings) == 8, findings
    assert list(fsck(tmp_path)) == findings
