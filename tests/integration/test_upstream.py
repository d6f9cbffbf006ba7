"""The Origin over real sockets: right bytes, or a fault; against a fake S3 and against raw bytes."""

from __future__ import annotations

import asyncio

import pytest

from cache.faults import (
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
    VersionChanged,
)
from cache.ports import Origin
from cache.tally import Count, Tally
from cache.versions import ByteSpan, ObjectRef, ObjectVersion
from gateway.exchange import Address, Outgoing
from gateway.upstream import Patience, RetryBudget, Upstream
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import Call, FakeS3
from tests.doubles.forwarding_house import KEYS, MIB, QUICK, read_span
from tests.doubles.raw_upstream import RawUpstream

ODD_KEYS = [
    "a/../k",
    "a//b",
    "./k",
    "k%2Fx",
    "plus+and space",
    "ünï/codé",
    "~t'(x)!*",
    "a?b=c&d",
    "k#x",
    "%41",
    "tab\tkey",
]


async def test_it_is_an_origin(upstream: Upstream) -> None:
    origin: Origin = upstream
    assert origin is upstream


async def test_a_head_becomes_an_entry(fake: FakeS3, upstream: Upstream) -> None:
    stored = fake.shelf.put("bkt", "k", b"hello", {"content-type": "text/plain", "x-amz-meta-a": "ü"})
    entry = await upstream.head(ObjectRef("bkt", "k"))
    assert entry.version == ObjectVersion(fake.endpoint, "bkt", "k", stored.etag, 5)
    assert entry.header("content-type") == "text/plain"
    assert entry.header("x-amz-meta-a") == "ü"
    assert (entry.token, entry.checked_at) == (0, 0.0)


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_keys_arrive_as_they_are(fake: FakeS3, upstream: Upstream, key: str) -> None:
    fake.shelf.put("bkt", key, key.encode() * 3)
    entry = await upstream.head(ObjectRef("bkt", key))
    assert await read_span(upstream, entry.version, ByteSpan(1, entry.version.size)) == (key.encode() * 3)[1:]
    assert {call.key for call in fake.calls} == {key}


async def test_ranges_come_in_pieces_as_they_arrive(fake: FakeS3, upstream: Upstream) -> None:
    stored = fake.shelf.generate("bkt", "big", 3 * MIB)
    version = (await upstream.head(ObjectRef("bkt", "big"))).version
    async with upstream.fetch(version, ByteSpan(MIB, 2 * MIB)) as pieces:
        received = [piece async for piece in pieces]
    assert b"".join(received) == body_of("big", stored.version, MIB, 2 * MIB)
    assert max(map(len, received)) <= 256 * 1024
    assert fake.calls_of("GET", "big") == [Call("GET", "bkt", "big", (MIB, 2 * MIB), 206)]
    assert fake.seen[-1].headers["if-match"] == stored.etag
    assert fake.seen[-1].headers["accept-encoding"] == "identity"


async def test_an_encoded_object_is_not_decoded(fake: FakeS3, upstream: Upstream) -> None:
    fake.shelf.put("bkt", "z", b"not really gzip", {"content-encoding": "gzip"})
    version = (await upstream.head(ObjectRef("bkt", "z"))).version
    assert await read_span(upstream, version, ByteSpan(0, version.size)) == b"not really gzip"


async def test_a_named_version_is_fetched(fake: FakeS3, upstream: Upstream) -> None:
    fake.shelf.versioned.add("bkt")
    old = fake.shelf.put("bkt", "k", b"old body")
    fake.shelf.put("bkt", "k", b"new body")
    version = (await upstream.head(ObjectRef("bkt", "k", old.version_id))).version
    assert version.version_id == old.version_id
    assert await read_span(upstream, version, ByteSpan(0, 8)) == b"old body"


async def test_without_the_right_to_name_versions_the_current_one_is_read(fake: FakeS3, upstream: Upstream) -> None:
    fake.shelf.versioned.add("bkt")
    fake.shelf.put("bkt", "k", b"some body")
    version = (await upstream.head(ObjectRef("bkt", "k"))).version
    fake.trouble(method="GET", status=403, code="AccessDenied", times=1)
    assert await read_span(upstream, version, ByteSpan(0, 4)) == b"some"
    assert await read_span(upstream, version, ByteSpan(4, 9)) == b" body"
    assert [call.status for call in fake.calls_of("GET", "k")] == [403, 206, 206]


