"""Upload and both readings, over a fake bucket that stands for the nodes too: whatever is wrong is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.demo_cluster import BUCKET, Bucket, DemoNode, Keys, plan_nodes
from bench.demo_counts import Pass
from bench.demo_passes import read_objects, read_shards, upload
from bench.demo_sample import Manifest, find_files
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.threaded_s3 import threaded_s3

Read = Callable[[list[DemoNode], Manifest, Pass, Callable[[int], None]], None]


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    """A running fake S3."""
    with threaded_s3() as server:
        yield server


@pytest.fixture
def nodes(fake: FakeS3) -> list[DemoNode]:
    """Two nodes, which are the fake itself."""
    return [replace(node, port=fake.port) for node in plan_nodes(2, 1)]


@pytest.fixture
def manifest(fake: FakeS3, tmp_path: Path) -> Manifest:
    """Uploaded: twenty files, one of them empty."""
    for number in range(20):
        (tmp_path / f"file {number}").write_bytes(bytes([number]) * (number * 10))
    done: list[int] = []
    manifest = upload(Bucket(fake.endpoint, Keys("AK", "SK")), find_files(tmp_path), done.append)
    assert sum(done) == manifest.object_bytes + manifest.shard_bytes
    assert manifest.object_bytes == sum(number * 10 for number in range(20))
    return manifest


def test_what_was_uploaded_is_read_back(nodes: list[DemoNode], manifest: Manifest) -> None:
    for read, objects, size in ((read_objects, 20, manifest.object_bytes), (read_shards, 1, manifest.shard_bytes)):
        done, ticks = Pass("cold", "", warm=False), list[int]()
        read(nodes, manifest, done, ticks.append)
        assert done.faults == []
        assert (done.objects, done.received_bytes) == (objects, size)
        assert done.seconds > 0
        assert sum(ticks) == manifest.object_bytes


@pytest.mark.parametrize(
    ("read", "key", "said"),
    [
        (read_objects, "objects/file 3", "objects/file 3: wrong bytes"),
        (read_shards, "shards/000.tar", "wrong bytes"),
    ],
)
def test_a_flipped_byte_is_found(
    fake: FakeS3, nodes: list[DemoNode], manifest: Manifest, read: Read, key: str, said: str
) -> None:
    stored = fake.shelf.buckets[BUCKET][key]
    assert stored.body is not None
    middle = stored.body.rindex(b"\x03" * 30) + 5 if key.startswith("objects") else stored.body.index(b"\x09" * 50) + 9
    stored.body = stored.body[:middle] + b"!" + stored.body[middle + 1 :]
    done = Pass("cold", "", warm=False)
    read(nodes, manifest, done, lambda _: None)
    assert any(said in fault for fault in done.faults)


@pytest.mark.parametrize(("read", "key"), [(read_objects, "objects/file 3"), (read_shards, "shards/000.tar")])
def test_what_cannot_be_read_is_told(
    fake: FakeS3, nodes: list[DemoNode], manifest: Manifest, read: Read, key: str
) -> None:
    fake.trouble(key=key, status=403, code="AccessDenied")
    done = Pass("cold", "", warm=False)
    read(nodes, manifest, done, lambda _: None)
    assert any("AccessDenied" in fault for fault in done.faults)


def test_a_missing_shard_is_missed(fake: FakeS3, nodes: list[DemoNode], manifest: Manifest) -> None:
    fake.shelf.delete(BUCKET, "shards/000.tar")
    done = Pass("cold", "", warm=False)
    read_shards(nodes, manifest, done, lambda _: None)
    assert done.faults == ["20 samples were not read"]
