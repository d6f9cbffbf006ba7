"""Every engine that does single operations, against a real server on a socket: what it returns, and what fails how."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bench.engines import ENGINES, WHOLE_ONLY, open_engine
from bench.engines.ports import Session
from bench.operations import List, Operation, OperationFailed, Probe, Read, Remove, Write
from bench.plan import Door, LoadPlan, Shape
from cache.versions import ByteSpan
from gateway.s3.sigv4 import Credentials
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.fake_s3_door import checks_signatures

BODY = bytes(range(256)) * 40
SINGLE = sorted(ENGINES.keys() - WHOLE_ONLY)


@contextmanager
def session_to(fake: FakeS3, engine: str, *, secret_key: str = "SK", lookup: str = "path") -> Iterator[Session]:
    door = Door((fake.endpoint,), "bucket", "AK", secret_key, lookup=lookup)
    opened = open_engine(LoadPlan(door, Shape(engine=engine), timeout_s=10))
    session = opened.session(0)
    try:
        yield session
    finally:
        session.close()
        opened.close()


def filled(fake: FakeS3) -> FakeS3:
    fake.shelf.put("bucket", "p/k", BODY)
    return fake


@pytest.mark.parametrize("engine", SINGLE)
async def test_operations_do_what_they_say(engine: str) -> None:
    async with FakeS3(verify=checks_signatures({"AK": Credentials("AK", "SK")})) as fake:
        filled(fake)
        with session_to(fake, engine) as session:

            def perform(operation: Operation) -> int:
                return session.perform(operation)

            async def run(operation: Operation) -> int:
                return await asyncio.to_thread(perform, operation)

            assert await run(Read("p/k", len(BODY))) == len(BODY)
            assert session.first_byte_s > 0
            assert await run(Read("p/k", 10, ByteSpan(5, 15))) == 10
            assert fake.calls_of("GET", "p/k")[-1].span == (5, 15)
            assert await run(Probe("p/k", len(BODY))) == 0
            assert await run(Write("p/new", memoryview(BODY)[:100])) == 0
            written = fake.shelf.find("bucket", "p/new")
            assert written is not None
            assert written.body == BODY[:100]
            assert await run(List("p/")) >= 0
            assert await run(Remove("p/new")) == 0
            assert fake.shelf.find("bucket", "p/new") is None


def wrong_length(fake: FakeS3) -> Operation:
    return Read("p/k", len(BODY) - 1)


def wrong_stat(fake: FakeS3) -> Operation:
    return Probe("p/k", len(BODY) - 1)


def missing(fake: FakeS3) -> Operation:
    return Read("p/missing", 5)


def denied(fake: FakeS3) -> Operation:
    fake.trouble(method="GET", status=403, code="AccessDenied")
    return Read("p/k", len(BODY))


FAILURES: list[tuple[Callable[[FakeS3], Operation], str]] = [
    (wrong_length, "WrongLength"),
    (wrong_stat, "WrongLength"),
    (missing, "NoSuchKey"),
    (denied, "AccessDenied"),
]


@pytest.mark.parametrize("engine", SINGLE)
@pytest.mark.parametrize(("make", "code"), FAILURES)
async def test_what_goes_wrong_has_a_code_and_the_session_goes_on(
    engine: str, make: Callable[[FakeS3], Operation], code: str
) -> None:
    async with FakeS3() as fake:
        filled(fake)
        with session_to(fake, engine) as session:
            with pytest.raises(OperationFailed) as failed:
                await asyncio.to_thread(session.perform, make(fake))
            assert failed.value.code == code
            fake.calm()
            assert await asyncio.to_thread(session.perform, Read("p/k", len(BODY))) == len(BODY)
