"""An object changes while it is read: every body is one version from end to end, or the read fails.

Behind the gateway's back (out of band) a version changes between two chunks of a read; through the gateway many
writers overwrite one small key that many read. Freshness ``always`` would hide the first case, so the default holds.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from s3transfer.utils import S3_RETRYABLE_DOWNLOAD_ERRORS

from tests.cluster import Cluster
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.faults.load import BUCKET, RETRIES, ROUNDS, tell

pytestmark = pytest.mark.timeout(300)
RUNS = 5 * ROUNDS
BESIDE = 4  # so many at once: each waits for its upstream most of the time
CHUNK = 256 * 1024
SETTINGS = {"cache": {"chunk_size": "256KiB", "readahead": 2}}


def read(client: Any, key: str) -> bytes | None:
    """The body of one GET; None when it broke off."""
    try:
        body: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    except S3_RETRYABLE_DOWNLOAD_ERRORS:
        return None
    return body


async def test_an_object_changes_between_two_chunks_of_a_read(tmp_path):
    outcomes, beside = Counter[str](), asyncio.Semaphore(BESIDE)
    async with FakeS3() as fake:
        fake.trouble(method="GET", rate=4e6)
        with Cluster(tmp_path, fake.endpoint, nodes=2, settings=SETTINGS) as cluster:
            clients = [cluster.boto3(number, retries=RETRIES) for number in range(2)]

            async def run(number: int) -> None:
                async with beside:
                    outcomes.update(await read_what_changes(fake, clients, number))

            await asyncio.gather(*(run(number) for number in range(RUNS)))
    tell(f"{RUNS} changes under a read: {dict(outcomes)}")
    assert outcomes.total() == 2 * RUNS
    assert outcomes["first broke off"] > RUNS // 4, "the changes came too late to mean anything"
    assert outcomes["again broke off"] < RUNS // 10


async def read_what_changes(fake: FakeS3, clients: list[Any], run: int) -> list[str]:
    """A key of its own is read while it changes, and read again: what became of both. Fails on a mixture."""
    chance, key, size = random.Random(run), f"k{run}", 10 * CHUNK + run
    sizes = {1: size, 2: size if run % 2 else size + chance.randrange(-CHUNK, 3 * CHUNK)}
    fake.shelf.generate(BUCKET, key, size, 1)
    reading = asyncio.create_task(asyncio.to_thread(read, clients[run % 2], key))
    await fake.waiting(key, chance.randrange(2, 10), "GET")
    fake.shelf.generate(BUCKET, key, sizes[2], 2)
    first = await reading
    again = await asyncio.to_thread(read, clients[(run + chance.randrange(2)) % 2], key)
    bodies, became = {version: body_of(key, version, 0, sizes[version]) for version in sizes}, []
    for name, body in (("first", first), ("again", again)):
        version = next((version for version in bodies if bodies[version] == body), None)
        assert body is None or version, f"run {run}, {name}: {len(body or b'')} bytes of no one version"
        became.append(f"{name} {version or 'broke off'}")
    return became


async def test_a_small_key_is_overwritten_while_it_is_read(tmp_path):
    key, rounds = "hot", 150
    async with FakeS3() as fake:
        fake.shelf.generate(BUCKET, key, 1000, 1)
        versions = {1: body_of(key, 1, 0, 1000)}
        with Cluster(tmp_path, fake.endpoint, nodes=3) as cluster:
            torn = await asyncio.to_thread(overwrite_and_read, cluster, key, versions, rounds)
    assert not torn


def overwrite_and_read(cluster: Cluster, key: str, versions: dict[int, bytes], rounds: int) -> list[str]:
    """Two writers and six readers at once; what was no version."""

    def write(number: int) -> list[str]:
        client, chance = cluster.boto3(number, retries=RETRIES), random.Random(number)
        for turn in range(rounds):
            version, size = 10 + 2 * turn + number, chance.randrange(1, 64 * 1024)
            body = versions[version] = body_of(key, version, 0, size)
            client.put_object(Bucket=BUCKET, Key=key, Body=body)
        return []

    def look(number: int) -> list[str]:
        client, found = cluster.boto3(number % 3, retries=RETRIES), []
        for _ in range(rounds * 2):
            body = read(client, key)
            if body is not None and body not in list(versions.values()):
                found.append(f"reader {number}: {len(body)} bytes of no version")
        return found

    with ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(write, number) for number in range(2)]
        jobs += [threads.submit(look, number) for number in range(6)]
        return [line for job in jobs for line in job.result()]
