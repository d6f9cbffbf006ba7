from __future__ import annotations

from pathlib import Path

from cache.store.readers import OpenReaders
from tests.unit.cache.store.samples import chunk_of, fill, path_of, store_in


def test_the_one_found_longest_ago_goes_first(tmp_path: Path) -> None:
    store, readers = store_in(tmp_path), OpenReaders(2)
    a, b, c = (fill(store, chunk_of(number)) for number in range(3))
    readers.keep(a)
    readers.keep(b)
    assert readers.find(a.chunk.id) is a
    readers.keep(c)
    assert readers.find(b.chunk.id) is None
    assert len(readers) == 2
    assert not list(readers.check())


def test_sweep_goes_round_and_lets_unlinked_files_go(tmp_path: Path) -> None:
    store, readers = store_in(tmp_path), OpenReaders(100)
    for number in range(10):
        readers.keep(fill(store, chunk_of(number)))
    for number in range(5):
        path_of(tmp_path, chunk_of(number)).unlink()
    assert sum(readers.sweep(3) for _ in range(4)) == 5
    assert len(readers) == 5
    assert readers.sweep(100) == 0


def test_drop_and_shed(tmp_path: Path) -> None:
    store, readers = store_in(tmp_path), OpenReaders(100)
    for number in range(3):
        readers.keep(fill(store, chunk_of(number)))
    readers.drop(chunk_of(1).id)
    readers.drop(chunk_of(1).id)
    readers.shed(99)
    assert len(readers) == 0


def test_findings(tmp_path: Path) -> None:
    readers = OpenReaders(1)
    reader = fill(store_in(tmp_path), chunk_of())
    readers._readers = readers._readers.__class__({b"a": reader, b"b": reader})
    assert len(list(readers.check())) == 3
