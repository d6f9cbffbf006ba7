"""SIGTERM: what is in flight is finished, nothing new is let in, the exit code is 0."""

from __future__ import annotations

import asyncio
import signal
import socket

import pytest

from tests.cluster import Cluster
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.faults.load import BUCKET, get

pytestmark = pytest.mark.timeout(120)
SIZE = 24 << 20


@pytest.mark.parametrize("warm", [False, True])
async def test_a_large_get_in_flight_ends_well(tmp_path, warm):
    async with FakeS3() as fake:
        fake.shelf.generate(BUCKET, "large", SIZE, 1)
        settings = {"server": {"drain_s": 20.0}, "cache": {"chunk_size": "1MiB"}}
        with Cluster(tmp_path, fake.endpoint, settings=settings) as cluster:
            node, client = cluster.nodes[0], cluster.boto3(0)
            if warm:
                await asyncio.to_thread(get, client, "large")
            body = (await asyncio.to_thread(client.get_object, Bucket=BUCKET, Key="large"))["Body"]
            first = await asyncio.to_thread(body.read, 1000)
            node.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(until_refused, node.port)
            assert node.process.poll() is None, "it did not wait for the answer in flight"
            rest = await asyncio.to_thread(body.read)
            assert first + rest == body_of("large", 1, 0, SIZE)
            assert await asyncio.to_thread(node.process.wait, 20) == 0


def until_refused(port: int) -> None:
    """Return once nobody listens any more."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it waited to be accepted when the port was closed