async def test_refusals_carry_upstreams_document(fake: FakeS3, upstream: Upstream) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        await upstream.head(ObjectRef("bkt", "nothing"))
    assert (refused.value.status, refused.value.body) == (404, b"")
    with pytest.raises(UpstreamRefused) as refused:
        await read_span(upstream, ObjectVersion(fake.endpoint, "bkt", "nothing", '"e"', 10), ByteSpan(0, 4))
    assert refused.value.status == 404
    assert b"<Code>NoSuchKey</Code>" in refused.value.body
    assert "content-length" not in dict(refused.value.headers)


async def test_an_overwritten_object_is_a_changed_version(fake: FakeS3, upstream: Upstream) -> None:
    fake.shelf.put("bkt", "k", b"version one")
    version = (await upstream.head(ObjectRef("bkt", "k"))).version
    fake.shelf.put("bkt", "k", b"version two")
    with pytest.raises(VersionChanged):
        await read_span(upstream, version, ByteSpan(0, 4))


# --- patience


async def test_busy_is_asked_again(fake: FakeS3, upstream: Upstream) -> None:
    fake.shelf.put("bkt", "k", b"body")
    fake.trouble(status=503, times=2)
    version = (await upstream.head(ObjectRef("bkt", "k"))).version
    assert [call.status for call in fake.calls] == [503, 503, 200]
    fake.trouble(status=429, times=1)
    assert await read_span(upstream, version, ByteSpan(0, 4)) == b"body"


async def test_busy_in_the_end(fake: FakeS3, upstream: Upstream) -> None:
    fake.trouble(status=503)
    for _ in range(20):
        with pytest.raises(UpstreamBusy):
            await upstream.head(ObjectRef("bkt", "k"))
    assert len(fake.calls) <= 20 + 10 + 2


async def test_a_long_retry_after_is_not_waited_for(fake: FakeS3, upstream: Upstream) -> None:
    fake.trouble(status=503, headers={"retry-after": "30"})
    with pytest.raises(UpstreamBusy):
        await upstream.head(ObjectRef("bkt", "k"))
    assert len(fake.calls) == 1


async def test_a_hang_up_before_the_answer_is_asked_again(fake: FakeS3, upstream: Upstream) -> None:
    fake.shelf.put("bkt", "k", b"body")
    fake.trouble(drop=True, times=3)
    assert (await upstream.head(ObjectRef("bkt", "k"))).version.size == 4


