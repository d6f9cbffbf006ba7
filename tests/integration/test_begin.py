"""A miss costs one upstream request: the GET that says what a key holds and brings its first chunk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cache.faults import UpstreamBroken, UpstreamRefused
from cache.tally import Tally
from cache.versions import ObjectRef
from gateway.exchange import Address
from gateway.s3.sigv4 import Credentials
from gateway.upstream import Patience, Upstream
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.raw_upstream import RawUpstream
from tests.doubles.shelf import checksum_of
from tests.gateway import RunningWorker, running_worker
from tests.integration.test_http import Wire, request

KEYS = Credentials("AKUP", "secret-up")
QUICK = Patience(connections=8, connect_timeout_s=2.0, read_timeout_s=2.0, retries=1, backoff_s=0.001)
COUNT = 100_000
REF = ObjectRef("bkt", "k")


@pytest.fixture
async def fake() -> AsyncIterator[FakeS3]:
    async with FakeS3() as fake:
        fake.shelf.buckets["bkt"] = {}
        yield fake


@pytest.fixture
async def upstream(fake: FakeS3) -> AsyncIterator[Upstream]:
    async with Upstream(Address(fake.endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream:
        yield upstream


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("size", [1, COUNT - 1, COUNT, COUNT + 1, 3 * COUNT])
async def test_the_entry_and_the_first_bytes(fake: FakeS3, upstream: Upstream, size: int, *, whole: bool) -> None:
    stored = fake.shelf.generate("bkt", "k", size)
    async with upstream.begin(REF, COUNT, whole=whole) as beginning:
        assert (beginning.entry.version.etag, beginning.entry.version.size) == (stored.etag, size)
        body = b"".join([piece async for piece in beginning.body])
    assert body == body_of("k", stored.version, 0, min(size, COUNT))
    assert [call.span for call in fake.calls] == [None if whole else (0, min(size, COUNT))]
    assert beginning.entry.partial == (not whole)


async def test_an_upstream_that_knows_no_ranges(fake: FakeS3, upstream: Upstream) -> None:
    fake.shelf.generate("bkt", "k", 3 * COUNT)
    fake.trouble(wrong="whole")
    async with upstream.begin(REF, COUNT, whole=False) as beginning:
        assert sum([len(piece) async for piece in beginning.body]) == COUNT
    assert (beginning.entry.version.size, beginning.entry.partial) == (3 * COUNT, False)


async def test_a_checksum_of_the_whole_is_kept_and_held_against_the_bytes(fake: FakeS3, upstream: Upstream) -> None:
    body = body_of("k", 1, 0, 1000)
    fake.shelf.put("bkt", "k", body, {"x-amz-checksum-crc32": checksum_of("crc32", body)})
    async with upstream.begin(REF, COUNT, whole=True) as beginning:
        assert beginning.entry.header("x-amz-checksum-crc32")
    fake.shelf.find("bkt", "k").body = b"\0" + body[1:]  # type: ignore[union-attr]  # it was just put
    async with upstream.begin(REF, COUNT, whole=True) as beginning:
        with pytest.raises(UpstreamBroken):
            assert [piece async for piece in beginning.body]


async def test_a_question_that_nobody_enters_frees_its_place_and_its_connection(fake: FakeS3) -> None:
    fake.shelf.generate("bkt", "k", 1000)
    one = replace(QUICK, connections=1)
    async with Upstream(Address(fake.endpoint), Tally(), credentials=KEYS, patience=one) as upstream:
        for _ in range(3):
            async with upstream.begin(REF, COUNT, whole=False) as beginning:
                assert sum([len(piece) async for piece in beginning.body]) == 1000
            upstream.begin(REF, COUNT, whole=False)
        async with upstream.begin(REF, COUNT, whole=False) as beginning:
            assert beginning.entry.version.size == 1000


async def test_a_connection_that_closes_while_it_is_asked_costs_no_answer() -> None:
    done = b'HTTP/1.1 206 OK\r\nContent-Length: 2\r\nContent-Range: bytes 0-1/2\r\nETag: "e"\r\n\r\nab'
    async with (
        RawUpstream() as raw,
        Upstream(Address(raw.endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream,
    ):
        raw.hang_up_between(done)
        for _ in range(2):
            async with upstream.begin(REF, COUNT, whole=False) as beginning:
                assert [bytes(piece) async for piece in beginning.body] == [b"ab"]
        assert raw.connections == 2


@pytest.mark.parametrize("wrong", ["shifted", "short", "longer", "no_range"])
async def test_a_wrong_range_is_refused(fake: FakeS3, upstream: Upstream, wrong: str) -> None:
    fake.shelf.generate("bkt", "k", 3 * COUNT)
    fake.trouble(wrong=wrong)
    with pytest.raises(UpstreamBroken):
        async with upstream.begin(REF, COUNT, whole=False):
            pass


async def test_a_refusal_carries_upstreams_document(upstream: Upstream) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        async with upstream.begin(REF, COUNT, whole=False):
            pass
    assert refused.value.status == 404
    assert b"NoSuchKey" in refused.value.body


@pytest.mark.parametrize("whole", [False, True])
async def test_a_part_never_passes_for_the_whole(*, whole: bool) -> None:
    """A server may state the checksum of the part that it sends; and a long body may end early."""
    part = b'HTTP/1.1 206 P\r\nETag: "e"\r\nx-amz-checksum-crc32: AAAAAA==\r\nContent-Range: bytes 0-9/20\r\n'
    long = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n'
    async with RawUpstream() as raw, Upstream(Address(raw.endpoint), Tally(), patience=QUICK, credentials=KEYS) as up:
        raw.answer(long if whole else part + b"Content-Length: 10\r\n\r\n0123456789")
        async with up.begin(REF, 10, whole=whole) as beginning:
            assert beginning.entry.header("x-amz-checksum-crc32") == ""
            assert beginning.entry.version.etag == ("" if whole else '"e"')
            assert b"".join([piece async for piece in beginning.body]) == (b"" if whole else b"0123456789")


async def test_a_long_body_that_ends_early_is_a_fault() -> None:
    async with RawUpstream() as raw, Upstream(Address(raw.endpoint), Tally(), patience=QUICK, credentials=KEYS) as up:
        raw.answer(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 20\r\n\r\n01234', then="fin")
        async with up.begin(REF, 10, whole=True) as beginning:
            with pytest.raises(UpstreamBroken):
                assert [piece async for piece in beginning.body]


# --- the whole worker


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[RunningWorker]:
    async with running_worker(tmp_path) as running:
        running.fake.shelf.generate("data", "small", 4000)
        running.fake.shelf.generate("data", "large", (3 << 20) + 17)
        body = body_of("sum", 1, 0, 5000)
        running.fake.shelf.put("data", "sum", body, {"x-amz-checksum-crc32": checksum_of("crc32", body)})
        running.fake.shelf.put("data", "empty", b"")
        yield running


def spans(worker: RunningWorker, key: str) -> list[object]:
    return [(call.method, call.span) for call in worker.fake.calls_of("", key)]


async def ask(worker: RunningWorker, *args: str, **headers: str) -> bytes:
    wire = await Wire.open(worker)
    answer = await wire.ask(request(*args, **headers))
    await wire.close()
    return answer


async def test_a_small_object_costs_one_request(worker: RunningWorker) -> None:
    answers = await asyncio.gather(*(ask(worker, "GET", "/data/small") for _ in range(20)))
    stored = worker.fake.shelf.buckets["data"]["small"]
    assert {answer.partition(b"\r\n\r\n")[2] for answer in answers} == {stored.read(0, 4000)}
    assert spans(worker, "small") == [("GET", (0, 4000))]
    await ask(worker, "HEAD", "/data/small")
    assert len(spans(worker, "small")) == 1


async def test_a_large_object_costs_one_request_per_chunk(worker: RunningWorker) -> None:
    mib = 1 << 20
    rest = [("GET", (mib, 2 * mib)), ("GET", (2 * mib, 3 * mib)), ("GET", (3 * mib, 3 * mib + 17))]
    for checksums, first in (({}, (0, mib)), ({"x_amz_checksum_mode": "ENABLED"}, None)):
        key = f"large{len(checksums)}"
        stored = worker.fake.shelf.generate("data", key, 3 * mib + 17)
        answer = await ask(worker, "GET", f"/data/{key}", **checksums)
        assert answer.partition(b"\r\n\r\n")[2] == stored.read(0, stored.size)
        await worker.worker._fills.settled()
        assert (spans(worker, key)[0], set(spans(worker, key)[1:])) == (("GET", first), set(rest))
        assert len(spans(worker, key)) == 4


async def test_a_client_gets_every_checksum_that_upstream_has(worker: RunningWorker) -> None:
    sums = {"x_amz_checksum_mode": "ENABLED"}
    assert b"x-amz-checksum-crc32: " in await ask(worker, "GET", "/data/sum", **sums)
    assert spans(worker, "sum") == [("GET", None)]
    worker.fake.shelf.buckets["data"]["sum2"] = replace(worker.fake.shelf.buckets["data"]["sum"], key="sum2")
    assert b"x-amz-checksum-" not in await ask(worker, "GET", "/data/sum2", range="bytes=0-99")
    assert b"x-amz-checksum-" not in await ask(worker, "GET", "/data/sum2")
    for method in ("GET", "HEAD", "GET"):
        assert b"x-amz-checksum-crc32: " in await ask(worker, method, "/data/sum2", **sums)
    assert spans(worker, "sum2") == [("GET", (0, 5000)), ("HEAD", None)]


async def test_nothing_and_emptiness(worker: RunningWorker) -> None:
    answer = await ask(worker, "GET", "/data/missing")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"<Code>NoSuchKey</Code>" in answer
    assert len(spans(worker, "missing")) == 1
    assert (await ask(worker, "GET", "/data/empty")).startswith(b"HTTP/1.1 200 ")
    assert (await ask(worker, "GET", "/data/empty", range="bytes=0-0")).startswith(b"HTTP/1.1 416 ")


async def test_what_is_not_read_from_its_beginning_costs_a_head(worker: RunningWorker) -> None:
    await ask(worker, "GET", "/data/large", range="bytes=-5")
    assert spans(worker, "large")[0] == ("HEAD", None)
    await ask(worker, "GET", "/data/small", if_none_match="*")
    assert spans(worker, "small") == [("HEAD", None)]


async def test_a_head_of_the_first_byte_brings_the_whole_object_in(worker: RunningWorker) -> None:
    plain = await ask(worker, "HEAD", "/data/large", range="bytes=0-1")
    assert spans(worker, "large") == [("HEAD", None)]
    answer = await ask(worker, "HEAD", "/data/large", range="bytes=0-0")
    assert (plain[:12], answer[:12]) == (b"HTTP/1.1 206", b"HTTP/1.1 206")
    await worker.worker._cache._staging.settled()
    await worker.worker._fills.settled()
    assert len(spans(worker, "large")) == 1 + 4
    await ask(worker, "GET", "/data/large")
    assert len(spans(worker, "large")) == 1 + 4


async def test_a_small_range_far_inside_a_cold_chunk_is_answered_first(tmp_path: Path) -> None:
    mib = 1 << 20
    async with running_worker(tmp_path, cache={"chunk_size": 8 * mib}) as worker:
        stored = worker.fake.shelf.generate("data", "far", 20 * mib)
        async with worker.fake.halted("far", 2 * mib):
            answer = await ask(worker, "GET", "/data/far", range=f"bytes={5 * mib}-{5 * mib + 999}")
        assert answer.partition(b"\r\n\r\n")[2] == stored.read(5 * mib, 5 * mib + 1000)
        await worker.worker._fills.settled()
        first = ("HEAD", None)
        assert set(spans(worker, "far")) == {first, ("GET", (5 * mib, 5 * mib + 1000)), ("GET", (0, 8 * mib))}
        again = await ask(worker, "GET", "/data/far", range=f"bytes={7 * mib}-{7 * mib + 999}")
        assert again.partition(b"\r\n\r\n")[2] == stored.read(7 * mib, 7 * mib + 1000)
        assert len(spans(worker, "far")) == 3
