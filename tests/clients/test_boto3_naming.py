"""How boto3 names things: path and virtual-host style, presigned URLs, session tokens, odd keys, listings, errors."""

from __future__ import annotations

import itertools
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.clients.conftest import SESSION_TOKEN, Read, Upstream
from tests.cluster import ACCESS_KEY, SECRET_KEY, Cluster
from tests.doubles.bodies import body_of

pytestmark = pytest.mark.timeout(120)
KEYS = [
    "a b", "a+b", "a%20b", "ü/é/日本", "q?x=1&y#z", "(paren)'quote'!*", "tab\tkey", "a=b;c,d@e:f$g", "~tilde",
    "\U0001f600", "k" * 200 + "/" + "é" * 100 + "/" + "x" * 199,
]  # fmt: skip
PATH_KEYS = ["/leading", "a//b", "trailing/", "..", "../up", "a/../b", "./here", "a/./b", "k" * 1000, "<&>\"'"]


@contextmanager
def localhost_names() -> Iterator[None]:
    """``*.localhost`` resolves in this process, as it does where a resolver follows RFC 6761."""
    ask = socket.getaddrinfo

    def answer(host: Any, *more: Any, **options: Any) -> Any:
        return ask("127.0.0.1" if str(host).endswith(".localhost") else host, *more, **options)

    socket.getaddrinfo = answer
    try:
        yield
    finally:
        socket.getaddrinfo = ask


def virtual(cluster: Cluster, number: int) -> Any:
    """A client that puts the bucket into the host name."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://localhost:{cluster.nodes[number].port}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "virtual"},
            signature_version="s3v4",
            retries={"max_attempts": 1, "mode": "standard"},
        ),
    )


def test_the_bucket_in_the_host_name(cluster: Cluster, clients: list[Any], bucket: str, read: Read) -> None:
    with localhost_names():
        client, body = virtual(cluster, 0), body_of("v", 1, 0, 2_500_000)
        hosts = []
        client.meta.events.register("before-send.s3.*", lambda request, **_: hosts.append(request.url))
        for key in ("plain", "a b/+ü", f"{bucket}/nested"):
            client.put_object(Bucket=bucket, Key=key, Body=body)
            assert read(client, bucket, key) == body
            assert [read(each, bucket, key) == body for each in clients] == [True, True]
            assert read(virtual(cluster, 1), bucket, key) == body
        assert all(url.startswith(f"http://{bucket}.localhost:") for url in hosts)
        keys = [each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]]
        assert keys == ["a b/+ü", f"{bucket}/nested", "plain"]
        url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/+ü"})
        assert fetch(url) == (200, body)
        client.delete_object(Bucket=bucket, Key="plain")
    with pytest.raises(ClientError, match="NoSuchKey"):
        read(clients[1], bucket, "plain")


def fetch(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body of a plain HTTP request."""
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("key", ["plain", "a b/+ü é%20?&"])
def test_presigned(clients: list[Any], bucket: str, read: Read, key: str) -> None:
    name = {"Bucket": bucket, "Key": key}
    body = body_of("p", 1, 0, 1_200_000)
    put = clients[0].generate_presigned_url("put_object", name | {"ContentType": "x/y"}, ExpiresIn=60)
    status, answer = fetch(put, "PUT", body, **{"Content-Type": "x/y"})
    assert (status, answer) == (200, b"")
    for client in clients * 2:
        url = client.generate_presigned_url("get_object", name, ExpiresIn=60)
        assert fetch(url) == (200, body)
        assert fetch(url, Range="bytes=1000-1999") == (206, body[1000:2000])
        head = client.generate_presigned_url("head_object", name, ExpiresIn=60)
        assert fetch(head, "HEAD") == (200, b"")
        assert fetch(url[:-1] + ("0" if url[-1] != "0" else "1"))[0] == 403
        assert b"SignatureDoesNotMatch" in fetch(url.replace("X-Amz-Expires=60", "X-Amz-Expires=61"))[1]
    told = clients[0].generate_presigned_url("get_object", name | {"ResponseContentType": "text/odd"})
    with urllib.request.urlopen(told, timeout=30) as answer_:
        assert answer_.headers["content-type"] == "text/odd"
    assert fetch(clients[1].generate_presigned_url("delete_object", name), "DELETE")[0] == 204
    assert fetch(clients[0].generate_presigned_url("get_object", name))[0] == 404


def test_the_old_signature_is_refused_by_name(cluster: Cluster, bucket: str) -> None:
    """What boto3 presigns with in us-east-1 unless it is told ``signature_version="s3v4"``."""
    url = cluster.boto3(0).generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    assert "AWSAccessKeyId=" in url
    status, document = fetch(url)
    assert status == 400
    assert b"Please use AWS4-HMAC-SHA256" in document


def test_a_session_token(cluster: Cluster, bucket: str, read: Read) -> None:
    def client(token: str | None) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=cluster.nodes[0].endpoint,
            aws_access_key_id="SESSIONKEY",
            aws_secret_access_key="session-secret-key",
            aws_session_token=token,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", retries={"max_attempts": 1, "mode": "standard"}),
        )

    client(SESSION_TOKEN).put_object(Bucket=bucket, Key="s", Body=b"of a session")
    assert read(client(SESSION_TOKEN), bucket, "s") == b"of a session"
    url = client(SESSION_TOKEN).generate_presigned_url("get_object", {"Bucket": bucket, "Key": "s"})
    assert fetch(url) == (200, b"of a session")
    for wrong in ("another", None):
        with pytest.raises(ClientError, match=r"InvalidToken|InvalidAccessKeyId|AccessDenied"):
            read(client(wrong), bucket, "s")