async def test_nobody_listens() -> None:
    async with FakeS3() as gone:
        endpoint = gone.endpoint
    async with Upstream(Address(endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream:
        with pytest.raises(UpstreamUnreachable):
            await upstream.head(ObjectRef("bkt", "k"))


async def test_silence_is_unreachable(fake: FakeS3) -> None:
    fake.shelf.generate("bkt", "k", 1000)
    patience = Patience(read_timeout_s=0.2, retries=0)
    async with Upstream(Address(fake.endpoint), Tally(), credentials=KEYS, patience=patience) as upstream:
        version = (await upstream.head(ObjectRef("bkt", "k"))).version
        async with fake.held("k"):
            with pytest.raises(UpstreamUnreachable):
                await read_span(upstream, version, ByteSpan(0, 10))


async def test_a_cancelled_fetch_frees_its_place_and_keeps_no_connection(fake: FakeS3) -> None:
    fake.shelf.generate("bkt", "k", 8 * MIB)
    one = Patience(connections=1, connect_timeout_s=5.0, read_timeout_s=5.0)
    async with Upstream(Address(fake.endpoint), Tally(), credentials=KEYS, patience=one) as upstream:
        version = (await upstream.head(ObjectRef("bkt", "k"))).version
        for _ in range(3):
            async with upstream.fetch(version, ByteSpan(0, 8 * MIB)) as pieces:
                await anext(pieces)
        async with fake.held("k"):
            reader = asyncio.create_task(read_span(upstream, version, ByteSpan(0, 8)))
            await fake.waiting("k", 5)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
        assert len(await read_span(upstream, version, ByteSpan(0, 8))) == 8


@pytest.mark.parametrize(("method", "repeated"), [("GET", True), ("DELETE", True), ("POST", False)])
async def test_a_connection_that_closes_while_it_is_asked_costs_no_answer(method: str, *, repeated: bool) -> None:
    """Upstream ends a kept connection at its second request; what may be repeated is, once, on another one."""
    done = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with (
        RawUpstream() as raw,
        Upstream(Address(raw.endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream,
    ):
        raw.hang_up_between(done)
        async with upstream.send(Outgoing("GET", "bkt")) as exchange:
            assert exchange.status == 200
        if repeated:
            async with upstream.send(Outgoing(method, "bkt")) as exchange:
                assert exchange.status == 200
        else:
            with pytest.raises(UpstreamUnreachable):
                await upstream.send(Outgoing(method, "bkt")).__aenter__()
        assert raw.connections == (2 if repeated else 1)


async def test_who_leaves_while_a_refusal_is_read_frees_his_place() -> None:
    one = Patience(connections=1, connect_timeout_s=0.2, read_timeout_s=5.0, retries=0)
    async with (
        RawUpstream() as raw,
        Upstream(Address(raw.endpoint), Tally(), credentials=KEYS, patience=one) as upstream,
    ):
        raw.answer(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 100\r\n\r\n<Err")
        for turn in range(3):
            version = ObjectVersion(raw.endpoint, "bkt", "k", '"e"', 20)
            reader = asyncio.create_task(read_span(upstream, version, ByteSpan(0, 8)))
            await raw.answered(turn + 1)
            for _ in range(5):
                await asyncio.sleep(0)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader


async def test_what_is_counted(fake: FakeS3) -> None:
    fake.shelf.generate("bkt", "k", 1000)
    tally = Tally()
    async with Upstream(Address(fake.endpoint), tally, credentials=KEYS, patience=QUICK) as upstream:
        version = (await upstream.head(ObjectRef("bkt", "k"))).version
        await read_span(upstream, version, ByteSpan(0, 100))
        fake.trouble(status=500, times=1)
        await read_span(upstream, version, ByteSpan(0, 100))
    counted = {name: tally.words[name] for name in (Count.UPSTREAM_HEADS, Count.UPSTREAM_GETS, Count.UPSTREAM_ERRORS)}
    assert counted == {Count.UPSTREAM_HEADS: 1, Count.UPSTREAM_GETS: 3, Count.UPSTREAM_ERRORS: 1}
    assert tally.words[Count.UPSTREAM_BYTES] >= 200


# --- who asks, and where


async def test_credentials_of_the_environment(fake: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKUP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-up")
    fake.shelf.put("bkt", "k", b"body")
    async with Upstream(Address(fake.endpoint), Tally(), patience=QUICK) as upstream:
        assert upstream.credentials_from == "aiobotocore: env"
        assert (await upstream.head(ObjectRef("bkt", "k"))).version.size == 4


async def test_nobody_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = str(tmp_path_factory.mktemp("aws") / "none")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", empty)
    monkeypatch.setenv("AWS_CONFIG_FILE", empty)
    async with FakeS3() as fake, Upstream(Address(fake.endpoint), Tally(), patience=QUICK) as upstream:
        fake.shelf.put("bkt", "k", b"body")
        assert upstream.credentials_from == "anonymous"
        await upstream.head(ObjectRef("bkt", "k"))
        assert "authorization" not in fake.seen[-1].headers


@pytest.mark.parametrize(
    ("address", "bucket", "placed"),
    [
        (Address("", "eu-west-1"), "bkt", ("https://s3.eu-west-1.amazonaws.com", "/bkt/k")),
        (Address("", "eu-west-1", path_style=False), "bkt", ("https://bkt.s3.eu-west-1.amazonaws.com", "/k")),
        (Address("", "eu-west-1", path_style=False), "b.k.t", ("https://s3.eu-west-1.amazonaws.com", "/b.k.t/k")),
        (Address("http://h:1/", path_style=False), "b.k.t", ("http://b.k.t.h:1", "/k")),
        (Address("http://h:1/base/"), "bkt", ("http://h:1", "/base/bkt/k")),
        (Address("http://h:1"), "", ("http://h:1", "/")),
    ],
)
def test_where_a_key_is(address: Address, bucket: str, placed: tuple[str, str]) -> None:
    assert address.place(bucket, "/k") == placed


def test_retries_are_earned() -> None:
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(20)) == 10
    for _ in range(10):
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]
