"""Uploads as SDKs send them over TLS or with older signers: aws-chunked, signed chunks, trailers."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest

from tests.clients.conftest import Read
from tests.clients.signing import Signed
from tests.cluster import ACCESS_KEY, SECRET_KEY, Cluster
from tests.doubles.bodies import body_of

pytestmark = pytest.mark.timeout(120)
SIZES = [0, 1, 65_536, 1_300_000]


def upload(cluster: Cluster, bucket: str, payload: str, body: bytes, *, trailer: bool = False) -> Signed:
    """A signed head for ``body`` under the key ``k``."""
    headers = {"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": str(len(body))}
    if trailer:
        headers["X-Amz-Trailer"] = "x-amz-checksum-crc32"
    put = Signed(f"{cluster.nodes[0].endpoint}/{bucket}/k", ACCESS_KEY, SECRET_KEY, payload, headers)
    put.sign()
    return put


def crc32(body: bytes) -> str:
    return f"x-amz-checksum-crc32:{base64.b64encode(zlib.crc32(body).to_bytes(4, 'big')).decode()}"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("trailer", [False, True], ids=["plain", "trailer"])
def test_signed_chunks(
    cluster: Cluster, clients: list[Any], direct: Any, bucket: str, read: Read, *, size: int, trailer: bool
) -> None:
    body = body_of("k", 1, 0, size) if size else b""
    mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    put = upload(cluster, bucket, mode, body, trailer=trailer)
    status, document = put.send(put.chunked(body, [65_536, 8_192, 100_001, 1], crc32(body) if trailer else ""))
    assert (status, document) == (200, b""), document
    assert [read(client, bucket, "k") == body for client in (direct, *clients)] == [True] * 3
    assert direct.head_object(Bucket=bucket, Key="k").get("ContentEncoding", "") in {"", "aws-chunked"}


@pytest.mark.parametrize("size", SIZES)
def test_unsigned_with_a_trailer(
    cluster: Cluster, clients: list[Any], direct: Any, bucket: str, read: Read, size: int
) -> None:
    body = body_of("k", 1, 0, size) if size else b""
    put = upload(cluster, bucket, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body, trailer=True)
    framed = (b"%x\r\n%s\r\n" % (size, body) if body else b"") + f"0\r\n{crc32(body)}\r\n\r\n".encode()
    assert put.send(framed) == (200, b"")
    assert [read(client, bucket, "k") == body for client in (direct, *clients)] == [True] * 3


def test_what_is_wrong_is_never_stored(cluster: Cluster, clients: list[Any], bucket: str, read: Read) -> None:
    body = body_of("k", 1, 0, 400_000)
    clients[0].put_object(Bucket=bucket, Key="k", Body=b"as it was")
    signed = upload(cluster, bucket, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", body)
    raw = bytearray(signed.chunked(body, [65_536] * 6))
    raw[300_000] ^= 1
    status, document = signed.send(bytes(raw))
    assert (status, b"SignatureDoesNotMatch" in document) == (403, True)
    unsigned = upload(cluster, bucket, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body, trailer=True)
    framed = b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(body), body, crc32(b"another").encode())
    status, document = unsigned.send(framed)
    assert (status, b"BadDigest" in document) == (400, True)
    assert [read(client, bucket, "k") for client in clients] == [b"as it was"] * 2
