"""aiobotocore, unmodified: many requests at once, streams read in pieces, writes seen through the other node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from tests.cluster import ACCESS_KEY, SECRET_KEY, Cluster
from tests.doubles.bodies import body_of

pytestmark = pytest.mark.timeout(120)
MIB = 1 << 20


@pytest.fixture
async def nodes(cluster: Cluster) -> AsyncIterator[list[Any]]:
    """A client for each node."""
    async with AsyncExitStack() as stack:
        keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
        yield [
            await stack.enter_async_context(get_session().create_client("s3", endpoint_url=node.endpoint, **keys))
            for node in cluster.nodes
        ]


async def read(client: Any, bucket: str, key: str, **more: Any) -> bytes:
    answer = await client.get_object(Bucket=bucket, Key=key, **more)
    async with answer["Body"] as stream:
        data: bytes = await stream.read()
        return data


async def test_many_at_once(nodes: list[Any], bucket: str) -> None:
    bodies = {f"k{number}": body_of(f"k{number}", 1, 0, 200_000 * number) for number in range(1, 16)}
    writers = zip(nodes * 8, bodies.items(), strict=False)
    await asyncio.gather(*(node.put_object(Bucket=bucket, Key=key, Body=body) for node, (key, body) in writers))
    for _ in range(2):
        got = await asyncio.gather(*(read(client, bucket, key) for client in nodes for key in bodies))
        assert got == list(bodies.values()) * 2
    ranges = await asyncio.gather(
        *(read(client, bucket, key, Range="bytes=1000-1999") for client in nodes for key in bodies)
    )
    assert ranges == [body[1000:2000] for body in bodies.values()] * 2
    pages = nodes[0].get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 4})
    assert {each["Key"] async for page in pages for each in page["Contents"]} == set(bodies)


async def test_a_stream_in_pieces(nodes: list[Any], bucket: str) -> None:
    body = body_of("s", 1, 0, 5 * MIB + 3)
    await nodes[0].put_object(Bucket=bucket, Key="s", Body=body)
    for client in nodes:
        answer = await client.get_object(Bucket=bucket, Key="s")
        assert b"".join([piece async for piece in answer["Body"].iter_chunks(100_000)]) == body
        left = await client.get_object(Bucket=bucket, Key="s")
        assert await left["Body"].read(10) == body[:10]
        left["Body"].close()
        assert await read(client, bucket, "s") == body


async def test_overwrite_and_delete(nodes: list[Any], bucket: str) -> None:
    for turn in range(10):
        body = body_of("o", turn, 0, 70_000)
        await nodes[turn % 2].put_object(Bucket=bucket, Key="o", Body=body)
        assert await asyncio.gather(*(read(client, bucket, "o") for client in nodes * 2)) == [body] * 4
    await nodes[0].delete_object(Bucket=bucket, Key="o")
    for client in nodes:
        with pytest.raises(client.exceptions.NoSuchKey):
            await read(client, bucket, "o")
        with pytest.raises(ClientError, match="NoSuchBucket"):
            await read(client, "no-such-bucket", "o")
