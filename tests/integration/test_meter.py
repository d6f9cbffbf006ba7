"""The meter against the sockets: every byte of every client, and its GB/s per GPU beside what the client itself saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.cluster import ACCESS_KEY, ROOT, SECRET_KEY, Cluster, Node
from tests.doubles.bodies import body_of
from tests.doubles.counting_proxy import CountingProxy
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.threaded_s3 import threaded_s3

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]
MIB = 1 << 20
CACHE = {"chunk_size": MIB}
GPUS = 2  # of the client "tests"


@contextmanager
def client_of(endpoint: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> Iterator[Any]:
    """A boto3 client that closes its connections at the end."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1, "mode": "standard"}, signature_version="s3v4"),
    )
    try:
        yield client
    finally:
        client.close()


def counted(node: Node) -> dict[str, int]:
    """Head and body bytes by client: what /status says, which must be what /metrics says."""
    status, metrics = node.status(), node.page("/metrics")
    told = {row["client"]: row["head_bytes"] + sum(row["bytes"].values()) for row in status["clients"]}
    shown: dict[str, int] = {}
    pattern = r'^forebay_client(?:_head)?_bytes_total\{client="([^"]*)"[^}]*\} (\S+)$'
    for client, value in re.findall(pattern, metrics, re.MULTILINE):
        shown[client] = shown.get(client, 0) + int(float(value))
    assert shown == told
    return told


def every_kind_of_request(client: Any, mine: str) -> None:
    """Reads, ranges, heads, writes, lists, errors; warm and cold. ``mine``: a prefix that nobody else writes to."""
    for turn in range(3):
        for key, size in (("small", 5000), ("large", 5 * MIB + 17)):
            assert client.get_object(Bucket="data", Key=key)["Body"].read() == body_of(key, 1, 0, size)
            span = client.get_object(Bucket="data", Key=key, Range="bytes=100-4000")["Body"].read()
            assert span == body_of(key, 1, 100, 4001)
            client.head_object(Bucket="data", Key=key)
        client.put_object(Bucket="data", Key=f"{mine}{turn}", Body=b"x" * (turn * MIB))
        assert len(client.get_object(Bucket="data", Key=f"{mine}{turn}")["Body"].read()) == turn * MIB
        client.list_objects_v2(Bucket="data")
        client.delete_object(Bucket="data", Key=f"{mine}{turn}")
        for call, arguments in (
            (client.get_object, {"Key": "absent"}),
            (client.head_object, {"Key": "absent"}),
            (client.get_object, {"Key": "small", "Range": "bytes=90000-"}),
            (client.get_object, {"Key": "small", "IfMatch": '"other"'}),
        ):
            with pytest.raises(ClientError):
                call(Bucket="data", **arguments)


