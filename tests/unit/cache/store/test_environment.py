from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.faults import DiskFailed
from cache.store.catalog import LmdbCatalog
from cache.store.environment import open_environment, prepare
from cache.store.index import ChunkIndex
from cache.store.mapped import Tokens
from cache.store.places import Places
from cache.tally import Tally
from cache.versions import ObjectRef
from tests.unit.cache.store.samples import chunk_of, entry_of, fill, store_in

REF = ObjectRef("b", "k")


def remember(directory: Path) -> None:
    """An entry and some chunks, and everything closed again."""
    environment = prepare(directory)
    catalog = LmdbCatalog(environment, Tokens(environment.places.tokens), Tally())
    catalog.put(REF, entry_of(REF, token=catalog.token(REF)))
    store = store_in(directory)
    for number in range(50):
        fill(store, chunk_of(number))
    store.close()
    del environment, catalog, store
    gc.collect()


def recalls(directory: Path) -> tuple[bool, int]:
    """Whether the entry counts, and the bytes indexed, after the node process prepared the directory."""
    environment = prepare(directory)
    catalog = LmdbCatalog(environment, Tokens(environment.places.tokens), Tally())
    return catalog.find(REF) is not None, ChunkIndex(environment).used()


def test_one_opening_per_process(tmp_path: Path) -> None:
    one = open_environment(tmp_path)
    assert open_environment(tmp_path) is one
    assert open_environment(tmp_path / "." / "") is one
    assert prepare(tmp_path) is not None


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    remember(tmp_path)
    assert recalls(tmp_path) == (True, 50 * 4096)


def test_another_boot_empties_index_and_catalog(tmp_path: Path) -> None:
    remember(tmp_path)
    Path(Places(tmp_path).boot).write_text("another boot")
    assert recalls(tmp_path) == (False, 0)


def test_the_boot_is_noted_once_and_never_half(tmp_path: Path) -> None:
    """A full disk refuses the writing; what was noted before must outlive that."""
    boot = Path(Places(tmp_path).boot)
    prepare(tmp_path)
    noted = boot.stat()
    prepare(tmp_path)
    assert (boot.stat().st_ino, boot.stat().st_mtime_ns) == (noted.st_ino, noted.st_mtime_ns)
    boot.write_text("another boot")
    with boot.open() as older:
        prepare(tmp_path)
        assert older.read() == "another boot"  # replaced, not written over


def test_lost_tokens_make_every_entry_old(tmp_path: Path) -> None:
    remember(tmp_path)
    Path(Places(tmp_path).tokens).unlink()
    assert recalls(tmp_path) == (False, 50 * 4096)


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def _garbage_beyond_the_heads(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:8192] + os.urandom(len(raw) - 8192))


def _cut(path: Path) -> None:
    os.truncate(path, 3 * 4096)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("spoil", [_garbage, _garbage_beyond_the_heads, _cut, _empty, Path.unlink])
def test_a_damaged_index_is_made_anew(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    remember(tmp_path)
    spoil(tmp_path / "index" / "data.mdb")
    assert recalls(tmp_path) == (False, 0)
    store = store_in(tmp_path)
    assert all(store.find(chunk_of(number)) for number in range(50))


def test_a_missing_index_is_made_anew(tmp_path: Path) -> None:
    remember(tmp_path)
    (tmp_path / "index").rename(tmp_path / "gone")
    assert recalls(tmp_path) == (False, 0)


def test_what_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskFailed):
        prepare(tmp_path / "file")
