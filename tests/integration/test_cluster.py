"""Three nodes, one cache: the whole path with real processes over a fake upstream that counts."""

import asyncio
import hashlib

from tests.cluster import Cluster
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
