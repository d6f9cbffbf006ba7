"""s3fs, unmodified, and pandas-like use of it through fsspec: files, globs, parts, ranges, copies."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
import s3fs

from tests.clients.conftest import Upstream
from tests.cluster import ACCESS_KEY, SECRET_KEY, Cluster

pytestmark = pytest.mark.timeout(120)
MIB = 1 << 20


@pytest.fixture
def systems(cluster: Cluster) -> list[s3fs.S3FileSystem]:
    """A filesystem on each node, without listings of its own."""
    s3fs.S3FileSystem.clear_instance_cache()
    return [
        s3fs.S3FileSystem(
            key=ACCESS_KEY, secret=SECRET_KEY, client_kwargs={"region_name": "us-east-1"},
            endpoint_url=node.endpoint, use_listings_cache=False,
        )
        for node in cluster.nodes
    ]  # fmt: skip


def test_files(systems: list[s3fs.S3FileSystem], bucket: str) -> None:
    one, other = systems
    for number in range(6):
        one.pipe_file(f"{bucket}/dir {number % 2}/f+{number}", b"%d" % number * 1000)
    assert other.cat_file(f"{bucket}/dir 1/f+3") == b"3" * 1000
    assert other.cat_file(f"{bucket}/dir 1/f+3", start=10, end=20) == b"3" * 10
    assert sorted(other.glob(f"{bucket}/**/f+*")) == [f"{bucket}/dir {n % 2}/f+{n}" for n in (0, 2, 4, 1, 3, 5)]
    assert sorted(other.ls(bucket, detail=False)) == [f"{bucket}/dir 0", f"{bucket}/dir 1"]
    assert other.info(f"{bucket}/dir 0/f+2")["size"] == 1000
    assert other.exists(f"{bucket}/dir 0/f+2")
    assert not other.exists(f"{bucket}/dir 0/f+9")
    assert other.cat([f"{bucket}/dir 0/f+{n}" for n in (0, 2, 4)])[f"{bucket}/dir 0/f+4"] == b"4" * 1000
    one.pipe_file(f"{bucket}/dir 0/f+2", b"new")
    assert [system.cat_file(f"{bucket}/dir 0/f+2") for system in systems] == [b"new", b"new"]
    other.copy(f"{bucket}/dir 0/f+2", f"{bucket}/copied")
    assert one.cat_file(f"{bucket}/copied") == b"new"
    one.rm(f"{bucket}/dir 0", recursive=True)
    assert not other.exists(f"{bucket}/dir 0/f+2")
    with pytest.raises(FileNotFoundError):
        other.cat_file(f"{bucket}/dir 0/f+2")
    with pytest.raises(FileNotFoundError):
        other.cat_file("no-such-bucket/k")


def test_a_large_file_in_parts(systems: list[s3fs.S3FileSystem], bucket: str, tmp_path: Path) -> None:
    body = os.urandom(13 * MIB + 1)
    with systems[0].open(f"{bucket}/big", "wb", block_size=5 * MIB) as file:
        for start in range(0, len(body), MIB):
            file.write(body[start : start + MIB])
    for system in systems:
        with system.open(f"{bucket}/big", "rb", block_size=MIB) as file:
            assert file.read(100) == body[:100]
            assert file.seek(7 * MIB - 5) == 7 * MIB - 5
            assert file.read(2 * MIB) == body[7 * MIB - 5 : 9 * MIB - 5]
            assert file.seek(-10, os.SEEK_END) == len(body) - 10
            assert file.read() == body[-10:]
        system.get_file(f"{bucket}/big", str(tmp_path / "down"))
        assert (tmp_path / "down").read_bytes() == body
        ranges = system.cat_ranges([f"{bucket}/big"] * 9, [n * MIB for n in range(9)], [n * MIB + 50 for n in range(9)])
        assert ranges == [body[n * MIB : n * MIB + 50] for n in range(9)]


def test_through_fsspec(cluster: Cluster, upstream: Upstream, systems: list[s3fs.S3FileSystem], bucket: str) -> None:
    options = {"key": ACCESS_KEY, "secret": SECRET_KEY, "endpoint_url": cluster.nodes[1].endpoint}
    with fsspec.open(f"s3://{bucket}/t.csv.gz", "wt", compression="gzip", **options) as file:
        file.write("a,b\n1,2\n" * 1000)
    with fsspec.open(f"s3://{bucket}/t.csv.gz", "rt", compression="gzip", **options) as file:
        assert file.read() == "a,b\n1,2\n" * 1000
    assert systems[0].cat_file(f"{bucket}/t.csv.gz")[:2] == b"\x1f\x8b"
    limited = s3fs.S3FileSystem(key="LIMITEDKEY", secret="limited-secret-key", endpoint_url=cluster.nodes[0].endpoint)
    with pytest.raises(PermissionError):
        limited.cat_file(f"{bucket}/t.csv.gz")
