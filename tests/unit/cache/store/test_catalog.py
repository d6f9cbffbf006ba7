from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cache.store import catalog as module
from cache.store.catalog import LmdbCatalog
from cache.store.environment import open_environment, prepare
from cache.store.mapped import TOKEN_SLOTS, Tokens
from cache.tally import Tally
from cache.versions import ObjectRef
from tests.unit.cache.store.samples import entry_of

REF = ObjectRef("b", "k")


def catalog_in(directory: Path, **options: Any) -> LmdbCatalog:
    environment = open_environment(directory)
    return LmdbCatalog(environment, Tokens(environment.places.tokens), Tally(), **options)


def put(catalog: LmdbCatalog, ref: ObjectRef, **options: object) -> None:
    catalog.put(ref, entry_of(ref, token=catalog.token(ref), **options))  # type: ignore[arg-type]  # any option


def test_a_put_is_seen_by_another_face_that_had_an_older_one(tmp_path: Path) -> None:
    one, other = catalog_in(tmp_path), catalog_in(tmp_path)
    put(one, REF, etag='"1"')
    assert other.find(REF) == entry_of(REF, etag='"1"')
    put(one, REF, etag='"2"')
    assert other.find(REF) == entry_of(REF, etag='"2"')
    assert other.find(REF) is other.find(REF)
    assert not list(other.check())


def test_what_is_written_later_is_seen_here_at_once_and_elsewhere_then(tmp_path: Path) -> None:
    due: list[Callable[[], None]] = []
    one, other = catalog_in(tmp_path, later=due.append), catalog_in(tmp_path)
    refs = [ObjectRef("b", str(number)) for number in range(3)]
    for ref in refs:
        put(one, ref)
    assert [one.find(ref) for ref in refs] == [entry_of(ref) for ref in refs]
    assert [other.find(ref) for ref in refs] == [None] * 3
    (write,) = due
    write()
    assert [other.find(ref) for ref in refs] == [entry_of(ref) for ref in refs]
    assert [one.find(ref) for ref in refs] == [entry_of(ref) for ref in refs]
    write()
    assert one.rows() == 3


def test_a_row_that_is_not_written_yet_outlives_a_change_of_its_slot(tmp_path: Path) -> None:
    one, tokens = catalog_in(tmp_path, later=lambda _: None), Tokens(open_environment(tmp_path).places.tokens)
    put(one, REF)
    tokens.changed(REF.slot(TOKEN_SLOTS))
    assert one.find(REF) == entry_of(REF)
    assert catalog_in(tmp_path).find(REF) == entry_of(REF)


def test_a_question_about_another_key_writes_nothing(tmp_path: Path) -> None:
    one = catalog_in(tmp_path, later=lambda _: None)
    put(one, REF)
    assert one.find(ObjectRef("b", "another")) is None
    assert one.rows() == 0


def test_an_invalidation_counts_for_what_is_not_written_yet(tmp_path: Path) -> None:
    one, other = catalog_in(tmp_path, later=lambda _: None), catalog_in(tmp_path)
    put(one, REF)
    other.invalidate([REF])
    one.write()
    assert one.find(REF) is None
    assert other.find(REF) is None


def test_what_cannot_be_a_row_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    due: list[Callable[[], None]] = []
    one, other, bad = catalog_in(tmp_path, later=due.append), catalog_in(tmp_path), ObjectRef("b", "bad")
    put(one, REF)
    one.put(bad, replace(entry_of(bad, token=one.token(bad)), headers=(("x-amz-meta-n", "caf\udce9"),)))
    due.pop()()
    assert other.find(REF) == entry_of(REF)
    assert one.find(bad) is None


def test_no_more_than_a_bound_wait_to_be_written(tmp_path: Path) -> None:
    one, other = catalog_in(tmp_path, later=lambda _: None), catalog_in(tmp_path)
    for number in range(module.UNWRITTEN_MAX):
        put(one, ObjectRef("b", str(number)))
    assert other.rows() == module.UNWRITTEN_MAX


