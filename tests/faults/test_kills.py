"""Processes are killed at any instant, under load: no wrong byte, no error that the SDK's retry does not absorb.

``FOREBAY_FAULT_ROUNDS`` says how many kills of each kind (5). What is killed: a worker (its node starts it again), a
whole node (the test starts it again, as systemd would), and whoever is in the middle of filling a chunk.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster, Node
from tests.doubles.bodies import body_of
from tests.faults.load import BUCKET, ROUNDS, Load, read_whole, tell
from tests.faults.upstream import Item, UpstreamProcess

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]
MIB = 1 << 20
ITEMS = [
    *(Item(f"small{number}", 64 * 1024 + number) for number in range(12)),
    *(Item(f"middle{number}", 3 * MIB + 12345 + number) for number in range(6)),
    Item("large", 24 * MIB),
]


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    with UpstreamProcess() as process:
        for item in ITEMS:
            process.generate(BUCKET, item)
        yield process


@pytest.fixture(scope="module")
def cluster(upstream: UpstreamProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("kills")
    with Cluster(directory, upstream.endpoint, nodes=3, settings={"cache": {"chunk_size": "1MiB"}}) as cluster:
        yield cluster


def read_all(cluster: Cluster, turn: int) -> None:
    """Every item once, each through another node; ``turn`` shifts which."""
    for number in range(len(cluster.nodes)):
        client = cluster.boto3((number + turn) % len(cluster.nodes))
        for item in ITEMS[number :: len(cluster.nodes)]:
            assert read_whole(client, item.key) == body_of(item.key, item.version, 0, item.size)
        client.close()


def test_workers_are_killed(cluster: Cluster) -> None:
    with Load(cluster, ITEMS) as load:
        for number in range(ROUNDS):
            load.progress()
            node = cluster.nodes[number % 3]
            pids = node.worker_pids()
            if pids:
                os.kill(pids[number % len(pids)], signal.SIGKILL)
        for node in cluster.nodes:
            node.await_ready()
        load.progress()
    tell(f"{ROUNDS} workers killed: {dict(load.counts)}")
    load.judge()


def test_nodes_are_killed(cluster: Cluster, upstream: UpstreamProcess) -> None:
    with Load(cluster, ITEMS, readers=3, writers=1, seed=2) as load:
        for number in range(ROUNDS):
            load.progress()
            node = cluster.nodes[number % 3]
            node.kill()
            node.start()
        load.progress()
    tell(f"{ROUNDS} nodes killed: {dict(load.counts)}")
    load.judge()


def filler(nodes: list[Node]) -> tuple[Node, int]:
    """Whoever is in the middle of a fill now: the node, and the process that fills."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for node in nodes:
            for path in (node.cache / "filling").iterdir():
                if _half(path):
                    return node, int(path.name.split(".")[1])
        time.sleep(0.001)
    raise AssertionError("nobody fills anything")


def _half(path: Path) -> bool:
    try:
        return 200_000 < path.stat().st_size < MIB - 200_000
    except FileNotFoundError:
        return False


def test_owners_are_killed_in_mid_fill(cluster: Cluster, upstream: UpstreamProcess) -> None:
    cold = [Item(f"cold{number}", 2 * MIB + number) for number in range(ROUNDS)]
    for item in cold:
        upstream.generate(BUCKET, item)
    with upstream.trouble(rate=4e6), Load(cluster, ITEMS, readers=1, writers=1, seed=3) as load:
        for number, item in enumerate(cold):
            with Load(cluster, [item], readers=3, writers=0, seed=number) as riders:
                node, pid = filler(cluster.nodes)
                if number % 2:
                    node.kill()
                    node.start()
                else:
                    os.kill(pid, signal.SIGKILL)
                riders.progress(3)
            riders.judge()
        load.progress()
    load.judge()
    tell(f"{ROUNDS} owners killed in mid-fill: {dict(load.counts)}")


def test_what_survived_is_served_without_upstream(cluster: Cluster, upstream: UpstreamProcess) -> None:
    for node in cluster.nodes:
        node.await_ready()
    read_all(cluster, 0)
    for turn, victims in enumerate(([cluster.nodes[0]], cluster.nodes), start=1):
        before = upstream.gets()
        for node in victims:
            node.kill()
        for node in victims:
            node.start(wait=False)
        for node in victims:
            node.await_ready()
        read_all(cluster, turn)
        assert upstream.gets() == before
