from __future__ import annotations

import os
from pathlib import Path

import pytest

from cache.chunks import UNIT_BYTES
from cache.store.chunk_files import damaged_unit, open_chunk_file, read_footer, remove_judged
from cache.store.footer import FooterDamaged
from cache.store.places import Places
from tests.unit.cache.store.samples import chunk_of, fill, flip, path_of, store_in

CHUNK = chunk_of(1, 2 * UNIT_BYTES + 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    fill(store_in(tmp_path), CHUNK)
    return path_of(tmp_path, CHUNK)


def test_a_whole_file_has_no_damaged_unit(path: Path) -> None:
    file = open_chunk_file(str(path))
    footer = read_footer(file)
    assert footer.chunk == CHUNK
    assert damaged_unit(file, footer) is None


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_the_first_damaged_unit_is_named(path: Path, unit: int) -> None:
    flip(path, 8 * unit * UNIT_BYTES)
    file = open_chunk_file(str(path))
    assert damaged_unit(file, read_footer(file)) == unit


def test_a_tail_that_claims_too_much_is_seen(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[-100:])
    with pytest.raises(FooterDamaged):
        read_footer(open_chunk_file(str(path)))


def test_only_the_judged_file_is_removed(path: Path, tmp_path: Path) -> None:
    judged = open_chunk_file(str(path))
    fill(store_in(tmp_path), CHUNK)
    assert not remove_judged(Places(tmp_path), str(path), judged)
    assert path.exists()
    assert remove_judged(Places(tmp_path), str(path), open_chunk_file(str(path)))
    assert not path.exists()
    assert not remove_judged(Places(tmp_path), str(path), None)


def test_a_fifo_is_opened_without_waiting_and_is_no_chunk(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FooterDamaged):
        read_footer(open_chunk_file(str(tmp_path / "fifo")))
