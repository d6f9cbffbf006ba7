"""Answers that break their word: no wrong byte comes out, and nothing ends tidily that was cut."""

from __future__ import annotations

import contextlib
import random

import pytest

from cache.faults import (
    UpstreamBroken,
    UpstreamFault,
    UpstreamUnreachable,
    VersionChanged,
)
from cache.tally import Tally
from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion
from gateway.exchange import Address
from gateway.upstream import Upstream
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.forwarding_house import KEYS, QUICK, read_span
from tests.doubles.raw_upstream import RawUpstream
from tests.doubles.shelf import checksum_of

# --- broken answers

F02 = ["shifted", "short", "longer", "total", "no_range", "whole", "etag", "no_etag"]


@pytest.mark.parametrize("wrong", F02)
async def test_a_wrong_range_is_refused(fake: FakeS3, upstream: Upstream, wrong: str) -> None:
    fake.shelf.generate("bkt", "k", 4096)
    version = (await upstream.head(ObjectRef("bkt", "k"))).version
    fake.trouble(method="GET", wrong=wrong)
    for _ in range(20):
        with pytest.raises((UpstreamBroken, VersionChanged)):
            await read_span(upstream, version, ByteSpan(100, 1100))


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
async def test_a_whole_object_is_held_against_its_checksum(fake: FakeS3, upstream: Upstream, algorithm: str) -> None:
    body = body_of("k", 1, 0, 300_000)
    fake.shelf.put("bkt", "k", body, {f"x-amz-checksum-{algorithm}": checksum_of(algorithm, body)})
    version = (await upstream.head(ObjectRef("bkt", "k"))).version
    fake.trouble(method="GET", wrong="whole")
    assert await read_span(upstream, version, ByteSpan(0, 300_000)) == body
    fake.calm()
    fake.shelf.find("bkt", "k").body = b"\0" + body[1:]  # type: ignore[union-attr]  # it was just put
    fake.trouble(method="GET", wrong="whole")
    received: list[bytes] = []
    with pytest.raises(UpstreamBroken):
        await read_span(upstream, version, ByteSpan(0, 300_000), received)
    assert sum(map(len, received)) < 300_000


async def test_a_200_will_do_for_the_whole_object(fake: FakeS3, upstream: Upstream) -> None:
    fake.shelf.put("bkt", "k", b"whole")
    version = (await upstream.head(ObjectRef("bkt", "k"))).version
    fake.trouble(method="GET", wrong="whole")
    assert await read_span(upstream, version, ByteSpan(0, 5)) == b"whole"


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_body_never_ends_tidily(fake: FakeS3, upstream: Upstream, *, reset: bool) -> None:
    size = 300_000
    fake.shelf.generate("bkt", "k", size)
    version = (await upstream.head(ObjectRef("bkt", "k"))).version
    for cut in random.Random(7).sample(range(size), 50):
        fake.calm()
        fake.trouble(method="GET", cut_after=cut, reset=reset)
        received: list[bytes] = []
        with pytest.raises((UpstreamBroken, UpstreamUnreachable)):
            await read_span(upstream, version, ByteSpan(0, size), received)
        assert sum(map(len, received)) <= cut


