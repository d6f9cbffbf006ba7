from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from cache.chunks import UNIT_BYTES, Chunk, unit_count
from cache.faults import DiskFailed, DiskFull, OwnFault
from cache.store.files import FileStore
from cache.tally import Count, Tally
from tests.unit.cache.store.samples import body_of, chunk_of, fill, path_of, store_in


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.integers(1, 3 * UNIT_BYTES), cuts=st.lists(st.integers(0, 3 * UNIT_BYTES), max_size=8))
def test_however_the_body_is_cut_the_hashes_are_the_same(tmp_path: Path, size: int, cuts: list[int]) -> None:
    chunk = chunk_of(1, size)
    body = body_of(chunk)
    writer = store_in(tmp_path).create(chunk)
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})
    for start, stop in itertools.pairwise(edges):
        writer.append(memoryview(body)[start:stop])
    reader = writer.seal()
    for unit in range(unit_count(size)):
        assert reader.unit_hash(unit) == xxh3_64_intdigest(body[unit * UNIT_BYTES : (unit + 1) * UNIT_BYTES])


def test_appended_bytes_can_be_read_at_once_by_descriptor_and_by_path(tmp_path: Path) -> None:
    chunk = chunk_of(1, 1000)
    writer = store_in(tmp_path).create(chunk)
    writer.append(b"a" * 400)
    assert os.pread(writer.fd, 1000, 0) == b"a" * 400
    assert Path(writer.path).read_bytes() == b"a" * 400
    assert not path_of(tmp_path, chunk).exists()
    writer.abandon()


def test_a_chunk_that_is_not_whole_is_not_sealed(tmp_path: Path) -> None:
    writer = store_in(tmp_path).create(chunk_of(1, 1000))
    writer.append(b"a" * 999)
    with pytest.raises(OwnFault):
        writer.append(b"bc")
    with pytest.raises(OwnFault):
        writer.seal()
    writer.abandon()


def test_an_abandoned_chunk_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    writer = store.create(chunk_of(1, 1000))
    writer.append(b"a" * 400)
    writer.abandon()
    writer.abandon()
    assert not list((tmp_path / "filling").iterdir())
    assert not list(store.check())
    with pytest.raises(DiskFailed):
        writer.append(b"b")


def test_abandon_after_seal_leaves_the_chunk(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    writer = store.create(chunk_of(1, 4))
    writer.append(b"abcd")
    reader = writer.seal()
    writer.abandon()
    assert store.find(chunk_of(1, 4)) is reader


def test_the_descriptor_outlives_the_writer_in_the_sealed_reader(tmp_path: Path) -> None:
    writer = store_in(tmp_path).create(chunk_of(1, 4))
    writer.append(b"abcd")
    reader = writer.seal()
    assert reader.fd == writer.fd
    del writer
    assert os.pread(reader.fd, 4, 0) == b"abcd"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small filesystem")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill_in_vain(store: FileStore, chunk: Chunk) -> None:
    """The space comes back when the writer, which holds the descriptor, goes."""
    writer = store.create(chunk)
    with pytest.raises(DiskFull):
        writer.append(body_of(chunk))
    writer.abandon()


def test_a_full_filesystem_is_a_full_disk_and_no_strike(small_disk: Path) -> None:
    store = store_in(small_disk)
    chunk = chunk_of(1, 900_000)  # too small for room to be taken before
    with (small_disk / "other").open("wb") as other:
        os.posix_fallocate(other.fileno(), 0, 3_000_000)
    for _ in range(6):
        fill_in_vain(store, chunk)
    assert store.find(chunk) is None
    small = chunk_of(2, 1000)
    assert fill(store, small).length == 1000
    assert not list(store.check())
    store.close()


def test_a_disk_without_room_for_a_large_chunk_is_full_before_a_byte_is_written(small_disk: Path) -> None:
    store = store_in(small_disk)
    for _ in range(6):
        with pytest.raises(DiskFull):
            store.create(chunk_of(1, 4 << 20))
    assert not list((small_disk / "filling").iterdir())
    assert fill(store, chunk_of(2, 2 << 20)).length == 2 << 20
    assert not list(store.check())
    store.close()


def test_a_limited_file_size_is_a_full_disk(tmp_path: Path) -> None:
    """Short writes come first, then EFBIG: as a disk fills up."""
    chunk = chunk_of(1, 100_000)
    writer = store_in(tmp_path).create(chunk)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DiskFull):
            writer.append(body_of(chunk))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.fstat(writer.fd).st_size == 50_000
    writer.abandon()


def test_a_chunk_that_cannot_be_made_visible_is_a_fault(tmp_path: Path) -> None:
    tally = Tally()
    store = store_in(tmp_path, tally=tally)
    writer = store.create(chunk_of(1, 4))
    writer.append(b"abcd")
    (tmp_path / "chunks").rmdir()
    (tmp_path / "chunks").write_bytes(b"a file where a directory belongs")
    with pytest.raises(DiskFailed):
        writer.seal()
    writer.abandon()
    assert tally.words[Count.DISK_ERRORS] == 1
    assert not list((tmp_path / "filling").iterdir())
    assert not list(store.check())


def test_a_writer_that_gets_only_one_descriptor_leaves_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    spare = os.open(tmp_path, os.O_RDONLY)
    os.close(spare)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, hard))
    try:
        with pytest.raises(DiskFailed):
            store.create(chunk_of())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not list((tmp_path / "filling").iterdir())
    assert not list(store.check())


def test_a_writer_that_is_dropped_lets_its_descriptors_go(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    writer = store.create(chunk_of())
    assert len(os.listdir("/proc/self/fd")) == before + 2
    del writer
    assert len(os.listdir("/proc/self/fd")) == before
    assert not store._filling


KILLED = """
import os, signal, sys
from pathlib import Path
from cache.store.files import FileStore
from cache.tally import Count, Tally
from tests.unit.cache.store.samples import body_of, chunk_of, fill, store_in
store = store_in(Path(sys.argv[1]))
fill(store, chunk_of(1, 5000))
writer = store.create(chunk_of(2, 300_000))
writer.append(body_of(chunk_of(2, 300_000))[:int(sys.argv[2])])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("written", [0, 1, 299_999, 300_000])
def test_a_process_killed_while_it_fills_leaves_a_temporary_and_nothing_else(tmp_path: Path, written: int) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(written)]
    killed = subprocess.run(command, check=False, timeout=60, cwd=Path(__file__).parents[4])
    assert killed.returncode == -signal.SIGKILL
    store = store_in(tmp_path)
    assert len(list((tmp_path / "filling").iterdir())) == 1
    assert store.find(chunk_of(2, 300_000)) is None
    assert store.find(chunk_of(1, 5000)) is not None
    assert store.used_bytes() == 8192
    assert not list(store.check())
