"""What FileStore finds, makes and refuses, in a directory where anything may lie."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.chunks import UNIT_BYTES, Chunk
from cache.faults import DiskDamaged, DiskFailed, DiskFault, DiskFull
from cache.store.health import STRIKES_MAX
from cache.tally import Count, Tally
from cache.versions import ObjectVersion
from tests.unit.cache.store.samples import body_of, chunk_of, fill, flip, path_of, read_all, store_in


@pytest.fixture
def tally() -> Tally:
    return Tally()


async def test_a_second_store_finds_what_the_first_one_sealed(tmp_path: Path) -> None:
    one, other = store_in(tmp_path), store_in(tmp_path)
    chunk = chunk_of(1, 3 * UNIT_BYTES)
    assert other.find(chunk) is None
    fill(one, chunk)
    found = other.find(chunk)
    assert found is not None
    assert await read_all(found) == body_of(chunk)
    assert other.find(chunk) is found
    assert one.used_bytes() == path_of(tmp_path, chunk).stat().st_size // 4096 * 4096 + 4096
    assert not [*one.check(), *other.check()]


def test_another_version_size_or_index_is_another_chunk(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    fill(store, chunk_of(1, 1000))
    assert store.find(chunk_of(2, 1000)) is None
    assert store.find(chunk_of(1, 1001)) is None
    assert store.find(chunk_of(1, 1000, chunk_bytes=4096)) is None


def test_every_flipped_bit_of_footer_and_tail_is_a_counted_miss(tmp_path: Path, tally: Tally) -> None:
    """Each bit in turn: never found, the file gone, counted once."""
    maker, chunk = store_in(tmp_path), chunk_of(1, 10)
    fill(maker, chunk)
    path = path_of(tmp_path, chunk)
    whole = path.read_bytes()
    store = store_in(tmp_path, tally=tally, open_files_max=1)
    bits = range(8 * chunk.length, 8 * len(whole))
    for bit in bits:
        bad = bytearray(whole)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        assert store.find(chunk) is None, bit
        assert not path.exists()
    assert tally.words[Count.DISK_DAMAGED] == len(bits)


SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "one byte": lambda raw: raw[:1],
    "payload only": lambda raw: raw[:1000],
    "one byte short": lambda raw: raw[:-1],
    "one byte long": lambda raw: raw + b"\0",
    "zero tail": lambda raw: raw[:-64] + bytes(64),
    "zeros": lambda raw: bytes(len(raw)),
    "garbage": lambda raw: os.urandom(len(raw)),
    "payload cut": lambda raw: raw[1:],
    "doubled": lambda raw: raw + raw,
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS.keys())
def test_a_spoilt_file_is_a_counted_miss(tmp_path: Path, tally: Tally, spoil: Callable[[bytes], bytes]) -> None:
    chunk = chunk_of(1, 1000)
    fill(store_in(tmp_path), chunk)
    path = path_of(tmp_path, chunk)
    path.write_bytes(spoil(path.read_bytes()))
    store = store_in(tmp_path, tally=tally)
    assert store.find(chunk) is None
    assert not path.exists()
    assert tally.words[Count.DISK_DAMAGED] == 1
    assert store.used_bytes() == 0
    fill(store, chunk)
    assert store.find(chunk) is not None


@pytest.mark.parametrize("cut", [*range(0, 300_000, 50_001), UNIT_BYTES - 1, UNIT_BYTES, UNIT_BYTES + 1])
def test_a_file_cut_anywhere_is_a_miss(tmp_path: Path, cut: int) -> None:
    chunk = chunk_of(1, 300_000)
    fill(store_in(tmp_path), chunk)
    os.truncate(path_of(tmp_path, chunk), cut)
    assert store_in(tmp_path).find(chunk) is None


async def test_a_zeroed_page_of_payload_is_damage(tmp_path: Path) -> None:
    chunk = chunk_of(1, 300_000)
    fill(store_in(tmp_path), chunk)
    with path_of(tmp_path, chunk).open("r+b") as file:
        file.seek(8192)
        file.write(bytes(4096))
    found = store_in(tmp_path).find(chunk)
    assert found is not None
    with pytest.raises(DiskDamaged):
        await read_all(found)


def test_swapped_files_are_counted_misses(tmp_path: Path, tally: Tally) -> None:
    one, other = chunk_of(1, 1000), chunk_of(2, 1000)
    maker = store_in(tmp_path)
    fill(maker, one)
    fill(maker, other)
    a, b = path_of(tmp_path, one), path_of(tmp_path, other)
    a_bytes = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(a_bytes)
    store = store_in(tmp_path, tally=tally)
    assert (store.find(one), store.find(other)) == (None, None)
    assert tally.words[Count.DISK_DAMAGED] == 2


def _link(path: Path) -> None:
    target = path.parent.parent / "target"
    path.rename(target)
    path.symlink_to(target)


def _replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def _full_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_bytes(b"x")


FOREIGN = {
    "symlink": _link,
    "dangling symlink": _replace_by(lambda path: path.symlink_to("nowhere")),
    "directory": _replace_by(Path.mkdir),
    "directory with content": _full_directory,
    "FIFO": _replace_by(os.mkfifo),
}


@pytest.mark.parametrize("place", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_no_regular_file_is_a_counted_miss(tmp_path: Path, tally: Tally, place: Callable[[Path], None]) -> None:
    chunk = chunk_of(1, 1000)
    fill(store_in(tmp_path), chunk)
    place(path_of(tmp_path, chunk))
    store = store_in(tmp_path, tally=tally)
    assert store.find(chunk) is None
    assert tally.words[Count.DISK_DAMAGED] == 1
    assert store.find(chunk) is None
    assert tally.words[Count.DISK_DAMAGED] == 1
    fill(store, chunk)
    assert store.find(chunk) is not None


def test_a_directory_that_nobody_asked_for_does_not_stop_a_fill(tmp_path: Path) -> None:
    store, chunk = store_in(tmp_path), chunk_of(1, 1000)
    path_of(tmp_path, chunk).mkdir(parents=True)
    assert fill(store, chunk).length == 1000
    assert path_of(tmp_path, chunk).is_file()


def test_a_file_that_may_not_be_read_is_a_miss(tmp_path: Path, tally: Tally) -> None:
    chunk = chunk_of(1, 1000)
    fill(store_in(tmp_path), chunk)
    path_of(tmp_path, chunk).chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    store = store_in(tmp_path, tally=tally)
    assert store.find(chunk) is None
    assert tally.words[Count.DISK_DAMAGED] == 1


def test_a_cached_reader_whose_file_went_is_dropped(tmp_path: Path) -> None:
    store, chunk = store_in(tmp_path), chunk_of(1, 1000)
    fill(store, chunk)
    path_of(tmp_path, chunk).unlink()
    assert store.find(chunk) is None
    fill(store, chunk)
    path_of(tmp_path, chunk).unlink()
    assert store.sweep() == 1


async def test_a_cached_reader_whose_file_was_replaced_gives_way_to_the_new_one(tmp_path: Path) -> None:
    store, chunk = store_in(tmp_path), chunk_of(1, 1000)
    old = fill(store, chunk)
    fill(store_in(tmp_path), chunk)
    found = store.find(chunk)
    assert found is not None
    assert os.fstat(found.fd).st_ino != os.fstat(old.fd).st_ino
    assert await read_all(found) == await read_all(old) == body_of(chunk)
    assert store.used_bytes() == 4096


def test_the_quota_counts_whole_chunks_and_those_on_their_way(tmp_path: Path) -> None:
    store = store_in(tmp_path, quota_bytes=12_288)
    fill(store, chunk_of(1, 1000))
    under_way = store.create(chunk_of(2, 1000))
    with pytest.raises(DiskFull):
        store.create(chunk_of(3, 1000))
    under_way.abandon()
    store.create(chunk_of(3, 1000)).abandon()
    assert not list(store.check())


def test_spent_descriptors_are_misses_and_no_strikes(tmp_path: Path, tally: Tally) -> None:
    fill(store_in(tmp_path), chunk_of(1, 1000))
    store = store_in(tmp_path, tally=tally)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        for _ in range(2 * STRIKES_MAX):
            assert store.find(chunk_of(1, 1000)) is None
            with pytest.raises(DiskFailed):
                store.create(chunk_of(2, 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert store.find(chunk_of(1, 1000)) is not None
    assert not list(store.check())


def test_a_failing_disk_is_left_alone_and_tried_again(tmp_path: Path, tally: Tally) -> None:
    """The chunks directory turns into something that cannot be opened (ENOTDIR), and comes back."""
    now = [0.0]
    chunk = chunk_of(1, 1000)
    fill(store_in(tmp_path), chunk)
    store = store_in(tmp_path, tally=tally, disk_rest_s=7.0, now=lambda: now[0])
    chunks = tmp_path / "chunks"
    chunks.rename(tmp_path / "away")
    chunks.write_bytes(b"")
    for _ in range(STRIKES_MAX + 3):
        assert store.find(chunk) is None
    assert tally.words[Count.DISK_ERRORS] == STRIKES_MAX
    with pytest.raises(DiskFailed):
        store.create(chunk_of(2))
    chunks.unlink()
    (tmp_path / "away").rename(chunks)
    assert store.find(chunk) is None
    now[0] = 6.9
    assert store.find(chunk) is None
    now[0] = 7.0
    assert store.find(chunk) is not None


def test_a_vanished_directory_is_a_fault_on_writing_and_a_miss_on_reading(tmp_path: Path) -> None:
    store = store_in(tmp_path / "cache")
    (tmp_path / "cache" / "filling").rmdir()
    with pytest.raises(DiskFault):
        store.create(chunk_of())
    assert store.find(chunk_of()) is None


def test_a_directory_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskFailed):
        store_in(tmp_path / "file")


def test_a_chunk_without_a_row_is_found_all_the_same(tmp_path: Path) -> None:
    """Files are the truth."""
    store, chunk = store_in(tmp_path), chunk_of(1, 1000)
    fill(store, chunk)
    store._index.remove([(chunk.id, None)])
    assert store_in(tmp_path).find(chunk) is not None


def test_a_long_footer_needs_a_second_read(tmp_path: Path) -> None:
    chunk = Chunk(ObjectVersion("http://upstream", "b", "k" * 6000, '"e"', 1000), 1000, 0)
    fill(store_in(tmp_path), chunk)
    assert store_in(tmp_path).find(chunk) is not None


def test_a_chunk_that_shares_an_id_is_never_taken_for_the_other(tmp_path: Path) -> None:
    """Ids are hashes: the identity decides, for an open reader and for a file."""
    store, one, other = store_in(tmp_path), chunk_of(1, 1000), chunk_of(2, 1000)
    object.__setattr__(other, "id", one.id)
    fill(store, one)
    assert store_in(tmp_path).find(other) is None
    fill(store, one)
    assert store.find(other) is None


def test_closing_lets_all_go(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    reader = fill(store, chunk_of())
    store.close()
    assert len(store._readers) == 0
    os.fstat(reader.fd)


def test_a_lost_temporary_is_a_finding(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    writer = store.create(chunk_of())
    Path(writer.path).unlink()
    assert list(store.check())
    writer.abandon()
    assert not list(store.check())


async def test_a_flip_in_the_footer_under_an_open_reader_changes_nothing(tmp_path: Path) -> None:
    """Identity and hashes were read at opening; the payload is verified against those."""
    store, chunk = store_in(tmp_path), chunk_of(1, 1000)
    reader = fill(store, chunk)
    flip(path_of(tmp_path, chunk), 8 * 1000 + 3)
    assert await read_all(reader) == body_of(chunk)
    assert store_in(tmp_path).find(chunk) is None