HEAD = b'HTTP/1.1 206 Partial Content\r\nETag: "e"\r\nContent-Range: bytes 0-9/20\r\n'
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = HEAD + b"Content-Length: 10\r\n\r\n"
BROKEN = {
    "close-delimited": (HEAD + b"\r\n0123456789",),
    "short": (SIZED + b"012345678",),
    "chunked, cut in data": (CHUNKED + b"a\r\n01234",),
    "chunked, cut before the last chunk": (CHUNKED + b"a\r\n0123456789\r\n",),
    "chunked, too long": (CHUNKED + b"b\r\n01234567890\r\n0\r\n\r\n",),
    "chunked, too short": (CHUNKED + b"9\r\n012345678\r\n0\r\n\r\n",),
    "chunked, garbage": (CHUNKED + b"xyz\r\n0123456789\r\n0\r\n\r\n",),
    "announced longer": (HEAD + b"Content-Length: 11\r\n\r\n01234567890",),
    "two lengths": (HEAD + b"Content-Length: 10\r\nContent-Length: 9\r\n\r\n0123456789",),
    "length and chunked": (HEAD + b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0123456789",),
    "garbage": (b"nonsense\r\n\r\n",),
    "redirect": (b"HTTP/1.1 307 Moved\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",),
    "not modified": (b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n\r\n0123456789',),
    "no content": (b'HTTP/1.1 204 No Content\r\nETag: "e"\r\n\r\n',),
    "multipart": (
        b'HTTP/1.1 206 P\r\nETag: "e"\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: 10\r\n\r\n'
        b"0123456789",
    ),
    "nothing": (b"",),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_broken_framing_is_a_fault(broken: str) -> None:
    async with RawUpstream() as raw, Upstream(Address(raw.endpoint), Tally(), patience=QUICK, credentials=KEYS) as up:
        raw.answer(*BROKEN[broken], then="fin")
        received: list[bytes] = []
        with pytest.raises(UpstreamFault):
            await read_span(up, ObjectVersion(raw.endpoint, "bkt", "k", '"e"', 20), ByteSpan(0, 10), received)
        assert sum(map(len, received)) < 10


@pytest.mark.parametrize("then", ["fin", "rst"])
@pytest.mark.parametrize("whole", [SIZED + b"0123456789", CHUNKED + b"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"])
async def test_an_answer_cut_anywhere_is_a_fault(whole: bytes, then: str) -> None:
    async with RawUpstream() as raw, Upstream(Address(raw.endpoint), Tally(), patience=QUICK, credentials=KEYS) as up:
        version = ObjectVersion(raw.endpoint, "bkt", "k", '"e"', 20)
        for cut in range(len(whole)):
            raw.restart()
            raw.answer(whole[:cut], then=then)  # type: ignore[arg-type]  # the parameters are its literals
            received: list[bytes] = []
            with pytest.raises(UpstreamFault):
                await read_span(up, version, ByteSpan(0, 10), received)
            assert sum(map(len, received)) < 10


@pytest.mark.parametrize("then", ["keep", "fin"])
@pytest.mark.parametrize(
    "pieces",
    [
        (SIZED + b"0123456789",),
        (SIZED, b"01234", b"56789"),
        (CHUNKED + b"5\r\n01234\r\n", b"5\r\n56789\r\n0\r\n\r\n"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SIZED + b"0123456789",),
    ],
)
async def test_sound_framing_is_read(pieces: tuple[bytes, ...], then: str) -> None:
    async with RawUpstream() as raw, Upstream(Address(raw.endpoint), Tally(), patience=QUICK, credentials=KEYS) as up:
        raw.answer(*pieces, then=then)  # type: ignore[arg-type]  # the parameters are its literals
        version = ObjectVersion(raw.endpoint, "bkt", "k", '"e"', 20)
        for _ in range(3):
            assert await read_span(up, version, ByteSpan(0, 10)) == b"0123456789"
        assert raw.connections == (1 if then == "keep" else 3)


@pytest.mark.parametrize("extra", [b"garbage", SIZED + b"XXXXXXXXXX", SIZED, b"HTTP/1.1 2"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_bytes_beyond_the_body_never_reach_the_next_answer(
    fake: FakeS3, upstream: Upstream, extra: bytes, *, at_once: bool
) -> None:
    async with RawUpstream() as raw, Upstream(Address(raw.endpoint), Tally(), patience=QUICK, credentials=KEYS) as up:
        version = ObjectVersion(raw.endpoint, "bkt", "k", '"e"', 20)
        raw.answer(*((SIZED + b"0123456789" + extra,) if at_once else (SIZED, b"0123456789", extra)))
        for number in range(1, 11):
            with contextlib.suppress(UpstreamBroken):
                assert await read_span(up, version, ByteSpan(0, 10)) == b"0123456789"
            await raw.answered(number)
            await _turn_the_loop(fake, upstream)


async def _turn_the_loop(fake: FakeS3, upstream: Upstream) -> None:
    """A round trip elsewhere: whatever lies in this process's sockets has been read when it is over."""
    fake.shelf.put("bkt", "k", b"body")
    await upstream.head(ObjectRef("bkt", "k"))


@pytest.mark.parametrize("etag", ["", '""', 'W/"weak"'])
async def test_what_nothing_can_pin_is_marked(etag: str) -> None:
    lines = ["HTTP/1.1 200 OK", "Content-Length: 4", *([f"ETag: {etag}"] if etag else [])]
    assert (await _head_of("\r\n".join(lines).encode() + b"\r\n\r\n")).version.etag == ""


async def test_a_head_without_a_length_is_marked() -> None:
    entry = await _head_of(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nTransfer-Encoding: chunked\r\n\r\n')
    assert (entry.version.etag, entry.version.size) == ("", 0)


async def _head_of(answer: bytes) -> Entry:
    async with RawUpstream() as raw, Upstream(Address(raw.endpoint), Tally(), credentials=KEYS) as upstream:
        raw.answer(answer)
        return await upstream.head(ObjectRef("bkt", "k"))
