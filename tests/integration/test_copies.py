"""Three nodes: what one of them reads over and over stops crossing; and the single request of a miss, across nodes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster import Cluster, Node
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]
MIB = 1 << 20
OBJECTS = 16
LEASE_S = 2.0  # of tests.cluster
SETTINGS: dict[str, dict[str, Any]] = {"server": {"auth": "none"}, "cache": {"chunk_size": MIB, "quota": 64 * MIB}}
IMMUTABLE = '\n[[freshness]]\nmode = "immutable"\n'


async def read_all(node: Node, count: int, size: int) -> None:
    async with aiohttp.ClientSession() as session:
        for number in range(count):
            async with session.get(f"{node.endpoint}/data/o{number}") as answer:
                assert await answer.read() == body_of(f"o{number}", 1, 0, size)


async def counted(node: Node) -> dict[str, int]:
    status = await asyncio.to_thread(node.status)
    counters: dict[str, int] = status["counters"]
    return counters


async def trusted(cluster: Cluster, fake: FakeS3) -> None:
    """Return when every node holds its leases: then an unknown key costs a GET and no HEAD.

    Nodes that met while they started distrust once more a lease later, so nothing must be asked for longer than that.
    """
    fake.shelf.generate("data", "probe", 10)
    quiet_since = time.monotonic()
    async with aiohttp.ClientSession() as session:
        while time.monotonic() - quiet_since < 1.5 * LEASE_S:
            fake.forget()
            for node in cluster.nodes * 4:
                async with session.get(f"{node.endpoint}/data/probe") as answer:
                    await answer.read()
            if fake.counts["HEAD"] or fake.counts["GET"]:
                quiet_since = time.monotonic()


async def test_a_hot_set_stops_crossing_between_nodes(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        for number in range(OBJECTS):
            fake.shelf.generate("data", f"o{number}", MIB, version=1)
        with Cluster(tmp_path, fake.endpoint, nodes=3, workers=2, settings=SETTINGS, more=IMMUTABLE) as cluster:
            await trusted(cluster, fake)
            fake.forget()
            for _ in range(3):
                await read_all(cluster.nodes[0], OBJECTS, MIB)
            before = await counted(cluster.nodes[0])
            for _ in range(2):
                await read_all(cluster.nodes[0], OBJECTS, MIB)
            after = await counted(cluster.nodes[0])
            remote = after["peer_copies"]
            assert 0 < remote <= OBJECTS
            assert after["peer_bytes_in"] - before["peer_bytes_in"] <= 2 * OBJECTS * MIB // 10
            assert fake.counts["GET"] == OBJECTS
            assert fake.counts["HEAD"] == 0


async def test_whoever_asks_first_a_small_object_costs_one_request(tmp_path: Path) -> None:
    count, size = 60, 5000
    async with FakeS3(delay_s=0.02) as fake:
        for number in range(count):
            fake.shelf.generate("data", f"o{number}", size, version=1)
        with Cluster(tmp_path, fake.endpoint, nodes=3, workers=2, settings=SETTINGS, more=IMMUTABLE) as cluster:
            await trusted(cluster, fake)
            fake.forget()
            async with asyncio.TaskGroup() as group:
                for node in cluster.nodes * 2:
                    group.create_task(read_all(node, count, size))
            assert (fake.counts["GET"], fake.counts["HEAD"]) == (count, 0)
