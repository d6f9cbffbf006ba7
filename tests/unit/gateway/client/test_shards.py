"""Shards are ordered and shared out so that every one is read once, and tar members become samples."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterable
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.shards import (
    ShardDamaged,
    order_shards,
    read_members,
    read_samples,
    share_of,
    shuffled,
    split_name,
)
from gateway.client.stream import ObjectStream


def stream_of(body: bytes, part_bytes: int = 700) -> ObjectStream:
    """A stream over bytes in memory; part sizes are odd on purpose."""

    def fetch(start: int) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_result(body[start : start + part_bytes])
        return future

    return ObjectStream(body[:part_bytes], len(body), fetch)


def tar_of(members: Iterable[tuple[str, bytes]], layout: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive, with a directory and a link among the members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as archive:
        folder = tarfile.TarInfo("folder.d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.x")
        link.type, link.linkname = tarfile.SYMTYPE, "elsewhere"
        archive.addfile(link)
    return out.getvalue()


@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@given(st.lists(st.binary(max_size=3000), max_size=8), st.integers(512, 5000))
def test_members_come_back_whatever_the_parts(layout: int, bodies: list[bytes], part_bytes: int) -> None:
    members = [(f"{'d' * 90}/{number:04}.bin", body) for number, body in enumerate(bodies)]
    assert list(read_members(stream_of(tar_of(members, layout), part_bytes))) == members


def test_long_and_odd_names_survive() -> None:
    members = [("x" * 300 + ".bin", b"1"), ("ü/\u4e2d.txt", b"2")]
    assert list(read_members(stream_of(tar_of(members)))) == members


def test_neighbours_with_one_key_make_a_sample() -> None:
    members = [("a/1.jpg", b"J1"), ("a/1.seg.png", b"P1"), ("a/2.JPG", b"J2"), ("a/.hidden", b""), ("README", b"")]
    assert list(read_samples(stream_of(tar_of(members)))) == [
        {"__key__": "a/1", "jpg": b"J1", "seg.png": b"P1"},
        {"__key__": "a/2", "jpg": b"J2"},
    ]
    assert not list(read_samples(stream_of(tar_of([]))))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("a/b.c.d", ("a/b", "c.d")),
        ("b.", None),
        (".b", None),
        ("b", None),
        ("a.b/c", None),
        ("a.b/c.D", ("a.b/c", "d")),
    ],
)
def test_names_are_split_at_the_first_dot(name: str, split: tuple[str, str] | None) -> None:
    assert split_name(name) == split


def test_damage_is_told() -> None:
    whole = tar_of([("a.x", bytes(5000)), ("b.x", bytes(5000))])
    for damaged in (b"no tar at all" * 100, whole[:4000], b"", whole[:7000]):
        with pytest.raises(ShardDamaged, match="bucket/shard"):
            list(read_members(stream_of(damaged), "bucket/shard"))
    with pytest.raises(ShardDamaged, match="twice"):
        list(read_samples(stream_of(tar_of([("a.x", b""), ("a.x", b"")]))))


@given(st.lists(st.text(), unique=True), st.integers(), st.integers(0, 5), st.integers(1, 5))
def test_all_processes_together_read_every_shard_once(shards: list[str], seed: int, epoch: int, count: int) -> None:
    orders = [order_shards(shards, seed=seed, epoch=epoch) for _ in range(count)]
    shares = [share_of(order, index, count) for index, order in enumerate(orders)]
    assert sorted(shard for share in shares for shard in share) == sorted(shards)


def test_epochs_and_seeds_differ_and_no_seed_keeps_the_order() -> None:
    shards = [f"{number}.tar" for number in range(20)]
    orders = {tuple(order_shards(shards, seed=seed, epoch=epoch)) for seed in (1, 2) for epoch in (0, 1)}
    assert len(orders) == 4
    assert order_shards(shards, seed=None, epoch=1) == shards


@given(st.lists(st.integers()), st.integers(0, 10))
def test_a_shuffle_loses_nothing_and_waits_for_no_more_than_told(items: list[int], buffered: int) -> None:
    draw = random.Random(1).randrange
    assert sorted(shuffled(items, buffered, draw)) == sorted(items)
    assert list(shuffled(items, 0, draw)) == items
    taken = 0

    def counted() -> Iterable[int]:
        nonlocal taken
        for item in items:
            taken += 1
            yield item

    for given_out, _ in enumerate(shuffled(counted(), buffered, draw)):
        assert taken <= given_out + 1 + buffered
