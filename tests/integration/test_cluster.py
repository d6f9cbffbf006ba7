"""Three nodes, one cache: the whole path with real processes over a fake upstream that counts."""

import asyncio
import hashlib
import socket

from tests.cluster import Cluster
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3

MIB = 1 << 20


async def test_write_through_one_node_read_through_the_others(tmp_path):
    async with FakeS3() as fake:
        fake.shelf.buckets["data"] = {}
        with Cluster(tmp_path, fake.endpoint, nodes=3) as cluster:
            clients = [cluster.boto3(number) for number in range(3)]
            for turn in range(5):
                body = hashlib.sha256(str(turn).encode()).digest() * 50_000
                await asyncio.to_thread(clients[turn % 3].put_object, Bucket="data", Key="k", Body=body)
                for client in clients:
                    assert await asyncio.to_thread(read, client) == body


def read(client) -> bytes:
    return client.get_object(Bucket="data", Key="k")["Body"].read()


async def test_chunks_of_other_nodes_reach_slow_readers_whole_and_survive_those_who_leave(tmp_path):
    size = 9 * MIB + 5
    async with FakeS3() as fake:
        for name in ("o0", "o1", "o2"):
            fake.shelf.generate("data", name, size, version=1)
        with Cluster(tmp_path, fake.endpoint, nodes=2, settings={"server": {"auth": "none"}}) as cluster:
            for name in ("o0", "o1", "o2"):
                for node in cluster.nodes:
                    assert await slowly(node.endpoint, name, 3 * MIB) == body_of(name, 1, 0, 3 * MIB)  # and leaves
                    assert await slowly(node.endpoint, name, size) == body_of(name, 1, 0, size)
            crossed = [await asyncio.to_thread(node.status) for node in cluster.nodes]
            assert any(status["peers"]["bytes"]["in"] >= MIB for status in crossed)


async def slowly(endpoint: str, name: str, count: int) -> bytes:
    """The first bytes of an object, by a client that takes few at a time and hangs up when it has them."""
    host, port = endpoint.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.setblocking(False)
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, f"GET /data/{name} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            got += await loop.sock_recv(client, 4096)
        assert got.startswith(b"HTTP/1.1 200 ")
        body = bytearray(got.partition(b"\r\n\r\n")[2])
        while len(body) < count:
            body += await loop.sock_recv(client, 50_000)
    return bytes(body[:count])
