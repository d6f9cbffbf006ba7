"""The demo's work: upload the sample to the bucket, then read all of it through the nodes and compare every byte.

Objects are read by unmodified boto3 in threads, object i through node i modulo N; shards by the data loader, one rank
per node. A second pass reads the same through the same nodes: the ring has spread the chunks, so about (N-1)/N of the
bytes cross from one node to another, warm as cold. Nothing here judges; a wrong or missing byte becomes a line in the
pass's ``faults``. ``Tick`` is called with the number of bytes done, from any thread. A shell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bench.demo_cluster import BUCKET, Bucket, DemoNode, Keys
from bench.demo_counts import Pass
from bench.demo_sample import (
    OBJECTS,
    SHARDS,
    Manifest,
    SampleFile,
    build_shard,
    digest_of,
    group_shards,
    shard_bytes_for,
)
from gateway.client.endpoint import Gateway, Place
from gateway.client.errors import GatewayError
from gateway.client.shards import ShardDamaged
from gateway.client.torch import ShardDataset

THREADS_PER_NODE: Final = 4
UPLOAD_THREADS: Final = 6
REGION: Final = "us-east-1"
READ_TIMEOUT_S: Final = 15

Tick = Callable[[int], None]
T = TypeVar("T")


def s3_client(endpoint: str, keys: Keys) -> Any:  # noqa: ANN401  (boto3 has no types)
    """A boto3 client as anybody would make it."""
    config = Config(
        s3={"addressing_style": "path"},
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=5,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=16,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=config,
    )


def upload(bucket: Bucket, files: Sequence[SampleFile], tick: Tick) -> Manifest:
    """Put the files into the bucket, as objects and as shards. Raises OSError, or what boto3 raises."""
    client = s3_client(bucket.endpoint, bucket.keys)
    client.create_bucket(Bucket=BUCKET)
    manifest = Manifest()

    def put(key: str, data: bytes) -> int:
        client.put_object(Bucket=BUCKET, Key=key, Body=data)
        tick(len(data))
        return len(data)

    def put_file(file: SampleFile) -> None:
        data = file.path.read_bytes()
        manifest.objects[OBJECTS + file.name] = (put(OBJECTS + file.name, data), digest_of(data))

    def put_shard(numbered: tuple[int, list[tuple[int, SampleFile]]]) -> None:
        number, run = numbered
        data, digests = build_shard(run)
        key = f"{SHARDS}{number:03}.tar"
        manifest.shards[key] = put(key, data)
        manifest.samples.update(digests)

    try:
        _side_by_side(put_file, files, UPLOAD_THREADS)
        _side_by_side(put_shard, enumerate(group_shards(files, shard_bytes_for(files))), 2)
    finally:
        client.close()
    return manifest


def read_objects(nodes: Sequence[DemoNode], manifest: Manifest, into: Pass, tick: Tick) -> None:
    """Read and check every object with boto3, spread over the nodes."""
    clients = [s3_client(node.endpoint, node.keys) for node in nodes]
    lock = threading.Lock()

    def read(numbered: tuple[int, str]) -> None:
        number, key = numbered
        size, digest = manifest.objects[key]
        try:
            data = clients[number % len(clients)].get_object(Bucket=BUCKET, Key=key)["Body"].read()
            fault = "" if len(data) == size and digest_of(data) == digest else f"{key}: wrong bytes"
        except (BotoCoreError, ClientError) as error:
            data, fault = b"", f"{key}: {error}"
        with lock:
            _note(into, 1, len(data), [fault] if fault else [])
        tick(size)

    began_s = time.monotonic()
    try:
        _side_by_side(read, enumerate(sorted(manifest.objects)), THREADS_PER_NODE * len(nodes))
    finally:
        for client in clients:
            client.close()
    into.seconds = time.monotonic() - began_s


def read_shards(nodes: Sequence[DemoNode], manifest: Manifest, into: Pass, tick: Tick) -> None:
    """Read and check every sample of every shard with the data loader, one rank per node."""
    lock = threading.Lock()
    seen: set[str] = set()

    def read(rank: int) -> None:
        keys = nodes[rank].keys
        gateway = Gateway(
            nodes[rank].endpoint,
            keys.access_key,
            keys.secret_key,
            connections=THREADS_PER_NODE,
            read_timeout_s=READ_TIMEOUT_S,
            attempts=4,
        )
        dataset = ShardDataset(f"s3://{BUCKET}/{SHARDS}", gateway=gateway, place=Place(rank, len(nodes)))
        try:
            for sample in dataset:
                key, data = str(sample["__key__"]), bytes(sample["bin"])
                right = manifest.samples.get(key) == digest_of(data)
                with lock:
                    seen.add(key)
                    into.faults += [] if right else [f"sample {key}: wrong bytes"]
                tick(len(data))
            with lock:
                share = dataset.share(0)
                _note(into, len(share), sum(manifest.shards.get(shard, 0) for shard in share), [])
        except (GatewayError, ShardDamaged) as error:
            with lock:
                into.faults.append(str(error))
        finally:
            dataset.close()

    began_s = time.monotonic()
    _side_by_side(read, range(len(nodes)), len(nodes))
    into.seconds = time.monotonic() - began_s
    missing = len(manifest.samples.keys() - seen)
    into.faults += [f"{missing} samples were not read"] if missing else []


def _note(into: Pass, objects: int, received_bytes: int, faults: list[str]) -> None:
    into.objects += objects
    into.received_bytes += received_bytes
    into.faults += faults


def _side_by_side(work: Callable[[T], None], items: Iterable[T], threads: int) -> None:
    """``work`` on every item, in threads; the first error ends it.

    Threads that are in the middle of a read then end by themselves, once the nodes are gone: nobody waits for them.
    """
    executor = ThreadPoolExecutor(threads)
    try:
        for future in [executor.submit(work, item) for item in items]:
            future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
