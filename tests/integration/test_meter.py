"""The meter against the sockets: every byte of every client, and its GB/s per GPU beside what the client itself saw."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.cluster import ACCESS_KEY, SECRET_KEY, Cluster, Node
from tests.doubles.bodies import body_of
from tests.doubles.counting_proxy import CountingProxy
from tests.doubles.fake_s3 import FakeS3

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]
MIB = 1 << 20
CACHE = {"chunk_size": MIB}


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
