"""What tests of the upstream side share: a fake S3 that checks signatures, an Upstream on it, a forwarding house."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cache.tally import Tally
from gateway.exchange import Address
from gateway.upstream import Upstream
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.fake_s3_door import checks_signatures
from tests.doubles.forwarding_house import KEYS, QUICK, House, house_on


@pytest.fixture
async def fake() -> AsyncIterator[FakeS3]:
    async with FakeS3(verify=checks_signatures({"AKUP": KEYS})) as fake:
        fake.shelf.buckets.setdefault("bkt", {})
        yield fake


@pytest.fixture
async def upstream(fake: FakeS3) -> AsyncIterator[Upstream]:
    async with Upstream(Address(fake.endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream:
        yield upstream


@pytest.fixture
async def house(fake: FakeS3) -> AsyncIterator[House]:
    async with house_on(fake.endpoint, fake) as house:
        yield house