def leave_early(client: Any, port: int) -> None:
    """Ask for 64 MiB, read some, and go."""
    for wanted in (0, 1000, 3 * MIB):
        url = client.generate_presigned_url("get_object", {"Bucket": "data", "Key": "huge"})
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(f"GET {url.partition(f':{port}')[2]} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            taken = 0
            while taken < wanted:
                taken += len(sock.recv(65536))


def talk_nonsense(port: int) -> None:
    """What never becomes a request, or is refused at the door."""
    unsigned = b"GET /data/small HTTP/1.1\r\nhost: x\r\n\r\n"
    for said in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", unsigned, unsigned * 3, b""):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(said)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass


async def test_bytes_by_client_are_the_bytes_on_the_sockets(tmp_path: Path) -> None:
    async with FakeS3() as fake:
        for key, size in (("small", 5000), ("large", 5 * MIB + 17), ("huge", 64 * MIB), ("cut", 6 * MIB)):
            fake.shelf.generate("data", key, size, version=1)
        with Cluster(tmp_path, fake.endpoint, nodes=2, settings={"cache": CACHE}) as cluster:
            node = cluster.nodes[0]
            async with CountingProxy(node.port) as tests, CountingProxy(node.port) as limited, CountingProxy(
                node.port
            ) as strangers:  # fmt: skip
                await asyncio.gather(
                    asyncio.to_thread(as_a_member, tests, "one"),
                    asyncio.to_thread(as_a_member, tests, "two"),
                    asyncio.to_thread(as_a_limited_client, limited),
                    asyncio.to_thread(talk_nonsense, strangers.port),
                )
                fake.trouble(key="cut", method="GET", cut_after=MIB // 2)
                await asyncio.to_thread(read_what_breaks, tests)
                for proxy in (tests, limited, strangers):
                    await proxy.at_rest()
                seen = {"tests": tests.down, "limited": limited.down, "unidentified": strangers.down}
                assert min(seen.values()) > 1000
                assert await asyncio.to_thread(counted, node) == seen


def as_a_member(proxy: CountingProxy, mine: str) -> None:
    with client_of(proxy.endpoint) as client:
        every_kind_of_request(client, mine)
        leave_early(client, proxy.port)


def as_a_limited_client(proxy: CountingProxy) -> None:
    """It may read nothing of this, and is told so."""
    with client_of(proxy.endpoint, "LIMITEDKEY", "limited-secret-key") as client:
        for _ in range(5):
            for call, arguments in (
                (client.get_object, {"Key": "large"}),
                (client.put_object, {"Key": "large", "Body": b"x" * 300_000}),
                (client.head_object, {"Key": "large"}),
                (client.list_objects_v2, {}),
            ):
                with pytest.raises(ClientError):
                    call(Bucket="data", **arguments)


def read_what_breaks(proxy: CountingProxy) -> None:
    """Upstream cuts each answer: after some bytes, the node can only hang up."""
    with client_of(proxy.endpoint) as client:
        url = client.generate_presigned_url("get_object", {"Bucket": "data", "Key": "cut"})
    for _ in range(3):
        with contextlib.suppress(OSError, Exception), urllib.request.urlopen(url, timeout=30) as answer:
            answer.read()


class PacedReaders:
    """Threads with boto3 that read at a given rate, all together, and note when which bytes came."""

    def __init__(self, cluster: Cluster, *, bytes_per_s: float, threads: int = 3) -> None:
        self._cluster = cluster
        self._share = bytes_per_s / threads
        self._stop = threading.Event()
        self._arrived: list[list[tuple[float, int]]] = [[(time.monotonic(), 0)] for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads)
        self._readers = [self._pool.submit(self._read, arrived) for arrived in self._arrived]

    def _read(self, arrived: list[tuple[float, int]]) -> None:
        with client_of(self._cluster.nodes[0].endpoint) as client:
            began = time.monotonic()
            while not self._stop.wait(max(0.0, began + arrived[-1][1] / self._share - time.monotonic())):
                stream = client.get_object(Bucket="data", Key="large")["Body"]
                while piece := stream.read(256 * 1024):
                    arrived.append((time.monotonic(), arrived[-1][1] + len(piece)))

    def between(self, since: float, until: float) -> int:
        """Bytes that came in that time."""
        return sum(
            noted[bisect_right(noted, (until, 1 << 62)) - 1][1] - noted[bisect_right(noted, (since, 1 << 62)) - 1][1]
            for noted in map(list, self._arrived)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for reader in self._readers:
            reader.result()


def per_gpu(page: str) -> float:
    """Bytes per second per GPU of the client ``tests`` over the last 10 s."""
    pattern = r'^forebay_client_bytes_per_second_per_gpu\{client="tests"[^}]*window="10s"\} (\S+)$'
    found = re.search(pattern, page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_gb_per_s_per_gpu_are_what_the_client_measures(tmp_path: Path) -> None:
    with threaded_s3() as fake, Cluster(tmp_path, fake.endpoint, settings={"cache": CACHE}) as cluster:
        fake.shelf.generate("data", "large", 5 * MIB + 17, version=1)
        with PacedReaders(cluster, bytes_per_s=30e6) as readers:
            threading.Event().wait(12.0)  # the window that is compared is full then
            shown, measured = [], []
            for _ in range(10):
                at = time.monotonic()
                shown.append(per_gpu(cluster.nodes[0].page("/metrics")))
                measured.append(readers.between(at - 10.0, at) / 10.0 / GPUS)
                threading.Event().wait(0.1)
    assert shown == pytest.approx(measured, rel=0.05)
    assert min(measured) > 10e6


def read_bytes(page: str) -> int:
    """Body bytes of cacheable reads that the client ``tests`` got."""
    pattern = r'^forebay_client_bytes_total\{client="tests"[^}]*source="(?:hit_local|hit_peer|miss)"\} (\S+)$'
    return sum(int(float(value)) for value in re.findall(pattern, page, re.MULTILINE))


def test_gb_per_s_per_gpu_are_what_the_harness_measures(tmp_path: Path) -> None:
    asked = f"--bucket data --obj.size 1MiB --objects 8 --concurrent 2 --duration 12500ms --gpus {GPUS} --json".split()
    keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
    with threaded_s3() as fake, Cluster(tmp_path, fake.endpoint, settings={"cache": CACHE}) as cluster:
        node, seen = cluster.nodes[0], []
        command = [
            sys.executable,
            "-m",
            "gateway.cli",
            "bench",
            "--host",
            node.endpoint,
            *keys,
            *asked,
            str(tmp_path / "run.json"),
        ]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as harness:
            while harness.poll() is None:
                at, page = time.monotonic(), node.page("/metrics")
                seen.append((at, read_bytes(page), per_gpu(page)))
                threading.Event().wait(0.05)
        assert harness.returncode == 0
    rates = json.loads((tmp_path / "run.json").read_bytes())["rates"]
    began = next(at for at, count, _ in seen if count > 0)
    at, _, shown = min(seen, key=lambda sample: abs(sample[0] - began - 11.5))
    last, interval_s = at - began, rates["interval_s"]
    window = rates["interval_gb_per_s"][round((last - 10.0) / interval_s) : round(last / interval_s)]
    assert shown == pytest.approx(1e9 * sum(window) / len(window) / GPUS, rel=0.05)