def names(client: Any, bucket: str, key: str, body: bytes) -> list[bytes | None]:
    """What a client finds under the key, by GET, by range, and by a listing of its own prefix."""
    listed = client.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
    return [
        client.get_object(Bucket=bucket, Key=key)["Body"].read(),
        client.get_object(Bucket=bucket, Key=key, Range="bytes=1-")["Body"].read(),
        body if key in {each["Key"] for each in listed} else None,
    ]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_odd_keys(clients: list[Any], direct: Any, bucket: str, read: Read, key: str) -> None:
    body = key.encode()
    clients[0].put_object(Bucket=bucket, Key=key, Body=body)
    assert read(direct, bucket, key) == body
    for client in clients * 2:
        assert names(client, bucket, key, body) == [body, body[1:], body]


@pytest.mark.parametrize("key", PATH_KEYS, ids=range(len(PATH_KEYS)))
def test_keys_that_are_no_file_names(
    clients: list[Any], direct: Any, bucket: str, read: Read, key: str, only_moto: None
) -> None:  # fmt: skip
    body = key.encode() + b" is"
    clients[0].put_object(Bucket=bucket, Key=key, Body=body)
    assert read(direct, bucket, key) == body
    for client in clients * 2:
        assert names(client, bucket, key, body) == [body, body[1:], body]


def pages(client: Any, operation: str, **arguments: Any) -> list[Any]:
    """Keys and common prefixes, page by page."""
    return [
        (
            [each["Key"] for each in page.get("Contents", [])],
            [each["Prefix"] for each in page.get("CommonPrefixes", [])],
        )
        for page in client.get_paginator(operation).paginate(**arguments)
    ]


def test_listings_are_upstreams(clients: list[Any], direct: Any, bucket: str) -> None:
    for key in (
        f"{folder}/{name}{number:02}" for folder in ("a b", "ü+") for name in ("x &", "y") for number in range(6)
    ):
        clients[0].put_object(Bucket=bucket, Key=key, Body=key.encode())
    folder, few = {"Prefix": "ü+/", "Delimiter": "/"}, {"PaginationConfig": {"PageSize": 5}}
    asked: list[dict[str, Any]] = [{}, few, {"Delimiter": "/"}, folder, {"Prefix": "a b/x &0"}]
    for operation, more in itertools.product(("list_objects", "list_objects_v2"), asked):
        told = pages(direct, operation, Bucket=bucket, **more)
        for client in clients:
            assert pages(client, operation, Bucket=bucket, **more) == told
    assert sum(len(keys) for keys, _ in pages(clients[0], "list_objects_v2", Bucket=bucket)) == 24
    assert {each["Name"] for each in clients[1].list_buckets()["Buckets"]} >= {bucket}


def fails(call: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_errors_carry_their_codes(cluster: Cluster, clients: list[Any], upstream: Upstream, bucket: str) -> None:
    absent = {"Bucket": bucket, "Key": "absent"}
    for client in clients * 2:
        assert fails(client.get_object, **absent) == (404, "NoSuchKey")
        assert fails(client.get_object, **absent, Range="bytes=0-1") == (404, "NoSuchKey")
        assert fails(client.head_object, **absent) == (404, "404")
        assert fails(client.get_object, Bucket="no-such-bucket", Key="k") == (404, "NoSuchBucket")
        assert fails(client.list_objects_v2, Bucket="no-such-bucket") == (404, "NoSuchBucket")
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(**absent)
    stranger = cluster.boto3(0, access_key="NOBODYKNOWSME")
    assert fails(stranger.get_object, **absent) == (403, "InvalidAccessKeyId")
    liar = cluster.boto3(1, secret_key="another-secret")
    assert fails(liar.get_object, **absent) == (403, "SignatureDoesNotMatch")
    assert fails(liar.put_object, **absent, Body=b"x" * 100_000) == (403, "SignatureDoesNotMatch")
    limited = cluster.boto3(0, access_key="LIMITEDKEY", secret_key="limited-secret-key")
    assert fails(limited.get_object, **absent) == (403, "AccessDenied")
    assert fails(limited.put_object, **absent, Body=b"body") == (403, "AccessDenied")
    assert fails(limited.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
    assert fails(limited.head_object, **absent)[0] == 403


def test_a_limited_identity_reads_what_it_may(cluster: Cluster, clients: list[Any], read: Read) -> None:
    clients[0].create_bucket(Bucket="open-data")
    clients[0].put_object(Bucket="open-data", Key="public/a", Body=b"for all")
    clients[0].put_object(Bucket="open-data", Key="private/a", Body=b"for few")
    assert read(clients[0], "open-data", "private/a") == b"for few"
    limited = cluster.boto3(1, access_key="LIMITEDKEY", secret_key="limited-secret-key")
    assert read(limited, "open-data", "public/a") == b"for all"
    listed = limited.list_objects_v2(Bucket="open-data", Prefix="public/")["Contents"]
    assert [each["Key"] for each in listed] == ["public/a"]
    assert fails(limited.get_object, Bucket="open-data", Key="private/a") == (403, "AccessDenied")
    assert fails(limited.list_objects_v2, Bucket="open-data") == (403, "AccessDenied")
    assert fails(limited.delete_object, Bucket="open-data", Key="public/a") == (403, "AccessDenied")
    source = {"Bucket": "open-data", "Key": "private/a"}
    assert fails(limited.copy_object, Bucket="open-data", Key="public/b", CopySource=source) == (403, "AccessDenied")
