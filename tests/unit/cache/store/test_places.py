from __future__ import annotations

from pathlib import Path

import pytest

from cache.store.places import Places


def test_a_chunk_id_survives_its_path() -> None:
    chunk_id = bytes(range(200, 216))
    path = Path(Places(Path("/c")).chunk(chunk_id))
    assert path.parent.parent == Path("/c/chunks")
    assert Places.chunk_id(path.parent.name, path.name) == chunk_id


@pytest.mark.parametrize(
    ("fan", "name"), [("a", "0" * 30), ("ab", "0" * 29), ("AB", "0" * 30), ("zz", "0" * 30), ("ab", "g" * 30)]
)
def test_other_names_are_no_chunks(fan: str, name: str) -> None:
    assert Places.chunk_id(fan, name) is None


def test_a_temporary_names_its_process() -> None:
    path = Path(Places(Path("/c")).temporary(b"\x01" * 16, 4711, 3))
    assert path.parent == Path("/c/filling")
    assert Places.filler(path.name) == 4711


@pytest.mark.parametrize("name", ["x", "a.b.c", "a.1", "a.1.2.3"])
def test_other_names_have_no_filler(name: str) -> None:
    assert Places.filler(name) is None
