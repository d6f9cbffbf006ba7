"""Upstream is away or overloaded: what is cached and fresh is served, the rest gets a quick, clear, retryable error."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cluster import Cluster
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.faults.load import BUCKET, RETRIES, get, read_whole

pytestmark = pytest.mark.timeout(90)
SIZE = 700_000
LEASE_S = 4.0  # a machine that stalls for a moment must not cost the trust in what is cached
SETTINGS = {
    "upstream": {"connect_timeout_s": 1.0, "read_timeout_s": 1.0, "retries": 1},
    "cache": {"chunk_size": "256KiB"},
    "cluster": {"lease_s": LEASE_S},
}
ONCE = {"total_max_attempts": 1, "mode": "standard"}
FRESH = '[[freshness]]\nbucket = "*"\nmode = "ttl"\nttl_s = 3600.0\n'


@contextmanager
def silence(port: int) -> Iterator[None]:
    """Somebody listens on the port, and neither accepts nor answers: a connection is never made."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
        yield


@contextmanager
def muteness(port: int) -> Iterator[None]:
    """Somebody takes connections and requests, and never answers."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(512)
        yield


@contextmanager
def refusal(_: int) -> Iterator[None]:
    """Nobody listens."""
    yield


def error_of(client: Any, **what: Any) -> tuple[int, str]:
    """Status and code of the error that a GET meets; ("", 0) when it meets none."""
    try:
        client.get_object(Bucket=BUCKET, **what)["Body"].read()
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return 0, ""


def at_once(threads: int, job: Callable[[int], Any], numbers: range) -> list[Any]:
    """What the job gives for each number, so many at a time; not on the event loop, which serves the upstream."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job, numbers))


@pytest.mark.parametrize("away", [refusal, silence, muteness])
async def test_upstream_is_away(tmp_path, away):
    async with FakeS3() as fake:
        for key in ("warm", "half", "cold"):
            fake.shelf.generate(BUCKET, key, SIZE, 1)
        port = fake.port
        cluster = Cluster(tmp_path, fake.endpoint, nodes=2, settings=SETTINGS, more=FRESH)
        cluster.__enter__()
        clients = [cluster.boto3(number, read_timeout=10, retries=ONCE) for number in range(2)]
        await asyncio.to_thread(warm_up, clients, fake)
    try:
        with away(port):
            judged = (asyncio.to_thread(judge_while_away, client, away is not muteness) for client in clients)
            await asyncio.gather(*judged)
        async with FakeS3(port=port) as fake:
            fake.shelf.generate(BUCKET, "cold", SIZE, 1)
            got = await asyncio.to_thread(get, clients[0], "cold")
            assert got == body_of("cold", 1, 0, SIZE)
    finally:
        cluster.__exit__()


def warm_up(clients: list[Any], fake: FakeS3) -> None:
    """Every node knows two keys and holds one; nodes that have just met distrust once more what they knew."""
    settled_at = time.monotonic() + LEASE_S / 2
    while time.monotonic() < settled_at:
        fake.forget()
        for client in clients:
            assert client.get_object(Bucket=BUCKET, Key="warm")["Body"].read() == body_of("warm", 1, 0, SIZE)
            client.head_object(Bucket=BUCKET, Key="half")
        if fake.calls:
            settled_at = time.monotonic() + LEASE_S / 2


def judge_while_away(client: Any, writing: bool) -> None:
    """``writing``: a write fails at once, too (one that upstream has taken in may be answered after a minute)."""
    got = client.get_object(Bucket=BUCKET, Key="warm")["Body"].read()
    assert got == body_of("warm", 1, 0, SIZE)
    assert error_of(client, Key="cold") == (503, "ServiceUnavailable")
    assert error_of(client, Key="half") == (503, "ServiceUnavailable")
    if writing:
        with pytest.raises(ClientError) as raised:
            client.put_object(Bucket=BUCKET, Key="new", Body=b"x")
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


async def test_upstream_asks_for_patience_now_and_then(tmp_path):
    keys = [f"k{number}" for number in range(60)]
    async with FakeS3() as fake:
        for key in keys:
            fake.shelf.generate(BUCKET, key, SIZE, 1)
        fake.trouble(status=503, share=0.3)
        with Cluster(tmp_path, fake.endpoint, nodes=2, settings={"cache": SETTINGS["cache"]}, more=FRESH) as cluster:
            clients = [cluster.boto3(number, max_pool_connections=20, retries=RETRIES) for number in range(2)]

            def read(number: int) -> bool:
                return read_whole(clients[number % 2], keys[number]) == body_of(keys[number], 1, 0, SIZE)

            assert all(await asyncio.to_thread(at_once, 20, read, range(len(keys))))


async def test_upstream_asks_everybody_for_patience(tmp_path):
    """Retries are budgeted: a storm of refusals stays a storm of that size."""
    async with FakeS3() as fake:
        fake.shelf.generate(BUCKET, "warm", SIZE, 1)
        with Cluster(tmp_path, fake.endpoint, settings={"cache": SETTINGS["cache"]}, more=FRESH) as cluster:
            client = cluster.boto3(0, max_pool_connections=20, retries=ONCE)
            await asyncio.to_thread(get, client, "warm")
            fake.trouble(status=503)
            fake.forget()
            asked = 300
            told = await asyncio.to_thread(
                at_once, 16, lambda number: error_of(client, Key=f"cold{number}"), range(asked)
            )
            assert set(told) == {(503, "SlowDown")}
            assert fake.counts.total() <= 1.2 * asked + 2 * 10
            got = await asyncio.to_thread(get, client, "warm")
            assert got == body_of("warm", 1, 0, SIZE)
            fake.calm()
            fake.shelf.generate(BUCKET, "after", SIZE, 1)
            got = await asyncio.to_thread(get, client, "after")
            assert got == body_of("after", 1, 0, SIZE)
