"""What every Catalog promises, over the one in LMDB and the one in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.ports import Catalog
from cache.store.catalog import LmdbCatalog
from cache.store.environment import prepare
from cache.store.mapped import Tokens
from cache.tally import Tally
from cache.versions import Entry, ObjectRef, ObjectVersion
from tests.doubles.memory_store import MemoryCatalog


def in_lmdb(path: Path) -> Catalog:
    environment = prepare(path)
    return LmdbCatalog(environment, Tokens(environment.places.tokens), Tally())


CATALOGS: dict[str, Callable[[Path], Catalog]] = {"lmdb": in_lmdb, "memory": lambda path: MemoryCatalog()}
REF = ObjectRef("b", "k")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.fixture(params=list(CATALOGS.values()), ids=list(CATALOGS))
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Catalog:
    made: Catalog = request.param(tmp_path)
    return made


def entry_of(ref: ObjectRef, token: int, etag: str = '"1"', *, checked_at: float = 1.0) -> Entry:
    return Entry(ObjectVersion("http://o", ref.bucket, ref.key, etag, 5), (("a", "b"),), checked_at, token)


def test_what_was_put_is_found(catalog: Catalog) -> None:
    assert catalog.find(REF) is None
    entry = entry_of(REF, catalog.token(REF))
    catalog.put(REF, entry)
    assert catalog.find(REF) == entry
    newer = entry_of(REF, catalog.token(REF), '"2"', checked_at=2.0)
    catalog.put(REF, newer)
    assert catalog.find(REF) == newer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    texts=st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT),
    size=st.integers(0, 2**63 - 1),
    checked_at=st.floats(0, 1e9),
    headers=st.lists(st.tuples(TEXT, TEXT), max_size=5),
)
def test_any_entry_survives(
    catalog: Catalog,
    texts: tuple[str, ...],
    size: int,
    checked_at: float,
    headers: list[tuple[str, str]],
) -> None:
    origin, bucket, key, asked_id, etag, version_id = texts
    ref = ObjectRef(bucket, key, asked_id)
    version = ObjectVersion(origin, bucket, key, etag, size, version_id)
    entry = Entry(version, tuple(headers), checked_at, catalog.token(ref))
    catalog.put(ref, entry)
    assert catalog.find(ref) == entry


def test_an_invalidated_entry_counts_no_more(catalog: Catalog) -> None:
    catalog.put(REF, entry_of(REF, catalog.token(REF)))
    catalog.invalidate([REF])
    assert catalog.find(REF) is None
    catalog.put(REF, entry_of(REF, catalog.token(REF)))
    assert catalog.find(REF) is not None


def test_what_was_asked_before_an_invalidation_does_not_count_though_it_is_put_after(catalog: Catalog) -> None:
    token = catalog.token(REF)
    catalog.invalidate([REF])
    catalog.put(REF, entry_of(REF, token))
    assert catalog.find(REF) is None


def test_an_invalidation_covers_every_version_of_the_key_and_no_other_key(catalog: Catalog) -> None:
    version, other = ObjectRef("b", "k", "v1"), ObjectRef("b", "other")
    for ref in (version, other):
        catalog.put(ref, entry_of(ref, catalog.token(ref)))
    catalog.invalidate([REF])
    assert catalog.find(version) is None
    assert catalog.find(other) is not None


def test_versions_of_a_key_are_different_questions(catalog: Catalog) -> None:
    version = ObjectRef("b", "k", "v1")
    catalog.put(version, entry_of(version, catalog.token(version)))
    assert catalog.find(REF) is None


def test_tokens_never_come_again(catalog: Catalog) -> None:
    seen = {catalog.token(REF)}
    for _ in range(100):
        catalog.invalidate([REF])
        seen.add(catalog.token(REF))
    assert len(seen) == 101


def test_what_counts_no_longer_is_recalled(catalog: Catalog) -> None:
    assert catalog.recall(REF) is None
    entry = entry_of(REF, catalog.token(REF))
    catalog.put(REF, entry)
    assert catalog.recall(REF) == entry.version
    catalog.invalidate([REF])
    assert catalog.find(REF) is None
    assert catalog.recall(REF) == entry.version


def test_a_partial_entry_stays_one(catalog: Catalog) -> None:
    entry = replace(entry_of(REF, catalog.token(REF)), partial=True)
    catalog.put(REF, entry)
    assert catalog.find(REF) == entry
