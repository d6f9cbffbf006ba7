"""pyarrow, unmodified (the AWS SDK for C++): its filesystem, and Parquet read by columns."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import dataset, fs, parquet

from tests.cluster import ACCESS_KEY, SECRET_KEY, Cluster

pytestmark = pytest.mark.timeout(120)
MIB = 1 << 20


@pytest.fixture
def systems(cluster: Cluster) -> list[fs.S3FileSystem]:
    """A filesystem on each node."""
    return [
        fs.S3FileSystem(
            access_key=ACCESS_KEY, secret_key=SECRET_KEY, region="us-east-1", scheme="http",
            endpoint_override=node.endpoint.removeprefix("http://"), allow_bucket_creation=False,
        )
        for node in cluster.nodes
    ]  # fmt: skip


def write(system: fs.S3FileSystem, path: str, body: bytes) -> None:
    with system.open_output_stream(path) as stream:
        stream.write(body)


def read(system: fs.S3FileSystem, path: str) -> bytes:
    with system.open_input_stream(path) as stream:
        data: bytes = stream.read()
        return data


def test_files(systems: list[fs.S3FileSystem], bucket: str) -> None:
    one, other = systems
    for turn in range(4):
        body = os.urandom(300_000)
        write(systems[turn % 2], f"{bucket}/dir/a b+ü", body)
        assert [read(system, f"{bucket}/dir/a b+ü") for system in systems * 2] == [body] * 4
    with other.open_input_file(f"{bucket}/dir/a b+ü") as file:
        assert file.size() == 300_000
        assert file.read_at(1000, 5000) == body[5000:6000]
    assert [info.base_name for info in other.get_file_info(fs.FileSelector(f"{bucket}/dir"))] == ["a b+ü"]
    one.copy_file(f"{bucket}/dir/a b+ü", f"{bucket}/dir/copied")
    assert read(other, f"{bucket}/dir/copied") == body
    one.copy_file(f"{bucket}/dir/copied", f"{bucket}/top")
    assert read(other, f"{bucket}/top") == body
    one.delete_file(f"{bucket}/top")
    assert other.get_file_info(f"{bucket}/top").type == fs.FileType.NotFound
    with pytest.raises(FileNotFoundError):
        read(other, f"{bucket}/top")
    with pytest.raises(OSError, match=r"NoSuchBucket|NO_SUCH_BUCKET|does not exist"):
        write(one, "no-such-bucket/k", b"body")


def test_a_large_file_in_parts(systems: list[fs.S3FileSystem], bucket: str) -> None:
    body = os.urandom(23 * MIB + 7)
    write(systems[0], f"{bucket}/big", body)
    for system in systems:
        assert read(system, f"{bucket}/big") == body
        with system.open_input_file(f"{bucket}/big") as file:
            assert file.read_at(3 * MIB, 9 * MIB) == body[9 * MIB : 12 * MIB]


def test_tables(systems: list[fs.S3FileSystem], bucket: str, clients: list[Any]) -> None:
    table = pa.table({"number": range(200_000), "half": [n / 2 for n in range(200_000)], "text": ["x"] * 200_000})
    parquet.write_table(table, f"{bucket}/table/part.parquet", filesystem=systems[0], row_group_size=20_000)
    for system in systems:
        assert parquet.read_table(f"{bucket}/table/part.parquet", filesystem=system, columns=["half"]).equals(
            table.select(["half"])
        )
        found = dataset.dataset(f"{bucket}/table", filesystem=system, format="parquet")
        assert found.count_rows(filter=dataset.field("number") >= 150_000) == 50_000
    doubled = pa.table({"number": range(10)})
    parquet.write_table(doubled, f"{bucket}/table/part.parquet", filesystem=systems[1])
    for system in systems:
        assert parquet.read_table(f"{bucket}/table/part.parquet", filesystem=system).equals(doubled)
