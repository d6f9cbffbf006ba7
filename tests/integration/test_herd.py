"""Six clients over three nodes of two workers read what nobody has yet, at once: one upstream GET for each chunk."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster import Cluster, Node
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]
KIB, MIB = 1 << 10, 1 << 20
CLIENTS = 6


def shelve(fake: FakeS3, sizes: dict[str, int]) -> None:
    for key, size in sizes.items():
        fake.shelf.generate("data", key, size, version=1)


def spans(sizes: dict[str, int], chunk: int) -> Counter[tuple[str, tuple[int, int]]]:
    """Every chunk of the data set, once."""
    return Counter(
        (key, (start, min(start + chunk, size))) for key, size in sizes.items() for start in range(0, size, chunk)
    )


def asked(fake: FakeS3, sizes: dict[str, int]) -> Counter[tuple[str, tuple[int, int]]]:
    """What upstream was asked for by GET."""
    return Counter((call.key, call.span or (0, sizes[call.key])) for call in fake.calls if call.method == "GET")


async def read_all(node: Node, sizes: dict[str, int], *, at_once: int = 4, heads: bool = False) -> None:
    """One client: reads all objects whole over a few connections, and checks every byte.

    ``heads``: it asks for each object's size first, as file systems over S3 do.
    """
    turns = iter(sizes.items())

    async def connection(session: aiohttp.ClientSession) -> None:
        for key, size in turns:
            if heads:
                async with session.head(f"{node.endpoint}/data/{key}") as answer:
                    assert (answer.status, answer.content_length) == (200, size)
            async with session.get(f"{node.endpoint}/data/{key}") as answer:
                assert answer.status == 200
                position = 0
                async for piece in answer.content.iter_any():
                    assert piece == body_of(key, 1, position, position + len(piece))
                    position += len(piece)
                assert position == size

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(connection(session))


async def herd(cluster: Cluster, sizes: dict[str, int], *, heads: bool = False) -> None:
    """All clients at once, two on each node; with ``heads``, those of all nodes but the first ask for sizes too."""
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            place = number % len(cluster.nodes)
            group.create_task(read_all(cluster.nodes[place], sizes, heads=heads and place > 0))


SETTINGS: dict[str, dict[str, Any]] = {"server": {"auth": "none"}, "cache": {"chunk_size": MIB}}


@pytest.mark.parametrize("heads", [False, True], ids=["gets", "heads-and-gets"])
async def test_one_get_for_each_chunk(tmp_path: Path, heads: bool) -> None:
    sizes = {f"o{number:02}": MIB + number * 288_358 for number in range(40)}  # 1 to 12 MiB
    async with FakeS3(delay_s=0.03, rate=20e6) as fake:
        shelve(fake, sizes)
        with Cluster(tmp_path, fake.endpoint, nodes=3, settings=SETTINGS) as cluster:
            await herd(cluster, sizes, heads=heads)
            assert asked(fake, sizes) == spans(sizes, MIB)
            counters = await asyncio.to_thread(cluster.counters)
            assert counters["fills_sealed"] == spans(sizes, MIB).total()
            assert (counters["fills_failed"], counters["peer_errors"], counters["direct_reads"]) == (0, 0, 0)
            fake.forget()
            await herd(cluster, sizes)
            assert fake.counts["GET"] == 0


async def test_the_first_byte_comes_before_the_chunk_is_complete(tmp_path: Path) -> None:
    size = 8 * MIB
    async with FakeS3() as fake:
        shelve(fake, {"big": size})
        with Cluster(tmp_path, fake.endpoint, nodes=3, settings=SETTINGS) as cluster:
            async with asyncio.TaskGroup() as group:
                async with fake.halted("big", 600 * KIB):
                    begun = [group.create_task(begin(node)) for node in cluster.nodes * 2]
                    answers = [await one for one in begun]
                    assert (await asyncio.to_thread(cluster.counters))["fills_sealed"] == 0
                rest = [group.create_task(reader.readexactly(size - 64 * KIB)) for reader, _ in answers]
            assert {one.result() == body_of("big", 1, 64 * KIB, size) for one in rest} == {True}
            for _, writer in answers:
                writer.close()
                await writer.wait_closed()
            assert asked(fake, {"big": size}) == spans({"big": size}, MIB)


async def begin(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that has its first 64 KiB."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port, limit=MIB)
    writer.write(b"GET /data/big HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(64 * KIB) == body_of("big", 1, 0, 64 * KIB)
    return reader, writer


async def test_every_node_fills_its_share(tmp_path: Path) -> None:
    sizes = {f"s{number:04}": 1000 + number for number in range(3000)}
    async with FakeS3() as fake:
        shelve(fake, sizes)
        with Cluster(tmp_path, fake.endpoint, nodes=3, settings=SETTINGS) as cluster:
            parts = [dict(list(sizes.items())[number::3]) for number in range(3)]
            async with asyncio.TaskGroup() as group:
                for node, part in zip(cluster.nodes, parts, strict=True):
                    group.create_task(read_all(node, part))
            assert asked(fake, sizes) == spans(sizes, MIB)
            filled = [(await asyncio.to_thread(node.status))["counters"]["fills_sealed"] for node in cluster.nodes]
    assert sum(filled) == 3000
    assert filled == pytest.approx([1000] * 3, rel=0.1)
