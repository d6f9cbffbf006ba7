"""The demo's sample keeps its limits, holds large and small files, and its shards are what the loader reads."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.demo_sample import (
    SHARD_BYTES,
    SHARD_BYTES_MIN,
    Manifest,
    SampleFile,
    build_shard,
    choose_files,
    digest_of,
    find_files,
    group_shards,
    shard_bytes_for,
)


def listed(sizes: list[int]) -> list[SampleFile]:
    return [SampleFile(Path(f"/x/{number}"), f"{number:05}", size) for number, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 100_000)), st.integers(1, 50), st.integers(0, 1_000_000))
def test_a_sample_keeps_its_limits(sizes: list[int], files_max: int, bytes_max: int) -> None:
    chosen = choose_files(listed(sizes), files_max=files_max, bytes_max=bytes_max)
    assert len(chosen) <= files_max
    assert sum(file.cost for file in chosen) <= bytes_max
    assert len({file.name for file in chosen}) == len(chosen)
    assert chosen == sorted(chosen, key=lambda file: file.name)


def test_a_sample_is_everything_where_that_fits() -> None:
    files = listed([0, 10, 5000, 3])
    assert choose_files(files, files_max=4, bytes_max=100_000) == files


def test_a_sample_has_the_largest_and_small_ones_from_all_over() -> None:
    files = listed([100] * 500 + [10**6] * 3 + [100] * 500)
    chosen = choose_files(files, files_max=100, bytes_max=10**7)
    assert sum(file.size == 10**6 for file in chosen) == 3
    assert len(chosen) == 100
    places = [int(file.name) for file in chosen]
    assert min(places) < 20
    assert max(places) > 800


def test_files_are_found_without_links_and_byte_code(tmp_path: Path) -> None:
    for name in ("b/two", "a/one", "__pycache__/x.pyc", "b/__pycache__/y", ".git/config"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "a/one")
    assert [(file.name, file.size) for file in find_files(tmp_path)] == [("a/one", 5), ("b/two", 5)]


@given(st.lists(st.integers(0, 30)), st.integers(1, 50))
def test_shards_hold_every_file_once(sizes: list[int], shard_bytes: int) -> None:
    files = listed(sizes)
    runs = list(group_shards(files, shard_bytes))
    assert [numbered for run in runs for numbered in run] == list(enumerate(files))
    assert all(run for run in runs)
    assert all(len(run) == 1 or sum(file.size for _, file in run) <= shard_bytes for run in runs)


def test_shards_are_several_and_not_too_small() -> None:
    assert shard_bytes_for(listed([10])) == SHARD_BYTES_MIN
    assert shard_bytes_for(listed([SHARD_BYTES] * 100)) == SHARD_BYTES


def test_a_shard_holds_the_files_and_costs_no_more_than_said(tmp_path: Path) -> None:
    bodies = {"a/one.so.1": b"1" * 5000, "two": b"", "ü": b"3" * 512}
    for name, body in bodies.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(body)
    files = find_files(tmp_path)
    shard, digests = build_shard(list(enumerate(files)))
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    assert found == {
        "000000.bin": bodies["a/one.so.1"],
        "000000.path": b"a/one.so.1",
        "000001.bin": b"",
        "000001.path": b"two",
        "000002.bin": bodies["ü"],
        "000002.path": "ü".encode(),
    }
    assert digests["000002"] == digest_of(bodies["ü"])
    assert len(shard) + sum(map(len, bodies.values())) <= sum(file.cost for file in files) + tarfile.RECORDSIZE


def test_a_manifest_knows_its_sizes() -> None:
    manifest = Manifest({"a": (3, b""), "b": (4, b"")}, {"s": 10})
    assert (manifest.object_bytes, manifest.shard_bytes) == (7, 10)
