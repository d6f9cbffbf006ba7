"""Forwarding over real sockets: a small door in front, a fake S3 (that checks signatures and hashes) behind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError
from yarl import URL

from cache.faults import UpstreamBroken, UpstreamUnreachable
from cache.tally import Count, Tally
from cache.versions import ObjectRef
from gateway.exchange import Address
from gateway.forward import Forwarder
from gateway.s3.canonical import derived_key, seal
from gateway.s3.sigv4 import EMPTY_SHA256, Credentials, presign, sign
from gateway.upstream import Patience, Upstream
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.fake_s3_door import checks_signatures
from tests.doubles.forwarding_door import ForwardingDoor
from tests.doubles.raw_upstream import RawUpstream
from tests.doubles.shelf import checksum_of

CLIENT = Credentials("AKCLIENT", "secret-client")
KEYS = Credentials("AKUP", "secret-up")
QUICK = Patience(connections=8, connect_timeout_s=2.0, read_timeout_s=2.0, backoff_s=0.001)
MIB = 1 << 20
MODES = ["hashed", "unsigned", "signed chunks", "signed chunks, trailer", "unsigned, trailer"]


class Told:
    """What was invalidated; shut the gate to keep an invalidation from ending."""

    def __init__(self) -> None:
        self.refs: list[ObjectRef] = []
        self.began = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, refs: Sequence[ObjectRef]) -> None:
        self.began.set()
        await self.gate.wait()
        self.refs.extend(refs)


class House:
    """A fake upstream, a door before it, and a client session."""

    def __init__(self, fake: FakeS3, door: ForwardingDoor, told: Told, session: aiohttp.ClientSession) -> None:
        self.fake, self.door, self.told, self.session = fake, door, told, session

    async def ask(self, method: str, path: str, query: str = "", **more: Any) -> tuple[int, bytes]:
        """One request, signed by the client; status and body."""
        async with self.open(method, path, query, **more) as answer:
            return answer.status, await answer.read()

    def open(
        self, method: str, path: str, query: str = "", *, body: Any = None, headers: dict[str, str] | None = None,
        payload: str | None = None, host: str = "",
    ) -> Any:  # fmt: skip
        sent = {"host": host or f"127.0.0.1:{self.door.port}", **(headers or {})}
        payload = payload or hashlib.sha256(body or b"").hexdigest()
        sent |= sign(method, path, query, sent, payload, CLIENT, "us-east-1", time.time())
        url = URL(f"{self.door.endpoint}{path}{'?' if query else ''}{query}", encoded=True)
        return self.session.request(method, url, data=body, headers=sent, allow_redirects=False)


@contextlib.asynccontextmanager
async def house_on(endpoint: str, fake: FakeS3, **more: Any) -> AsyncIterator[House]:
    told = Told()
    async with (
        Upstream(Address(endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream,
        ForwardingDoor(Forwarder(upstream, told), {"AKCLIENT": CLIENT}, **more) as door,
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Content-Type"]) as session,
    ):
        yield House(fake, door, told, session)


@pytest.fixture
async def fake() -> AsyncIterator[FakeS3]:
    async with FakeS3(verify=checks_signatures({"AKUP": KEYS})) as fake:
        fake.shelf.buckets.setdefault("bkt", {})
        yield fake


@pytest.fixture
async def house(fake: FakeS3) -> AsyncIterator[House]:
    async with house_on(fake.endpoint, fake) as house:
        yield house


@contextlib.asynccontextmanager
async def library(endpoint: str, **s3: Any) -> AsyncIterator[Any]:
    config = AioConfig(s3={"addressing_style": "path", **s3}, retries={"max_attempts": 1})
    async with AioSession().create_client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="AKCLIENT",
        aws_secret_access_key="secret-client", config=config,
    ) as client:  # fmt: skip
        yield client


# --- spelling


ODD_PATHS = [
    "/bkt/a/../k", "/bkt/../other/k", "/bkt//k", "/bkt/./k", "/bkt/k%2Fx", "/bkt/k%2fx", "/bkt/a+b", "/bkt/a%2Bb",
    "/bkt/a%20b", "/bkt/%C3%BCn%C3%AF", "/bkt/%7ek~'()!*:@&=$,", "/bkt/%41", "/bkt/k/", "/bkt/bkt/k",
]  # fmt: skip


@pytest.mark.parametrize("path", ODD_PATHS)
async def test_paths_arrive_as_they_were_spelled(house: House, path: str) -> None:
    assert (await house.ask("PUT", path, body=b"odd"))[0] == 200
    assert house.fake.seen[-1].raw_path == path
    (ref,) = house.told.refs
    assert ref == ObjectRef("bkt", house.fake.seen[-1].key)


async def test_queries_arrive_as_they_were_spelled(house: House) -> None:
    query = "list-type=2&prefix=a%2Fb%20c&delimiter=/&encoding-type=url&fetch-owner="
    assert (await house.ask("GET", "/bkt", query))[0] == 200
    assert (house.fake.seen[-1].raw_path, house.fake.seen[-1].raw_query) == ("/bkt", query)
    assert (await house.ask("GET", "/"))[0] == 200
    assert not house.told.refs


@pytest.mark.parametrize(("path", "key"), [("/k", "k"), ("/bkt/k", "bkt/k"), ("/a/../%2F", "a/..//"), ("/", "")])
async def test_a_virtual_host_becomes_upstreams_style(house: House, path: str, key: str) -> None:
    method = "PUT" if key else "HEAD"
    body = b"virtual" if key else None
    assert (await house.ask(method, path, body=body, host="bkt.localhost"))[0] == 200
    assert house.fake.seen[-1].raw_path == f"/bkt{path}"
    assert (house.fake.seen[-1].bucket, house.fake.seen[-1].key) == ("bkt", key)


async def test_headers_pass_and_the_clients_credentials_do_not(house: House) -> None:
    headers = {
        "x-amz-meta-a": "1, 2",
        "x-amz-storage-class": "STANDARD_IA",
        "content-type": "text/x",
        "cache-control": "no-cache",
    }
    assert (await house.ask("PUT", "/bkt/k", body=b"x", headers=headers))[0] == 200
    seen = house.fake.seen[-1].headers
    assert {name: seen[name] for name in headers} == headers
    assert "Credential=AKUP/" in seen["authorization"]
    assert "user-agent" not in seen or "aiohttp" in seen["user-agent"]
    async with house.open("GET", "/bkt/k", "tagging") as answer:
        assert answer.headers["x-amz-request-id"].startswith("FAKE")
    async with house.open("HEAD", "/bkt/k", "partNumber=1") as answer:
        assert (answer.status, answer.headers["content-length"]) == (206, "1")


async def test_a_presigned_urls_parameters_become_headers(house: House) -> None:
    url = f"{house.door.endpoint}/bkt/k?x-amz-meta-a=b%20c&x-amz-storage-class=STANDARD_IA&x-id=PutObject"
    signed = presign("PUT", url, CLIENT, region="us-east-1", now=time.time(), expires_s=60)
    async with house.session.put(URL(signed, encoded=True), data=b"presigned") as answer:
        assert answer.status == 200
    seen = house.fake.seen[-1]
    assert (seen.raw_query, seen.body) == ("x-id=PutObject", b"presigned")
    assert (seen.headers["x-amz-meta-a"], seen.headers["x-amz-storage-class"]) == ("b c", "STANDARD_IA")
    injected = f"{house.door.endpoint}/bkt/k?x-amz-meta-a=b%0d%0ax-amz-acl:%20public-read"
    signed = presign("PUT", injected, CLIENT, region="us-east-1", now=time.time(), expires_s=60)
    async with house.session.put(URL(signed, encoded=True), data=b"presigned") as answer:
        assert answer.status == 400


# --- bodies


def chunk_signed(body: bytes, headers: dict[str, str], *, trailer: str = "", chunk_bytes: int = 65536) -> bytes:
    """An aws-chunked body whose chain starts at the signature in ``headers``."""
    amz_date = headers["x-amz-date"]
    scope = f"{amz_date[:8]}/us-east-1/s3/aws4_request"
    key = derived_key(CLIENT.secret_key, amz_date[:8], "us-east-1", "s3")
    previous = headers["authorization"].rpartition("Signature=")[2]
    out = b""
    for start in [*range(0, len(body), chunk_bytes), len(body)]:
        data = body[start : start + chunk_bytes]
        digest = hashlib.sha256(data).hexdigest()
        previous = seal(key, f"AWS4-HMAC-SHA256-PAYLOAD\n{amz_date}\n{scope}\n{previous}\n{EMPTY_SHA256}\n{digest}")
        out += b"%x;chunk-signature=%s\r\n" % (len(data), previous.encode()) + data + (b"\r\n" if data else b"")
    if not trailer:
        return out + b"\r\n"
    digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
    last = seal(key, f"AWS4-HMAC-SHA256-TRAILER\n{amz_date}\n{scope}\n{previous}\n{digest}")
    return out + f"{trailer}\r\nx-amz-trailer-signature:{last}\r\n\r\n".encode()


async def put(house: House, mode: str, body: bytes, *, spoil: str = "", key: str = "k") -> tuple[int, bytes]:
    """PUT in one of MODES; ``spoil``: "hash", "chunk", "trailer" or "cut" makes it wrong at its end."""
    checksum = checksum_of("crc32", body + (b"x" if spoil == "trailer" else b""))
    stated = hashlib.sha256(body + (b"x" if spoil == "hash" else b"")).hexdigest()
    trailer = f"x-amz-checksum-crc32:{checksum}"
    payload = {
        "hashed": stated,
        "unsigned": "UNSIGNED-PAYLOAD",
        "signed chunks": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "signed chunks, trailer": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "unsigned, trailer": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    }[mode]
    headers = {"host": f"127.0.0.1:{house.door.port}", "content-type": "text/x"}
    if payload.startswith("STREAMING"):
        headers |= {"content-encoding": "gzip,aws-chunked", "x-amz-decoded-content-length": str(len(body))}
    if "trailer" in mode:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    headers |= sign("PUT", f"/bkt/{key}", "", headers, payload, CLIENT, "us-east-1", time.time())
    if "signed chunks" in mode:
        raw = chunk_signed(body, headers, trailer=trailer if "trailer" in mode else "")
    elif "trailer" in mode:
        raw = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + f"0\r\n{trailer}\r\n\r\n".encode()
    else:
        raw = body
    if spoil == "chunk":
        raw = raw.replace(body[-8:], b"\0" * 8)
    if spoil == "cut":
        raw = raw[:-9]
    async with house.session.put(f"{house.door.endpoint}/bkt/{key}", data=raw, headers=headers) as answer:
        return answer.status, await answer.read()


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


# --- operations of a client library


async def test_a_library_writes_lists_copies_and_deletes(house: House) -> None:
    async with library(house.door.endpoint) as client:
        for key in ("k +ü", "d/e", "a//b"):
            await client.put_object(Bucket="bkt", Key=key, Body=key.encode(), Metadata={"m": "v"})
        answer = await client.get_object(Bucket="bkt", Key="k +ü", Range="bytes=0-1")
        assert await answer["Body"].read() == b"k "
        await client.copy_object(Bucket="bkt", Key="copy", CopySource={"Bucket": "bkt", "Key": "k +ü"})
        assert house.told.refs[-1] == ObjectRef("bkt", "copy")
        listed = await client.list_objects_v2(Bucket="bkt", Delimiter="/")
        assert [entry["Key"] for entry in listed["Contents"]] == ["copy", "k +ü"]
        house.told.refs.clear()
        doomed = [{"Key": key} for key in ("k +ü", "d/e", "none")]
        done = await client.delete_objects(Bucket="bkt", Delete={"Objects": doomed})
        assert len(done["Deleted"]) == 3
        assert [ref.key for ref in house.told.refs] == ["k +ü", "d/e", "none"]
        await client.delete_object(Bucket="bkt", Key="copy")
        assert list(house.fake.shelf.buckets["bkt"]) == ["a//b"]
        with pytest.raises(ClientError) as refused:
            await client.get_object(Bucket="nobucket", Key="k")
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"


async def test_a_library_uploads_in_parts(house: House) -> None:
    async with library(house.door.endpoint) as client:
        upload = (await client.create_multipart_upload(Bucket="bkt", Key="m"))["UploadId"]
        parts = []
        for number in (1, 2):
            part = await client.upload_part(
                Bucket="bkt", Key="m", UploadId=upload, PartNumber=number, Body=body_of("m", number, 0, MIB)
            )
            parts.append({"ETag": part["ETag"], "PartNumber": number})
        assert not house.told.refs
        done = await client.complete_multipart_upload(
            Bucket="bkt", Key="m", UploadId=upload, MultipartUpload={"Parts": parts}, ChecksumCRC32="AAAAAA=="
        )
        assert done["ETag"].endswith('-2"')
        assert house.told.refs == [ObjectRef("bkt", "m")]
        dropped = (await client.create_multipart_upload(Bucket="bkt", Key="m"))["UploadId"]
        await client.abort_multipart_upload(Bucket="bkt", Key="m", UploadId=dropped)
        assert not house.fake.shelf.uploads


async def test_keys_in_a_document_need_the_right_to_write(fake: FakeS3) -> None:
    async with house_on(fake.endpoint, fake, may=lambda right, _, key: right == "write" and key != "theirs") as house:
        fake.shelf.put("bkt", "mine", b"1")
        fake.shelf.put("bkt", "theirs", b"2")
        document = b"<Delete><Object><Key>mine</Key></Object><Object><Key>theirs</Key></Object></Delete>"
        status, answer = await house.ask("POST", "/bkt", "delete=", body=document)
        assert (status, b"AccessDenied" in answer) == (403, True)
        assert not fake.seen
        assert not house.told.refs
        status, answer = await house.ask("POST", "/bkt", "delete=", body=b"<!DOCTYPE x><Delete/>")
        assert (status, b"MalformedXML" in answer) == (400, True)
        assert (await house.ask("POST", "/bkt", "delete=", body=document.replace(b"theirs", b"mine")))[0] == 200
        assert (
            await house.ask("POST", "/bkt", "delete=", body=io.BytesIO(bytes(3 * MIB)), payload="UNSIGNED-PAYLOAD")
        )[0] == 400


# --- what is told, and when


@pytest.mark.parametrize("late", [False, True])
async def test_no_success_is_seen_before_the_invalidation_has_ended(house: House, *, late: bool) -> None:
    house.fake.shelf.put("bkt", "source", b"source")
    house.told.gate.clear()
    headers = {"x-amz-copy-source": "/bkt/source"} if late else {}
    body = None if late else b"new"
    writer = asyncio.create_task(house.ask("PUT", "/bkt/k", body=body, headers=headers))
    await house.told.began.wait()
    assert house.fake.shelf.find("bkt", "k") is not None
    assert not writer.done()
    house.told.gate.set()
    assert (await writer)[0] == 200
    assert house.told.refs == [ObjectRef("bkt", "k")]


async def test_the_end_of_a_late_answer_waits_for_the_invalidation(fake: FakeS3) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with RawUpstream() as raw, house_on(raw.endpoint, fake) as house:
        raw.answer(head, b"1\r\n \r\n", b"1\r\n \r\n", b"9\r\n<Result/>\r\n0\r\n\r\n")
        house.told.gate.clear()
        async with house.open("PUT", "/bkt/k", headers={"x-amz-copy-source": "/bkt/s"}) as answer:
            assert answer.status == 200
            assert await answer.content.read(1) == b" "
            await house.told.began.wait()
            assert not house.told.refs
            house.told.gate.set()
            assert (await answer.read()).endswith(b"<Result/>")
            assert house.told.refs == [ObjectRef("bkt", "k")]


async def test_an_error_inside_a_200_passes_and_is_told(house: House) -> None:
    house.fake.trouble(instead="<Error><Code>InternalError</Code></Error>")
    status, document = await house.ask("PUT", "/bkt/k", headers={"x-amz-copy-source": "/bkt/s"})
    assert (status, document) == (200, b"<Error><Code>InternalError</Code></Error>")
    assert house.told.refs == [ObjectRef("bkt", "k")]


@pytest.mark.parametrize("after_commit", [False, True])
async def test_an_unknown_outcome_is_told_and_is_no_success(house: House, *, after_commit: bool) -> None:
    house.fake.trouble(drop=True, after_commit=after_commit)
    for number in range(10):
        status, document = await house.ask("PUT", f"/bkt/k{number}", body=b"body")
        assert (status, b"ServiceUnavailable" in document) == (503, True)
    assert [ref.key for ref in house.told.refs] == [f"k{number}" for number in range(10)]
    assert len(house.fake.calls) == 10  # sent once each
    assert (house.fake.shelf.find("bkt", "k0") is not None) == after_commit


async def test_no_false_success_whatever_is_cut(house: House) -> None:
    dice = random.Random(3)
    troubles: list[dict[str, Any]] = [
        {"drop": True, "reset": True},
        {"drop": True, "after_commit": True, "reset": True},
        {"drop": True, "after_commit": True},
        {"status": 500, "after_body": True, "code": "InternalError"},
        {"status": 503, "code": "SlowDown"},
    ]
    for number in range(60):
        house.fake.calm()
        house.fake.trouble(**dice.choice(troubles))
        key = f"k{number}"
        with contextlib.suppress(aiohttp.ClientError):
            status, _ = await house.ask("PUT", f"/bkt/{key}", body=body_of(key, 1, 0, dice.randrange(200_000)))
            assert status >= 500
        assert house.told.refs[-1].key == key


# --- answers


async def test_errors_pass_as_upstream_gave_them(house: House) -> None:
    status, document = await house.ask("GET", "/bkt/nothing", "tagging=&versionId=x")
    assert status == 200
    status, document = await house.ask("GET", "/bkt/nothing")
    assert (status, b"<Code>NoSuchKey</Code>" in document) == (404, True)
    async with house.open("HEAD", "/bkt/nothing") as answer:
        assert (answer.status, await answer.read()) == (404, b"")
    house.fake.trouble(status=307, code="TemporaryRedirect", headers={"location": "http://169.254.169.254/"})
    async with house.open("GET", "/bkt/k") as answer:
        assert answer.status == 307
        assert "location" not in answer.headers


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_answer_is_cut_for_the_client_too(house: House, *, reset: bool) -> None:
    house.fake.shelf.generate("bkt", "k", 300_000)
    for cut in random.Random(5).sample(range(300_000), 30):
        house.fake.calm()
        house.fake.trouble(cut_after=cut, reset=reset)
        with pytest.raises(aiohttp.ClientError):
            await house.ask("GET", "/bkt/k")
    assert all(isinstance(fault, UpstreamBroken | UpstreamUnreachable) for fault in house.door.faults)


async def test_an_answer_without_a_length_is_refused(fake: FakeS3) -> None:
    async with RawUpstream() as raw, house_on(raw.endpoint, fake) as house:
        raw.answer(b"HTTP/1.1 200 OK\r\n\r\n<ListBucketResult/>", then="fin")
        assert (await house.ask("GET", "/bkt", "list-type=2"))[0] == 503


async def test_a_chunked_answer_passes(fake: FakeS3) -> None:
    async with RawUpstream() as raw, house_on(raw.endpoint, fake) as house:
        raw.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<List\r\n2\r\n/>\r\n0\r\n\r\n")
        assert await house.ask("GET", "/bkt", "list-type=2") == (200, b"<List/>")


async def test_an_answer_that_nobody_reads_closes_its_connection(fake: FakeS3) -> None:
    fake.shelf.generate("bkt", "k", 8 * MIB)
    one = Patience(connections=1, read_timeout_s=5.0)
    tally = Tally()
    async with (
        Upstream(Address(fake.endpoint), tally, credentials=KEYS, patience=one) as upstream,
        ForwardingDoor(Forwarder(upstream, Told()), {"AKCLIENT": CLIENT}) as door,
        aiohttp.ClientSession() as session,
    ):
        house = House(fake, door, Told(), session)
        for _ in range(3):
            async with house.open("GET", "/bkt/k") as answer:
                await answer.content.read(1)
                answer.close()
        assert (await house.ask("GET", "/bkt", "location="))[0] == 200
        assert tally.words[Count.UPSTREAM_FORWARDS] == 4


# --- another upstream


async def test_moto_takes_it_all(fake: FakeS3) -> None:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - seconds of imports for one test

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        async with house_on(f"http://{host}:{port}", fake) as house, library(house.door.endpoint) as client:
            await client.create_bucket(Bucket="bkt")
            for number, mode in enumerate(MODES):
                body = body_of("k", number, 0, 300_000)
                assert (await put(house, mode, body, key=f"k{number}"))[0] == 200
                answer = await client.get_object(Bucket="bkt", Key=f"k{number}")
                assert await answer["Body"].read() == body
            await client.put_object(Bucket="bkt", Key="a b/+ü", Body=b"odd")
            await client.copy_object(Bucket="bkt", Key="copy", CopySource={"Bucket": "bkt", "Key": "a b/+ü"})
            listed = await client.list_objects_v2(Bucket="bkt")
            assert {entry["Key"] for entry in listed["Contents"]} == {*(f"k{n}" for n in range(5)), "a b/+ü", "copy"}
            await client.delete_objects(Bucket="bkt", Delete={"Objects": [{"Key": "k0"}, {"Key": "copy"}]})
            assert (await client.list_objects_v2(Bucket="bkt"))["KeyCount"] == 5
    finally:
        server.stop()
