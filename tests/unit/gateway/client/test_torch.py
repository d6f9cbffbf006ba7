"""The data sets, without torch where it is not installed: a sequence, and an iterable that is shared out."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.client.endpoint import Gateway, Place
from gateway.client.errors import ObjectNotFound
from gateway.client.torch import ObjectDataset, ShardDataset, current_place
from tests.doubles.fake_s3 import FakeS3


@pytest.fixture
def objects(fake: FakeS3, gateway: Gateway) -> Iterator[ObjectDataset]:
    """Thirty objects under a prefix, a folder marker, and others beside it."""
    fake.shelf.put("b", "train/", b"")
    fake.shelf.put("b", "other.bin", b"")
    for number in range(30):
        fake.shelf.put("b", f"train/{number:02}.{'txt' if number % 3 else 'bin'}", b"%d" % number)
    dataset = ObjectDataset("s3://b/train/", gateway=gateway)
    yield dataset
    dataset.close()


def shard_of(number: int, samples: int = 4) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for sample in range(samples):
            for extension in ("bin", "cls"):
                info = tarfile.TarInfo(f"{number}-{sample}.{extension}")
                info.size = 500
                archive.addfile(info, io.BytesIO(info.name.encode().ljust(500)))
    return out.getvalue()


@pytest.fixture
def shards(fake: FakeS3, gateway: Gateway) -> Gateway:
    """Eight shards of four samples each."""
    for number in range(8):
        fake.shelf.put("b", f"shards/{number}.tar", shard_of(number))
    fake.shelf.put("b", "shards/index.json", b"{}")
    return gateway


def read_keys(dataset: ShardDataset) -> list[Any]:
    try:
        return [sample["__key__"] for sample in dataset]
    finally:
        dataset.close()


def test_a_prefix_is_a_sequence(fake: FakeS3, objects: ObjectDataset) -> None:
    assert len(objects) == 30
    assert objects[7] == b"7"
    assert objects[-1] == b"29"
    assert list(objects) == [b"%d" % number for number in range(30)]
    with pytest.raises(IndexError):
        objects[30]
    assert objects.__getitems__([3, 3, 0]) == [b"3", b"3", b"0"]
    assert len([seen for seen in fake.seen if "list-type" in seen.query]) == 1


def test_a_transform_sees_key_and_bytes(objects: ObjectDataset, gateway: Gateway) -> None:
    dataset = ObjectDataset("b/train", match="*.bin", transform=lambda key, body: (key, body), gateway=gateway)
    assert dataset[1] == ("train/03.bin", b"3")
    assert dataset.__getitems__([0, 1]) == [("train/00.bin", b"0"), ("train/03.bin", b"3")]
    dataset.close()


def test_what_is_not_there_is_an_error(objects: ObjectDataset, gateway: Gateway) -> None:
    with pytest.raises(ObjectNotFound):
        len(ObjectDataset("s3://nowhere/", gateway=gateway))
    assert len(ObjectDataset("s3://b/nothing", gateway=gateway)) == 0


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_a_listing_travels_to_workers(fake: FakeS3, objects: ObjectDataset, way: str) -> None:
    assert objects.__getitems__([0, 1]) == [b"0", b"1"]
    with multiprocessing.get_context(way).Pool(2) as pool:
        assert pool.map(objects.__getitem__, range(30), chunksize=10) == [b"%d" % number for number in range(30)]
    assert len([seen for seen in fake.seen if "list-type" in seen.query]) == 1


def test_samples_come_in_order(shards: Gateway) -> None:
    dataset = ShardDataset("s3://b/shards/", gateway=shards, place=Place())
    samples = list(dataset)
    assert [sample["__key__"] for sample in samples] == [
        f"{shard}-{sample}" for shard in range(8) for sample in range(4)
    ]
    assert samples[5] == {"__key__": "1-1", "bin": b"1-1.bin".ljust(500), "cls": b"1-1.cls".ljust(500)}
    dataset.close()


def test_ranks_share_the_shards(shards: Gateway) -> None:
    shares = [
        read_keys(ShardDataset("s3://b/shards/", shuffle=True, gateway=shards, place=Place(rank, 3)))
        for rank in range(3)
    ]
    assert sorted(key for share in shares for key in share) == sorted(
        f"{shard}-{sample}" for shard in range(8) for sample in range(4)
    )
    assert sorted(map(len, shares)) == [8, 12, 12]


def test_an_epoch_has_its_order(shards: Gateway) -> None:
    dataset = ShardDataset("s3://b/shards/", shuffle=True, shuffle_samples=5, seed=1, gateway=shards, place=Place())
    first, second = read_keys(dataset), read_keys(dataset)
    assert sorted(first) == sorted(second)
    assert first != second
    dataset.set_epoch(0)
    assert read_keys(dataset) == first
    copy = pickle.loads(pickle.dumps(dataset))
    assert read_keys(copy) == second
    dataset.set_epoch(1)
    assert read_keys(dataset) == second


def test_samples_may_be_transformed(shards: Gateway) -> None:
    dataset = ShardDataset("s3://b/shards/", match="*/3.tar", transform=len, gateway=shards, parts_ahead=1)
    assert list(dataset) == [3, 3, 3, 3]
    dataset.close()


def test_the_place_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert current_place() == Place(1, 2)


def test_the_rank_comes_from_the_process_group(fake: FakeS3, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("torch.distributed", reason="torch is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", gateway.endpoint)
    monkeypatch.setenv("RANK", "9")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        assert current_place() == Place(0, 1)
        assert ObjectDataset("s3://b/").reader.gateway.rank == "0"
    finally:
        distributed.destroy_process_group()
    assert ObjectDataset("s3://b/").reader.gateway.rank == "9"


def _identity(batch: list[Any]) -> list[Any]:
    return batch


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_a_torch_loader_reads_both(objects: ObjectDataset, shards: Gateway, way: str) -> None:
    data = pytest.importorskip("torch.utils.data", reason="torch is not installed")
    loader = data.DataLoader(
        objects, batch_size=4, num_workers=2, multiprocessing_context=way, collate_fn=_identity, timeout=60
    )
    assert [item for batch in loader for item in batch] == [b"%d" % number for number in range(30)]
    dataset = ShardDataset("s3://b/shards/", gateway=shards, place=Place())
    loader = data.DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=way, timeout=60)
    keys = [sample["__key__"] for sample in loader]
    assert sorted(keys) == sorted(f"{shard}-{sample}" for shard in range(8) for sample in range(4))
    dataset.close()
