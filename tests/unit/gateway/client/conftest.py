"""A fake S3, and readers over it that are closed with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway.client.endpoint import Gateway
from gateway.client.reader import Reader
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.threaded_s3 import threaded_s3


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    """A running fake S3."""
    with threaded_s3() as server:
        yield server


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