def test_a_row_that_answers_another_question_is_a_miss(tmp_path: Path) -> None:
    environment = prepare(tmp_path)
    catalog = catalog_in(tmp_path)
    put(catalog, REF)
    other = ObjectRef("b", "other")
    with environment.lmdb.begin(write=True, db=environment.catalog) as txn:
        txn.put(other.digest(), txn.get(REF.digest()))
    assert catalog.find(other) is None


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x90", b"\x01" * 50])
def test_a_row_of_garbage_is_a_miss(tmp_path: Path, raw: bytes) -> None:
    environment = prepare(tmp_path)
    catalog = catalog_in(tmp_path)
    with environment.lmdb.begin(write=True, db=environment.catalog) as txn:
        txn.put(REF.digest(), raw)
    assert catalog.find(REF) is None
    put(catalog, REF)
    assert catalog.find(REF) is not None


def test_distrust_makes_every_entry_old(tmp_path: Path) -> None:
    catalog = catalog_in(tmp_path)
    refs = [ObjectRef("b", str(number)) for number in range(50)]
    for ref in refs:
        put(catalog, ref)
    catalog_in(tmp_path).distrust()
    assert [catalog.find(ref) for ref in refs] == [None] * 50


def test_trim_cuts_down_to_the_bound_and_prefers_old_rows(tmp_path: Path) -> None:
    catalog = catalog_in(tmp_path, rows_max=100)
    for number in range(300):
        put(catalog, ObjectRef("b", str(number)), checked_at=float(number))
    while catalog.trim():
        pass
    left = [number for number in range(300) if catalog.find(ObjectRef("b", str(number)))]
    assert left == list(range(200, 300))
    assert catalog.rows() == 100
    assert catalog.trim() == 0


def test_trim_drops_garbage_first(tmp_path: Path) -> None:
    catalog = catalog_in(tmp_path, rows_max=1)
    environment = open_environment(tmp_path)
    put(catalog, REF)
    with environment.lmdb.begin(write=True, db=environment.catalog) as txn:
        txn.put(b"x" * 16, b"\xc1")
    assert catalog.trim() == 1
    assert catalog.find(REF) is not None


def test_remembered_questions_are_bounded(tmp_path: Path) -> None:
    catalog = catalog_in(tmp_path)
    for number in range(module.KNOWN_MAX + 10):
        catalog.find(ObjectRef("b", str(number)))
    assert not list(catalog.check())


def test_a_row_for_which_there_is_no_room_is_forgotten(tmp_path: Path) -> None:
    environment = prepare(tmp_path)
    catalog = catalog_in(tmp_path)
    info = environment.lmdb.info()
    environment.lmdb.set_mapsize((info["last_pgno"] + 3) * 4096)
    for number in range(500):
        put(catalog, ObjectRef("b", str(number)))
    assert catalog.find(ObjectRef("b", "499")) is None
    assert catalog._tally.read()["disk_errors"] > 0


OTHER = """
import sys
from pathlib import Path
from tests.unit.cache.store.test_catalog import REF, catalog_in, put
catalog = catalog_in(Path(sys.argv[1]))
assert catalog.find(REF).version.etag == '"mine"'
put(catalog, REF, etag='"theirs"')
print("put", flush=True)
sys.stdin.readline()
catalog.invalidate([REF])
print("invalidated", flush=True)
"""


def test_two_processes_share_entries_and_invalidations(tmp_path: Path) -> None:
    catalog = catalog_in(tmp_path)
    put(catalog, REF, etag='"mine"')
    command = [sys.executable, "-c", OTHER, str(tmp_path)]
    root = Path(__file__).parents[4]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "put\n"
        found = catalog.find(REF)
        assert found is not None
        assert found.version.etag == '"theirs"'
        token = catalog.token(REF)
        other.stdin.write("go\n")
        assert other.stdout.readline() == "invalidated\n"
        assert catalog.find(REF) is None
        assert catalog.token(REF) != token
    assert other.returncode == 0
