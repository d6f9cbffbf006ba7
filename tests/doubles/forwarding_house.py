"""A small door before a fake upstream, and clients of every kind that knock: what the forwarding tests live in."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from yarl import URL

from cache.tally import Tally
from cache.versions import ByteSpan, ObjectRef, ObjectVersion
from gateway.exchange import Address
from gateway.forward import Forwarder
from gateway.s3.canonical import derived_key, seal
from gateway.s3.sigv4 import EMPTY_SHA256, Credentials, sign
from gateway.upstream import Patience, Upstream
from tests.doubles.fake_s3 import FakeS3
from tests.doubles.forwarding_door import ForwardingDoor
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


@contextlib.asynccontextmanager
async def library(endpoint: str, **s3: Any) -> AsyncIterator[Any]:
    config = AioConfig(s3={"addressing_style": "path", **s3}, retries={"max_attempts": 1})
    async with AioSession().create_client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="AKCLIENT",
        aws_secret_access_key="secret-client", config=config,
    ) as client:  # fmt: skip
        yield client


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


async def read_span(
    upstream: Upstream, version: ObjectVersion, span: ByteSpan, received: list[bytes] | None = None
) -> bytes:
    """All of a fetch; what came before a fault is in ``received``."""
    received = [] if received is None else received
    async with upstream.fetch(version, span) as pieces:
        async for piece in pieces:
            received.append(piece)
    return b"".join(received)
