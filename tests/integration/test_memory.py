"""Memory under load: 200 clients that hardly read, 200 cold ranges at once, and what the processes of a node take.

The bound is on resident memory (all processes of a node together), over what the node took when it was idle. Files
that are mapped (the index, the meters) count as well.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

from tests.cluster import Cluster, Node
from tests.doubles.bodies import body_of
from tests.faults.upstream import Item, UpstreamProcess

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]
KIB, MIB = 1 << 10, 1 << 20
CHUNK = 8 * MIB
BIG = Item("big", 1024 * MIB)
COLD = Item("cold", 200 * CHUNK)
CLIENTS = 200
ALLOWED = 128 * MIB
READAHEAD = 4
SIP = 16 * KIB


def resident(pid: int) -> int:
    """VmRSS in bytes; 0 once the process is gone."""
    with suppress(OSError):
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * KIB if found else 0
    return 0


class Watch:
    """Between ``with``: samples the resident memory of every process of a node, twenty times a second."""

    def __init__(self, nodes: list[Node]) -> None:
        self._pids = {node.name: [node.process.pid, *node.worker_pids()] for node in nodes if node.process is not None}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.idle = self._sample()
        self.peak = dict(self.idle)

    def _sample(self) -> dict[str, int]:
        return {name: sum(map(resident, pids)) for name, pids in self._pids.items()}

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = {name: max(self.peak[name], now) for name, now in self._sample().items()}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def grown(self) -> dict[str, int]:
        """By how much the peak is over the idle node, by node."""
        return {name: peak - self.idle[name] for name, peak in self.peak.items()}


async def ask(
    node: Node, key: str, start: int, stop: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The connection, its answer's head read and right. Its receive buffer is small, and so is the reader's."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", node.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=SIP)
    until = "" if stop is None else str(stop - 1)
    writer.write(f"GET /data/{key} HTTP/1.1\r\nhost: 127.0.0.1\r\nrange: bytes={start}-{until}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 "), head
    return reader, writer


class SlowReaders:
    """Clients that each hold the rest of one object, from a place of their own on, and sip at it twice a second."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self.sipped = asyncio.Event()
        self._sips = 0

    async def hold(self, node: Node, number: int) -> None:
        """One client, until all leave."""
        position = number * (BIG.size // CLIENTS)
        reader, writer = await ask(node, BIG.key, position)
        try:
            while not self.leave.is_set():
                assert await reader.readexactly(SIP) == body_of(BIG.key, BIG.version, position, position + SIP)
                position += SIP
                self._sips += 1
                if self._sips >= 4 * CLIENTS:
                    self.sipped.set()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.leave.wait(), 0.5)
        finally:
            writer.transport.abort()


async def cold_range(node: Node, number: int) -> None:
    """64 KiB out of the middle of a chunk that nobody has asked for."""
    start = number * CHUNK + 3 * MIB + number
    reader, writer = await ask(node, COLD.key, start, start + 64 * KIB)
    assert await reader.readexactly(64 * KIB) == body_of(COLD.key, COLD.version, start, start + 64 * KIB)
    writer.close()
    await writer.wait_closed()


async def load(nodes: list[Node]) -> None:
    """Slow readers on all nodes and, while they hold on, cold ranges on all nodes at once."""
    slow = SlowReaders()
    async with asyncio.TaskGroup() as readers:
        for number in range(CLIENTS):
            readers.create_task(slow.hold(nodes[number % len(nodes)], number))
        await slow.sipped.wait()
        async with asyncio.TaskGroup() as ranges:
            for number in range(CLIENTS):
                ranges.create_task(cold_range(nodes[number % len(nodes)], number))
        slow.leave.set()


@contextmanager
def upstream() -> Iterator[UpstreamProcess]:
    """The two objects, in a process of their own."""
    with UpstreamProcess() as process:
        for item in (BIG, COLD):
            process.generate("data", item)
        yield process


@pytest.mark.parametrize("nodes", [1, 3])
async def test_slow_readers_and_cold_ranges(tmp_path: Path, nodes: int) -> None:
    settings = {"server": {"auth": "none"}, "cache": {"chunk_size": CHUNK}}
    with (
        upstream() as bucket,
        Cluster(tmp_path, bucket.endpoint, nodes=nodes, settings=settings) as cluster,
        Watch(cluster.nodes) as watch,
    ):
        await load(cluster.nodes)
        assert max(watch.grown.values()) <= ALLOWED, {name: grown // MIB for name, grown in watch.grown.items()}
        assert cluster.counters()["chunk_misses"] >= COLD.size // CHUNK + BIG.size // CHUNK - READAHEAD
