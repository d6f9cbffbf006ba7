"""Forwarding over real sockets, a fake S3 behind it: what is passed on, what is told, and when."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import time
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError
from yarl import URL

from cache.faults import UpstreamBroken, UpstreamUnreachable
from cache.tally import Count, Tally
from cache.versions import ObjectRef
from gateway.exchange import Address
from gateway.forward import Forwarder
from gateway.s3.operations import classify
from gateway.s3.requests import parse_request
from gateway.s3.sigv4 import presign
from gateway.upstream import Patience, Upstream
from tests.doubles.bodies import body_of
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.forwarding_door import ForwardingDoor
from tests.doubles.forwarding_house import CLIENT, KEYS, MIB, MODES, QUICK, House, Told, house_on, library, put
from tests.doubles.raw_upstream import RawUpstream

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


async def test_a_writer_that_leaves_does_not_end_the_invalidation(fake: FakeS3) -> None:
    told = Told()
    told.gate.clear()
    request = parse_request("DELETE", b"/bkt/k", [(b"host", b"h")], ())
    async with Upstream(Address(fake.endpoint), Tally(), credentials=KEYS, patience=QUICK) as upstream:
        forwarder = Forwarder(upstream, told)
        writer = asyncio.create_task(forwarder.forward(request, classify(request), None, None, may=lambda *_: True))
        await told.began.wait()
        writer.cancel()
        await asyncio.sleep(0)
        told.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await writer
    assert told.refs == [ObjectRef("bkt", "k")]


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
