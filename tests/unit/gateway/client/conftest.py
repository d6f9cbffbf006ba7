"""A fake S3 for blocking clients: it runs on a loop of its own, in a thread, and the test talks to it over its port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from gateway.client.endpoint import Gateway
from gateway.client.reader import Reader
from tests.doubles.fake_s3 import FakeS3


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    """A running fake S3."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FakeS3()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    yield server
    asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def gateway(fake: FakeS3) -> Gateway:
    """How to reach it."""
    return Gateway(fake.endpoint, "AK", "SK", connections=4)


@pytest.fixture
def reader_of() -> Iterator[Callable[..., Reader]]:
    """Makes readers that are closed at the end of the test."""
    made: list[Reader] = []

    def make(gateway: Gateway, *, part_bytes: int = 1000) -> Reader:
        made.append(Reader(gateway, part_bytes=part_bytes))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


@pytest.fixture
def reader(gateway: Gateway, reader_of: Callable[..., Reader]) -> Reader:
    """A reader with small parts."""
    return reader_of(gateway)
