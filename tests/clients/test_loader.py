"""The data loader through a real node, signed and authorised, with rclone as the bucket."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

from bench.demo_cluster import BUCKET, Bucket, DemoNode, Load, plan_nodes, read_status, serve_bucket, serve_nodes
from bench.demo_passes import s3_client, upload
from bench.demo_sample import Manifest, digest_of, find_files
from gateway.client.endpoint import Gateway, Place
from gateway.client.errors import AccessDenied, ObjectNotFound, RangeOutside
from gateway.client.reader import Reader
from gateway.client.torch import ObjectDataset, ShardDataset

pytestmark = pytest.mark.timeout(120)

ODD_NAMES = ["a b+c.bin", "ü/é%20.bin", "q?x=1&y#z.bin"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """The embedded bucket server."""
    with serve_bucket(tmp_path_factory.mktemp("bucket")) as served:
        yield served


@pytest.fixture(scope="module")
def manifest(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Uploaded: small files, one of several chunks, an empty one, odd names."""
    data = tmp_path_factory.mktemp("data")
    for name in [*ODD_NAMES, *(f"small/{number:02}.bin" for number in range(20))]:
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_bytes(os.urandom(5000))
    (data / "large.bin").write_bytes(os.urandom(20_000_000))
    (data / "empty.bin").write_bytes(b"")
    return upload(bucket, find_files(data), lambda _: None)


@pytest.fixture(scope="module")
def node(bucket: Bucket, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoNode]:
    """One node with two workers over that bucket."""
    nodes = plan_nodes(1, 2)
    with serve_nodes(nodes, bucket, Load(1, 7e9), tmp_path_factory.mktemp("node")):
        yield nodes[0]


@pytest.fixture
def gateway(node: DemoNode) -> Gateway:
    """How the loader reaches it."""
    return Gateway(node.endpoint, node.keys.access_key, node.keys.secret_key, connections=4, job="j", rank="7")


def test_every_object_is_right(gateway: Gateway, manifest: Manifest) -> None:
    keys = sorted(manifest.objects)
    with Reader(gateway) as reader:
        for key, body in zip(keys, reader.read_many(BUCKET, keys), strict=True):
            assert (len(body), digest_of(body)) == manifest.objects[key], key
            info = reader.head(BUCKET, key)
            assert info.size == len(body)
            buffer = bytearray(len(body))
            assert reader.read_into(BUCKET, key, buffer) == len(body)
            assert buffer == body
        listed = [info.key for page in reader.pages(BUCKET, "objects/", keys_max=7) for info in page.objects]
        assert sorted(listed) == keys


def test_ranges_are_slices(gateway: Gateway) -> None:
    with Reader(gateway, part_bytes=1 << 20) as reader:
        whole = reader.read(BUCKET, "objects/large.bin")
        for start, stop in ((0, 1), (8_388_607, 8_388_609), (1, 19_999_999), (19_999_999, 30_000_000)):
            assert reader.read(BUCKET, "objects/large.bin", start, stop) == whole[start:stop]
        with pytest.raises(RangeOutside):
            reader.read(BUCKET, "objects/large.bin", 20_000_000)
        with reader.open(BUCKET, "objects/large.bin") as stream:
            assert hashlib.sha256(stream.read()).digest() == hashlib.sha256(whole).digest()


def test_errors_carry_their_codes(gateway: Gateway, node: DemoNode) -> None:
    with Reader(gateway) as reader, pytest.raises(ObjectNotFound) as caught:
        reader.read(BUCKET, "none")
    assert caught.value.code == "NoSuchKey"
    strangers = (Gateway(node.endpoint, "STRANGER", "x" * 40), Gateway(node.endpoint, node.keys.access_key, "x" * 40))
    for stranger, code in zip(strangers, ("InvalidAccessKeyId", "SignatureDoesNotMatch"), strict=True):
        with Reader(stranger) as reader, pytest.raises(AccessDenied) as denied:
            reader.read(BUCKET, "objects/large.bin")
        assert denied.value.code == code


def test_the_data_sets_read_what_was_uploaded(gateway: Gateway, manifest: Manifest) -> None:
    dataset = ObjectDataset(f"s3://{BUCKET}/objects/small/", gateway=gateway)
    assert len(dataset) == 20
    small = {key: digest for key, (_, digest) in manifest.objects.items() if key.startswith("objects/small/")}
    assert [digest_of(body) for body in dataset.__getitems__(range(20))] == [small[key] for key in sorted(small)]
    dataset.close()
    samples: list[Any] = []
    for rank in range(2):
        shards = ShardDataset(f"s3://{BUCKET}/shards/", gateway=gateway, place=Place(rank, 2))
        samples += shards
        shards.close()
    assert {sample["__key__"]: digest_of(sample["bin"]) for sample in samples} == manifest.samples


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_worker_processes_read_side_by_side(gateway: Gateway, manifest: Manifest, way: str) -> None:
    dataset = ObjectDataset(f"s3://{BUCKET}/objects/", gateway=gateway)
    keys = list(dataset.keys)
    assert digest_of(dataset[0]) == manifest.objects[keys[0]][1]
    with multiprocessing.get_context(way).Pool(2) as pool:
        bodies = pool.map(dataset.__getitem__, range(len(dataset)))
    assert {key: (len(body), digest_of(body)) for key, body in zip(keys, bodies, strict=True)} == manifest.objects
    dataset.close()


def test_the_file_system_reads_and_lists(node: DemoNode, manifest: Manifest) -> None:
    options = {"endpoint_url": node.endpoint, "key": node.keys.access_key, "secret": node.keys.secret_key}
    files = fsspec.filesystem("forebay", skip_instance_cache=True, **options)
    assert sorted(files.find(f"{BUCKET}/objects")) == sorted(f"{BUCKET}/{key}" for key in manifest.objects)
    assert len(files.glob(f"{BUCKET}/objects/small/0*.bin")) == 10
    for key, (size, digest) in manifest.objects.items():
        with files.open(f"{BUCKET}/{key}", block_size=3_000_000) as file:
            assert digest_of(file.read()) == digest
        assert files.size(f"{BUCKET}/{key}") == size
    with pytest.raises(OSError, match="read-only"):
        files.pipe_file(f"{BUCKET}/new", b"")
    files.reader.close()


def test_an_object_replaced_through_the_node_is_read_anew(gateway: Gateway, node: DemoNode) -> None:
    client = s3_client(node.endpoint, node.keys)
    with Reader(gateway) as reader:
        for body in (b"1" * 100, b"22", b"3" * 10_000_000):
            client.put_object(Bucket=BUCKET, Key="changing", Body=body)
            assert reader.read(BUCKET, "changing") == body
    client.close()


def test_the_meter_knows_the_loader_by_its_tags(gateway: Gateway, node: DemoNode) -> None:
    with Reader(gateway) as reader:
        reader.read(BUCKET, "objects/large.bin")
    rows = {(row["client"], row["job"], row["rank"]): row["bytes"] for row in read_status(node)["clients"]}
    assert rows["rank-0", "j", "7"]["local"] >= 20_000_000
