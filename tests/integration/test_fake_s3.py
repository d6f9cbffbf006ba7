"""The fake upstream is what it says: botocore can use it, and every trouble shows."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import zlib

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles.bodies import body_of, locate
from tests.doubles.fake_s3 import Call, FakeS3


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40), st.sampled_from([("a", 1), ("a", 2), ("b/ü", 1)]))
def test_any_sixteen_bytes_name_their_place(offset: int, source: tuple[str, int]) -> None:
    piece = body_of(*source, offset, offset + 16)
    assert locate(piece, [("a", 1), ("a", 2), ("b/ü", 1)]) == (*source, offset)


def test_a_body_is_the_same_however_it_is_cut() -> None:
    whole = body_of("k", 3, 0, 1000)
    assert all(body_of("k", 3, cut, 1000) == whole[cut:] for cut in range(1000))
    assert locate(b"x" * 16, [("k", 3)]) is None


async def test_a_client_library_can_use_it() -> None:
    async with FakeS3() as fake:
        config = AioConfig(s3={"addressing_style": "path"})
        session = AioSession()
        async with session.create_client(
            "s3",
            endpoint_url=fake.endpoint,
            region_name="us-east-1",
            aws_access_key_id="AK",
            aws_secret_access_key="SK",
            config=config,
        ) as client:
            await client.create_bucket(Bucket="b")
            await client.put_object(Bucket="b", Key="d/k +ü", Body=b"hello")
            answer = await client.get_object(Bucket="b", Key="d/k +ü", Range="bytes=1-3")
            assert await answer["Body"].read() == b"ell"
            assert answer["ContentRange"] == "bytes 1-3/5"
            upload = (await client.create_multipart_upload(Bucket="b", Key="m"))["UploadId"]
            parts = []
            for number, body in enumerate([b"one", b"two"], 1):
                part = await client.upload_part(Bucket="b", Key="m", UploadId=upload, PartNumber=number, Body=body)
                parts.append({"ETag": part["ETag"], "PartNumber": number})
            done = await client.complete_multipart_upload(
                Bucket="b", Key="m", UploadId=upload, MultipartUpload={"Parts": parts}
            )
            assert done["ETag"].endswith('-2"')
            await client.copy_object(Bucket="b", Key="c", CopySource={"Bucket": "b", "Key": "m"})
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket="b", Delimiter="/", PaginationConfig={"PageSize": 1}
            )
            listed = [page async for page in pages]
            assert [entry["Key"] for page in listed for entry in page.get("Contents", [])] == ["c", "m"]
            assert [entry["Prefix"] for page in listed for entry in page.get("CommonPrefixes", [])] == ["d/"]
            await client.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "c"}, {"Key": "m"}]})
            assert list(fake.shelf.buckets["b"]) == ["d/k +ü"]
            with pytest.raises(client.exceptions.NoSuchKey):
                await client.get_object(Bucket="b", Key="m")
            head = await client.head_object(Bucket="b", Key="d/k +ü", ChecksumMode="ENABLED")
            assert head["ChecksumCRC32"] == base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()


async def test_troubles_show() -> None:
    async with FakeS3() as fake, aiohttp.ClientSession() as session:
        stored = fake.shelf.generate("b", "k", 1000)
        url = f"{fake.endpoint}/b/k"
        fake.trouble(key="k", status=503, share=0.5)
        statuses = []
        for _ in range(4):
            async with session.get(url) as answer:
                statuses.append(answer.status)
        assert statuses == [200, 503, 200, 503]
        fake.calm()
        for reset in (False, True):
            fake.trouble(cut_after=10, times=1, reset=reset)
            async with session.get(url) as answer:
                with pytest.raises(aiohttp.ClientError):
                    await answer.read()
        fake.trouble(wrong="lied")
        async with session.get(url, headers={"Range": "bytes=0-15"}) as answer:
            assert answer.headers["Content-Range"] == "bytes 0-15/1000"
            assert locate(await answer.read(), [("k", stored.version)]) == ("k", stored.version, 1)
        assert fake.calls_of("GET", "k")[-1] == Call("GET", "b", "k", (0, 16), 206)


async def test_held_answers_wait() -> None:
    async with FakeS3() as fake, aiohttp.ClientSession() as session:
        fake.shelf.put("b", "k", b"body")
        async with fake.held("k"):
            readers = [asyncio.create_task(session.get(f"{fake.endpoint}/b/k")) for _ in range(3)]
            await fake.waiting("k", 3)
            assert not any(reader.done() for reader in readers)
        for reader in readers:
            async with await reader as answer:
                assert await answer.read() == b"body"


async def test_it_runs_as_a_process() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.doubles.fake_s3_process",
        "--data=b/k:2:1000",
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        at = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{at['endpoint']}/b/k0001") as answer:
                assert await answer.read() == body_of("k0001", 1, 0, 1000)
            async with session.post(f"{at['control']}/trouble", json={"key": "k0000", "status": 500}) as answer:
                assert answer.status == 200
            async with session.get(f"{at['endpoint']}/b/k0000") as answer:
                assert answer.status == 500
            async with session.get(f"{at['control']}/calls?key=k0000") as answer:
                assert await answer.json() == [["GET", "b", "k0000", None, 500]]
    finally:
        process.kill()
        await process.wait()
