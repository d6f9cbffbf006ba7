from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.faults import DiskFailed
from cache.store.environment import open_environment
from cache.store.index import Arrival, ChunkIndex


def name(number: int) -> bytes:
    return number.to_bytes(1, "big") * 16


@pytest.fixture
def index(tmp_path: Path) -> ChunkIndex:
    return ChunkIndex(open_environment(tmp_path))


def test_chunks_come_in_order_and_go(index: ChunkIndex) -> None:
    index.insert([(name(2), 20, 0.0), (name(1), 10, 0.0)])
    index.insert([(name(3), 30, 0.0)])
    assert index.used() == 60
    assert index.arrivals(0, 2) == [Arrival(1, name(2), 20), Arrival(2, name(1), 10)]
    assert index.arrivals(2, 2) == [Arrival(3, name(3), 30)]
    assert index.page(b"", 2) == [(name(1), 10, 2), (name(2), 20, 1)]
    assert index.page(name(2), 2) == [(name(3), 30, 3)]
    assert index.missing([name(1), name(9)]) == [name(9)]
    assert index.remove([(name(1), None), (name(9), None), (name(2), 7)]) == 10
    assert index.used() == 50
    assert not list(index.check())
    assert index.free_dead_readers() == 0


def test_a_chunk_that_comes_again_counts_once(index: ChunkIndex) -> None:
    index.insert([(name(1), 10, 0.0)])
    index.insert([(name(1), 15, 0.0)])
    assert index.used() == 15
    assert index.arrivals(0, 9) == [Arrival(2, name(1), 15)]
    assert index.remove([(name(1), 1)]) == 0
    assert index.remove([(name(1), 2)]) == 15


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 2**40)), max_size=20))
def test_used_bytes_are_the_sum_of_the_rows(index: ChunkIndex, steps: list[tuple[bool, int, int]]) -> None:
    index.remove((key, None) for key, _, _ in index.page(b"", 100))
    model: dict[bytes, int] = {}
    for insert, number, length in steps:
        if insert:
            index.insert([(name(number), length, 0.0)])
            model[name(number)] = length
        else:
            assert index.remove([(name(number), None)]) == model.pop(name(number), 0)
        assert index.used() == sum(model.values())
    assert {key: length for key, length, _ in index.page(b"", 100)} == model
    assert not list(index.check())


KILLED = """
import os, signal, sys
from pathlib import Path
from cache.store.environment import open_environment
environment = open_environment(Path(sys.argv[1]))
txn = environment.lmdb.begin(write=True)
txn.put(b"half", b"done", db=environment.chunks)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_killed_in_its_transaction_holds_nobody_up(index: ChunkIndex, tmp_path: Path) -> None:
    index.insert([(name(1), 10, 0.0)])
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, check=False, timeout=60, cwd=Path(__file__).parents[4])
    assert killed.returncode == -signal.SIGKILL
    index.insert([(name(2), 20, 0.0)])
    assert index.used() == 30
    assert not list(index.check())


REMOVER = """
import sys
from pathlib import Path
from cache.store.environment import open_environment
from cache.store.index import ChunkIndex
ChunkIndex(open_environment(Path(sys.argv[1]))).remove([(bytes.fromhex(sys.argv[2]), None)])
"""


def test_the_moment_is_another_one_after_a_change_and_only_then(index: ChunkIndex, tmp_path: Path) -> None:
    before = index.moment()
    index.insert([(name(1), 10, 0.0)])
    mine = index.moment()
    assert mine > before
    assert (index.used(), index.missing([name(1)]), index.moment()) == (10, [], mine)
    command = [sys.executable, "-c", REMOVER, str(tmp_path), name(1).hex()]
    subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parents[4])
    assert index.moment() > mine
    assert index.used() == 0


def test_contradictions_are_findings_and_garbage_is_a_fault(index: ChunkIndex, tmp_path: Path) -> None:
    index.insert([(name(1), 10, 0.0)])
    environment = open_environment(tmp_path)
    with environment.lmdb.begin(write=True) as txn:
        txn.put(b"used bytes", b"\x01", db=environment.meta)
        txn.drop(environment.arrivals, delete=False)
    assert len(list(index.check())) == 2
    with environment.lmdb.begin(write=True) as txn:
        txn.put(name(2), b"garbage", db=environment.chunks)
    with pytest.raises(DiskFailed):
        index.page(b"", 10)
