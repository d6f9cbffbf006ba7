"""A node hangs (SIGSTOP): the others go on, writes wait for its lease and no longer, it never serves what is old."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster import Cluster, Node
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.faults.load import BUCKET, RETRIES, Load, read_whole, tell
from tests.faults.upstream import Item, UpstreamProcess

pytestmark = pytest.mark.timeout(200)
MIB = 1 << 20
ITEMS = [
    *(Item(f"small{number}", 64 * 1024 + number) for number in range(8)),
    *(Item(f"large{number}", 3 * MIB + number) for number in range(6)),
]
SETTINGS = {"cache": {"chunk_size": "1MiB"}}
LONG = '[[freshness]]\nbucket = "*"\nmode = "ttl"\nttl_s = 3600.0\n'
LEASE_S = 2.0


@contextmanager
def stopped(node: Node, *, whole: bool = True) -> Iterator[None]:
    """The node's workers (and with ``whole`` its node process) do nothing while the block lasts."""
    assert node.process is not None
    pids = [*node.worker_pids(), *([node.process.pid] if whole else [])]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_node_hangs_while_others_read(tmp_path):
    with UpstreamProcess() as upstream:
        for item in ITEMS:
            upstream.generate(BUCKET, item)
        with Cluster(tmp_path, upstream.endpoint, nodes=3, settings=SETTINGS) as cluster:
            alive = Cluster.__new__(Cluster)
            alive.nodes = cluster.nodes[:2]
            with Load(alive, ITEMS, readers=4, writers=0) as load:
                load.progress(60)
                with stopped(cluster.nodes[2]):
                    began = time.monotonic()
                    load.progress(60)
                    took = time.monotonic() - began
                load.progress(20)
            tell(f"60 reads beside a hung node took {took:.1f} s: {dict(load.counts)}")
            load.judge()
            with Load(alive, ITEMS, readers=3, writers=1, seed=2) as load, stopped(cluster.nodes[2]):
                load.progress(30)
            load.judge()


@pytest.mark.heavy  # how long writes take is judged
async def test_a_write_waits_for_the_lease_of_a_hung_node_and_it_never_serves_what_is_old(tmp_path):
    async with FakeS3() as fake:
        fake.shelf.buckets[BUCKET] = {}
        with Cluster(tmp_path, fake.endpoint, nodes=3, settings=SETTINGS, more=LONG) as cluster:
            clients = [cluster.boto3(number, read_timeout=30, retries=RETRIES) for number in range(3)]
            took = await asyncio.to_thread(write_around, cluster, clients)
    tell(f"writes beside a hung node took {', '.join(f'{seconds:.2f}' for seconds in took)} s")
    assert max(took) < 6 * LEASE_S
    assert took[1] < LEASE_S, "the second write waited for a lease that was over"


def write_around(cluster: Cluster, clients: list) -> list[float]:
    """Write while node 2 hangs; how long the writes took."""
    took = []
    for turn in range(3):
        for key in ("first", "second"):
            clients[0].put_object(Bucket=BUCKET, Key=key, Body=body_of(key, 2 * turn + 1, 0, 1000))
            for client in clients:
                assert read_whole(client, key) == body_of(key, 2 * turn + 1, 0, 1000)
        seen: list[bytes] = []
        asking = threading.Thread(target=lambda seen=seen: seen.append(read_whole(clients[2], "first")))
        with stopped(cluster.nodes[2], whole=turn % 2 == 0):
            for key in ("first", "second"):
                began = time.monotonic()
                clients[turn % 2].put_object(Bucket=BUCKET, Key=key, Body=body_of(key, 2 * turn + 2, 0, 1000))
                took.append(time.monotonic() - began)
            asking.start()
            await_connection(cluster.nodes[2].port)
        asking.join()
        assert seen == [body_of("first", 2 * turn + 2, 0, 1000)]
        for key in ("first", "second"):
            for client in clients:
                assert read_whole(client, key) == body_of(key, 2 * turn + 2, 0, 1000)
    return took


def await_connection(port: int) -> None:
    """Return once the kernel takes connections for the node, so that a client's request lies there."""
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
