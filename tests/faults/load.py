"""Clients under whose eyes things break: threads with unmodified boto3, every byte of whose answers is checked.

Readers take whole objects (``download_fileobj``) and ranges (``get_object``) through all nodes in turn; writers
overwrite keys of their own through one node and read them through another. botocore's standard retry mode repeats a
request until its answer's head is there; what breaks in a body is repeated as the SDK's own transfer layer does it:
the exceptions of ``S3_RETRYABLE_DOWNLOAD_ERRORS``, five attempts. Whatever passes beyond that is an error; bytes that
are not those of the version are a wrong answer, retried by nobody.
"""

from __future__ import annotations

import io
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from boto3.s3.transfer import TransferConfig
from s3transfer.utils import S3_RETRYABLE_DOWNLOAD_ERRORS

from tests.cluster import Cluster
from tests.doubles.bodies import body_of, locate
from tests.faults.upstream import Item

BUCKET = "data"
ROUNDS = int(os.environ.get("FOREBAY_FAULT_ROUNDS", "5"))
ATTEMPTS = 5
TRANSFER = TransferConfig(use_threads=False, num_download_attempts=ATTEMPTS)
RETRIES = {"max_attempts": 10, "mode": "standard"}
WAIT_S_MAX = 60.0


def tell(line: str) -> None:
    """A figure for whoever runs pytest with -s."""
    sys.stdout.write(line + "\n")


def get(client: Any, key: str) -> bytes:
    """The body of one GET; nothing in it is asked for again."""
    body: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body


def read_range(client: Any, key: str, start: int, stop: int, *, bucket: str = BUCKET) -> tuple[bytes, int]:
    """The bytes, and how often a body had to be asked for again."""
    for attempt in range(ATTEMPTS):
        try:
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
            return answer["Body"].read(), attempt
        except S3_RETRYABLE_DOWNLOAD_ERRORS:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def read_whole(client: Any, key: str, *, bucket: str = BUCKET) -> bytes:
    """The whole object, as the SDK's transfer layer downloads it."""
    got = io.BytesIO()
    client.download_fileobj(bucket, key, got, Config=TRANSFER)
    return got.getvalue()


class Load:
    """Between ``with``, the clients run. ``stop`` (or leaving) ends and awaits them; ``judge`` fails the test."""

    def __init__(
        self, cluster: Cluster, items: Sequence[Item], *, readers: int = 6, writers: int = 2, seed: int = 1
    ) -> None:
        self._cluster, self._items = cluster, items
        self._stopping = threading.Event()
        self._turn = threading.Condition()
        self.counts: Counter[str] = Counter()
        self.troubles: list[str] = []
        nodes = len(cluster.nodes)
        config = {"retries": RETRIES, "connect_timeout": 5, "read_timeout": 20}
        clients = [[cluster.boto3(node, **config) for node in range(nodes)] for _ in range(readers + writers)]
        jobs = [(self._read, number) for number in range(readers)]
        jobs += [(self._write, number) for number in range(readers, readers + writers)]
        self._threads = [
            threading.Thread(target=self._run, args=(job, clients[number], random.Random(f"{seed}:{number}"), number))
            for job, number in jobs
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the clients; each finishes the request that it is at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def progress(self, count: int = 20) -> None:
        """Return once so many more reads and writes have ended. Fails the test when the load stands still."""
        with self._turn:
            target = self.counts["done"] + count
            moved = self._turn.wait_for(lambda: self.counts["done"] >= target or self.troubles, WAIT_S_MAX)
        assert moved, f"the load stands still: {dict(self.counts)}"

    def judge(self) -> None:
        """Fail the test when there was a wrong byte or an error."""
        assert not self.troubles, f"{dict(self.counts)}: {self.troubles[:10]}"

    def _run(self, job: Any, clients: list[Any], chance: random.Random, number: int) -> None:
        turn = number
        while not self._stopping.is_set():
            turn += 1
            try:
                job(clients, turn, chance, number)
                self._count("done")
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must fail for it
                with self._turn:
                    self.troubles.append(f"{time.strftime('%X')} client {number}: {error!r}")
                    self._turn.notify_all()
        for client in clients:
            client.close()

    def _count(self, name: str, amount: int = 1) -> None:
        with self._turn:
            self.counts[name] += amount
            self._turn.notify_all()

    def _read(self, clients: list[Any], turn: int, chance: random.Random, _: int) -> None:
        item, client = chance.choice(self._items), clients[turn % len(clients)]
        start, stop = 0, item.size
        if chance.random() < 0.5:
            body = read_whole(client, item.key)
        else:
            start = chance.randrange(item.size)
            stop = min(item.size, start + chance.randrange(1, 1 << 20))
            body, again = read_range(client, item.key, start, stop)
            self._count("bodies asked for again", again)
        self._count("bytes", len(body))
        if body != body_of(item.key, item.version, start, stop):
            raise AssertionError(wrong(body, item, start, stop))

    def _write(self, clients: list[Any], turn: int, chance: random.Random, number: int) -> None:
        key, size = f"w{number}-{turn % 3}", chance.randrange(1, 200_000)
        writer, reader = chance.sample(clients, 2) if len(clients) > 1 else clients * 2
        writer.put_object(Bucket=BUCKET, Key=key, Body=body_of(key, turn, 0, size))
        body = read_whole(reader, key)
        if body != body_of(key, turn, 0, size):
            of = locate(body[:16], [(key, version) for version in range(turn + 1)]) if len(body) >= 16 else None
            raise AssertionError(f"{key} version {turn} was written, {of} of {len(body)} bytes read")


def wrong(body: bytes, item: Item, start: int, stop: int) -> str:
    """What is wrong with a body."""
    want = body_of(item.key, item.version, start, stop)
    at = next((at for at, (one, other) in enumerate(zip(body, want, strict=False)) if one != other), None)
    return f"WRONG {item.key} [{start}, {stop}): {len(body)} of {stop - start} bytes, first difference at {at}"
