"""Bodies that a thread receives straight into a file: the same bytes, ends and faults, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cache.chunks import Chunk
from cache.faults import DiskFailed, Fault, UpstreamBroken, UpstreamUnreachable
from cache.fills.driver import Fills
from cache.ports import Pouring
from cache.store.environment import prepare
from cache.store.files import FileStore
from cache.tally import Count, Tally
from cache.versions import ByteSpan, ObjectRef, ObjectVersion
from gateway.exchange import Address
from gateway.upstream import Patience, Upstream
from tests.doubles.counting_proxy import CountingProxy
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.forwarding_house import KEYS, QUICK, read_span
from tests.integration.test_wires import serving

MIB = 1 << 20
SIZE = 3 * MIB + 12345


class Clock:
    monotonic = staticmethod(time.monotonic)


@pytest.fixture
async def version(fake: FakeS3, upstream: Upstream) -> ObjectVersion:
    fake.shelf.generate("bkt", "k", SIZE)
    return (await upstream.head(ObjectRef("bkt", "k"))).version


def stored(fake: FakeS3) -> bytes:
    found = fake.shelf.find("bkt", "k")
    assert found is not None
    return found.read(0, SIZE)


async def in_thread(work: Any, *arguments: object) -> Any:
    return await asyncio.to_thread(work, *arguments)


async def poured(upstream: Upstream, version: ObjectVersion, span: ByteSpan, into: Callable[[memoryview], None]) -> int:
    """Fetch a span, its first piece as it comes, the rest poured; in how many turns."""
    turns = 0
    async with upstream.fetch(version, span) as body:
        async for piece in body:
            into(memoryview(piece))
            assert isinstance(body, Pouring)
            while await body.pour(into, in_thread):
                turns += 1
    return turns


async def test_a_poured_body_is_the_body_and_its_connection_is_kept(fake: FakeS3) -> None:
    fake.shelf.generate("bkt", "k", SIZE)
    chance = random.Random(3)
    async with (
        CountingProxy(fake.port) as proxy,
        Upstream(Address(proxy.endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream,
    ):
        version = (await upstream.head(ObjectRef("bkt", "k"))).version
        for _ in range(20):
            start = chance.randrange(SIZE // 8)
            span = ByteSpan(start, chance.randrange(start + 2 * MIB + MIB // 2, SIZE))
            received = bytearray()
            assert await poured(upstream, version, span, received.extend)
            assert received == stored(fake)[span.start : span.stop]
            assert await read_span(upstream, version, ByteSpan(3, 9)) == stored(fake)[3:9]
        assert proxy.connections == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_body_is_a_fault(fake: FakeS3, upstream: Upstream, version: ObjectVersion, *, reset: bool) -> None:
    span, whole = ByteSpan(0, SIZE), stored(fake)
    for cut in random.Random(7).sample(range(SIZE), 30):
        fake.calm()
        fake.trouble(method="GET", cut_after=cut, reset=reset)
        received = bytearray()
        with pytest.raises((UpstreamBroken, UpstreamUnreachable)):
            await poured(upstream, version, span, received.extend)
        assert len(received) <= cut
        assert whole.startswith(received)


async def test_silence_has_an_end_and_what_came_before_is_handed_on(fake: FakeS3, version: ObjectVersion) -> None:
    patience = Patience(read_timeout_s=0.2, retries=0)
    async with (
        Upstream(Address(fake.endpoint), Tally(), credentials=KEYS, patience=patience) as upstream,
        fake.halted("k", 2 * MIB),
    ):
        received = bytearray()
        with pytest.raises(UpstreamUnreachable, match="silent"):
            await poured(upstream, version, ByteSpan(0, SIZE), received.extend)
        assert len(received) >= 2 * MIB
        assert stored(fake).startswith(received)


async def test_what_has_a_checksum_is_held_against_it(fake: FakeS3, upstream: Upstream) -> None:
    found = fake.shelf.put("bkt", "sum", os.urandom(MIB))
    found.checksums["x-amz-checksum-crc32"] = "AAAAAA=="
    version = (await upstream.head(ObjectRef("bkt", "sum"))).version
    fake.trouble(method="GET", wrong="whole")
    with pytest.raises(UpstreamBroken, match="checksum"):
        await poured(upstream, version, ByteSpan(0, MIB), bytearray().extend)


async def test_a_writer_that_fails_ends_it_with_its_fault(upstream: Upstream, version: ObjectVersion) -> None:
    def full(data: memoryview) -> None:
        raise DiskFailed(f"no room for {len(data)} bytes")

    with pytest.raises(DiskFailed):
        await poured(upstream, version, ByteSpan(0, SIZE), full)


# --- fills


@contextlib.asynccontextmanager
async def filling(tmp_path: Path, upstream: Upstream) -> AsyncIterator[tuple[Fills, FileStore, Tally]]:
    prepare(tmp_path)
    tally, executor = Tally(), ThreadPoolExecutor(4)
    store = FileStore(tmp_path, quota_bytes=64 * MIB, tally=tally)
    fills = Fills(upstream, store, Clock(), tally=tally, executor=executor, fills_max=4)
    try:
        yield fills, store, tally
        assert not list(fills.check())
    finally:
        await fills.close()
        executor.shutdown()
        store.close()


async def content(fills: Fills, store: FileStore, chunk: Chunk) -> bytes:
    """A chunk through its fill, read as it grows; then from the store, where it must be the same."""
    ride, data = fills.ride(chunk), b""
    await ride.opened()
    while len(data) < chunk.length:
        bound = await ride.reached(len(data))
        data += os.pread(ride.fd, bound - len(data), len(data))
    await fills.settled()
    reader = store.find(chunk)
    assert reader is not None
    assert await reader.reached(chunk.length - 1) == chunk.length
    assert os.pread(reader.fd, chunk.length, 0) == data
    return data


async def test_a_fill_that_upstream_cuts_goes_on_where_it_was(
    tmp_path: Path, fake: FakeS3, upstream: Upstream, version: ObjectVersion
) -> None:
    chance = random.Random(11)
    for turn in range(8):
        async with filling(tmp_path / str(turn), upstream) as (fills, store, tally):
            for _ in range(3):
                fake.trouble(method="GET", cut_after=chance.randrange(64 * 1024, 2 * MIB), reset=turn % 2 == 1, times=1)
            assert await content(fills, store, Chunk(version, 4 * MIB, 0)) == stored(fake)
            assert tally.words[Count.FILL_BYTES] == SIZE
            fake.calm()


async def test_upstream_hears_at_once_that_a_fill_has_failed(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: %d\r\n\r\n' % SIZE + bytes(2 * MIB))
        assert not await reader.read()  # and then it is silent
        ended.set()

    patience = Patience(read_timeout_s=0.2, retries=0)
    async with serving(talk) as server:
        origin = server.place.geturl()
        async with (
            Upstream(Address(origin), Tally(), credentials=KEYS, patience=patience) as upstream,
            filling(tmp_path, upstream) as (fills, _, _),
        ):
            gc.collect()
            gc.disable()  # the fault holds what it came through until it is collected
            try:
                ride = fills.ride(Chunk(ObjectVersion(origin, "bkt", "k", '"e"', SIZE, ""), 4 * MIB, 0))
                with pytest.raises(Fault):
                    await ride.reached(SIZE - 1)
                await ended.wait()
            finally:
                gc.enable()


async def test_a_fill_that_is_ended_in_the_middle_leaves_nothing(
    tmp_path: Path, fake: FakeS3, upstream: Upstream, version: ObjectVersion
) -> None:
    chunk = Chunk(version, 4 * MIB, 0)
    async with filling(tmp_path, upstream) as (fills, store, _), fake.halted("k", 2 * MIB):
        ride = fills.ride(chunk)
        assert await ride.reached(MIB) > MIB
        await fills.close()
        with pytest.raises(Fault):
            await ride.reached(SIZE - 1)
        assert store.find(chunk) is None
