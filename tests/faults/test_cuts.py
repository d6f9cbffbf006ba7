"""Upstream's bodies break off: nothing short is kept or passed off as whole, and after the calm all is right."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3transfer.utils import S3_RETRYABLE_DOWNLOAD_ERRORS

from cache.store.scrub import fsck
from tests.cluster import Cluster
from tests.doubles.bodies import body_of
from tests.faults.cutting import Cut, CuttingUpstream
from tests.faults.load import BUCKET, ROUNDS, tell

pytestmark = pytest.mark.timeout(200)
CUTS = 5 * ROUNDS
CHUNK = 256 * 1024


def read(client: Any, key: str, **more: Any) -> bytes | str:
    """The body of one GET, or how it failed."""
    try:
        body: bytes = client.get_object(Bucket=BUCKET, Key=key, **more)["Body"].read()
    except S3_RETRYABLE_DOWNLOAD_ERRORS:
        return "broke off"
    except ClientError as error:
        return str(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return body


async def test_short_upstream_bodies(tmp_path):
    outcomes: Counter[str] = Counter()
    settings = {"cache": {"chunk_size": "256KiB"}}
    async with CuttingUpstream() as upstream:
        with Cluster(tmp_path, upstream.endpoint, nodes=2, settings=settings) as cluster:
            clients = [cluster.boto3(number) for number in range(2)]
            for became in await asyncio.gather(*(read_while_cut(upstream, clients, run) for run in range(CUTS))):
                outcomes.update(became)
            upstream.cuts.clear()
            await asyncio.to_thread(until_nobody_fills, cluster)
            await asyncio.gather(*(read_after_that(upstream, clients, run) for run in range(CUTS)))
            left = [line for node in cluster.nodes for line in fsck(node.cache)]
    tell(f"{CUTS} objects cut {upstream.struck} times: {dict(outcomes)}")
    assert outcomes.total() == 2 * CUTS
    assert set(outcomes) <= {"whole", "broke off", "503"}
    assert upstream.struck >= CUTS
    assert not left


async def read_while_cut(upstream: CuttingUpstream, clients: list[Any], run: int) -> list[str]:
    """An object of its own, whose bodies are cut, whole through every node and by range: what became of the former."""
    chance, outcomes = random.Random(run), []
    key, size = f"k{run}", chance.randrange(1, 3 * CHUNK)
    upstream.sizes[key] = size
    upstream.cuts[key] = Cut(chance.randrange(min(size, CHUNK)), bool(run % 2), bool(run // 2 % 2))
    for client in clients:
        got = await asyncio.to_thread(read, client, key)
        assert isinstance(got, str) or got == body_of(key, 1, 0, size), f"{upstream.cuts[key]} of {size}"
        outcomes.append(got if isinstance(got, str) else "whole")
    start = chance.randrange(size)
    got = await asyncio.to_thread(read, clients[0], key, Range=f"bytes={start}-")
    assert isinstance(got, str) or got == body_of(key, 1, start, size)
    return outcomes


def until_nobody_fills(cluster: Cluster) -> None:
    """Return once no fill is left of those that met a cut: whoever joined one would share how it ends."""
    while cluster.counters()["fills_now"]:
        pass


async def read_after_that(upstream: CuttingUpstream, clients: list[Any], run: int) -> None:
    """Nothing is cut any more: every node has the whole object."""
    key = f"k{run}"
    for client in clients:
        assert await asyncio.to_thread(read, client, key) == body_of(key, 1, 0, upstream.sizes[key])
