"""Bodies on their way upstream: five ways of protecting them, and none that is complete before it is right."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from cache.tally import Tally
from cache.versions import ObjectRef
from gateway.exchange import Address
from gateway.forward import Forwarder
from gateway.upstream import Upstream
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.forwarding_door import ForwardingDoor
from tests.doubles.forwarding_house import KEYS, MIB, MODES, QUICK, House, Told, put
from tests.doubles.shelf import checksum_of


@pytest.mark.parametrize("size", [0, 1, 65536, 700_000])
@pytest.mark.parametrize("mode", MODES)
async def test_every_way_of_protecting_a_body(house: House, mode: str, size: int) -> None:
    body = body_of("k", 1, 0, size)
    assert (await put(house, mode, body))[0] == 200
    stored = house.fake.shelf.find("bkt", "k")
    assert stored is not None
    assert stored.body == body
    assert stored.headers.get("content-encoding", "") == ("gzip" if "chunks" in mode or "trailer" in mode else "")
    assert stored.headers["content-type"] == "text/x"
    assert ("x-amz-checksum-crc32" in stored.checksums) == ("trailer" in mode)
    assert house.told.refs == [ObjectRef("bkt", "k")]


SPOILED = [
    ("hashed", "hash", b"XAmzContentSHA256Mismatch"),
    ("signed chunks", "chunk", b"SignatureDoesNotMatch"),
    ("signed chunks", "cut", b"IncompleteBody"),
    ("signed chunks, trailer", "chunk", b"SignatureDoesNotMatch"),
    ("signed chunks, trailer", "trailer", b"BadDigest"),
    ("unsigned, trailer", "trailer", b"BadDigest"),
    ("unsigned, trailer", "cut", b""),
]


@pytest.mark.parametrize("size", [0, 20, 700_000])
@pytest.mark.parametrize(("mode", "spoil", "code"), SPOILED)
async def test_a_body_that_is_wrong_at_its_end_is_never_complete_upstream(
    house: House, mode: str, spoil: str, code: bytes, size: int
) -> None:
    if spoil == "chunk" and not size:
        return
    status, document = await put(house, mode, body_of("k", 1, 0, size), spoil=spoil)
    assert status in {400, 403}
    assert code in document
    assert not any(seen.complete for seen in house.fake.seen)
    assert house.fake.shelf.find("bkt", "k") is None


async def test_a_checksum_header_is_checked(house: House) -> None:
    for name in ("x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-crc64nvme"):
        wrong = {name: checksum_of(name.removeprefix("x-amz-checksum-"), b"other")}
        status, document = await house.ask("PUT", "/bkt/k", body=b"body", headers=wrong)
        assert (status, b"BadDigest" in document) == (400, True)
    assert not any(seen.complete for seen in house.fake.seen)


async def test_a_put_without_a_length_is_refused(house: House) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"body"

    status, document = await house.ask("PUT", "/bkt/k", body=endless(), payload="UNSIGNED-PAYLOAD")
    assert (status, b"MissingContentLength" in document) == (411, True)
    assert not house.fake.seen


@pytest.mark.parametrize("mode", MODES)
async def test_nobody_is_asked_who_they_are(fake: FakeS3, mode: str) -> None:
    async with (
        Upstream(Address(fake.endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream,
        ForwardingDoor(Forwarder(upstream, Told()), None) as door,
        aiohttp.ClientSession() as session,
    ):
        house = House(fake, door, Told(), session)
        assert (await put(house, mode, b"some body " * 20_000, spoil=""))[0] == 200
        async with session.put(f"{door.endpoint}/bkt/plain", data=b"plain") as answer:
            assert answer.status == 200
        async with session.delete(f"{door.endpoint}/bkt/plain") as answer:
            assert answer.status == 204
        if mode != "unsigned":
            assert (await put(house, mode, b"some body " * 20_000, spoil="hash" if mode == "hashed" else "cut"))[
                0
            ] == 400


async def test_bodies_stream_both_ways(house: House) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield body_of("k", 1, 0, MIB)
        await house.fake.waiting("k", 1)  # upstream has the head while the client still holds most of the body
        yield body_of("k", 1, MIB, 4 * MIB)

    headers = {"content-length": str(4 * MIB)}
    assert (await house.ask("PUT", "/bkt/k", body=slowly(), headers=headers, payload="UNSIGNED-PAYLOAD"))[0] == 200
    async with house.open("GET", "/bkt/k") as answer:
        assert int(answer.headers["content-length"]) == 4 * MIB
        assert await answer.read() == body_of("k", 1, 0, 4 * MIB)


async def test_a_client_that_leaves_ends_the_upload(house: House) -> None:
    async def leaving() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        await house.fake.waiting("k", 1)
        raise ConnectionError("gone")

    headers = {"content-length": str(4 * MIB)}
    with pytest.raises(aiohttp.ClientError):
        await house.ask("PUT", "/bkt/k", body=leaving(), headers=headers, payload="UNSIGNED-PAYLOAD")
    await house.told.began.wait()
    assert house.fake.shelf.find("bkt", "k") is None
    assert not house.fake.seen[-1].complete
