"""An upstream that speaks TLS, through ``forebay serve``: whom this machine trusts is believed, others are not.

A node's imports leave aiohttp's own contexts without certificates; here the node's one is seen at work, in workers
that are forked and in one that is run anew.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cluster import Cluster, Node
from tests.doubles.authority import Authority
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3


def read(client: Any, key: str) -> bytes:
    body: bytes = client.get_object(Bucket="data", Key=key)["Body"].read()
    return body


def run_anew(node: Node) -> None:
    """Kill the one worker; return when another has its place."""
    (victim,) = node.worker_pids()
    os.kill(victim, signal.SIGKILL)
    while node.worker_pids() in ([], [victim]):
        pass
    node.await_ready()


async def test_an_upstream_that_this_machine_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    async with FakeS3(tls=authority.server()) as fake:
        assert fake.endpoint.startswith("https://")
        fake.shelf.generate("data", "key", 100_000, 1)
        fake.shelf.generate("data", "late", 100_000, 1)
        with Cluster(tmp_path, fake.endpoint, workers=1) as cluster:
            client = cluster.boto3()
            assert await asyncio.to_thread(read, client, "key") == body_of("key", 1, 0, 100_000)
            await asyncio.to_thread(client.put_object, Bucket="data", Key="written", Body=b"forwarded")
            await asyncio.to_thread(run_anew, cluster.nodes[0])
            assert await asyncio.to_thread(read, cluster.boto3(), "late") == body_of("late", 1, 0, 100_000)
        assert {call.method for call in fake.calls_of("PUT", "written")} == {"PUT"}


async def test_an_upstream_that_nobody_vouches_for(tmp_path: Path) -> None:
    async with FakeS3(tls=Authority(tmp_path).server()) as fake:
        fake.shelf.generate("data", "key", 100_000, 1)
        with Cluster(tmp_path, fake.endpoint, workers=1) as cluster:
            with pytest.raises(ClientError) as raised:
                await asyncio.to_thread(read, cluster.boto3(), "key")
            assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503  # clients try again
            with pytest.raises(ClientError) as raised:
                await asyncio.to_thread(cluster.boto3().put_object, Bucket="data", Key="written", Body=b"forwarded")
            assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert not fake.seen
