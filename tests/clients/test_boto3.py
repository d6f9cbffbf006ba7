"""boto3, unmodified, as its users use it: objects, ranges, conditions, checksums, parts, copies, deletions."""

from __future__ import annotations

import datetime
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.clients.conftest import Read
from tests.doubles.bodies import body_of

pytestmark = pytest.mark.timeout(120)
MIB = 1 << 20


def fails(call: Any, **arguments: Any) -> tuple[int, str]:
    """Status and code of the error that the call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def facts(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says of the object: the same from upstream and from every node."""
    gone = {"ResponseMetadata", "Body", "AcceptRanges"}
    told = {name: value for name, value in answer.items() if name not in gone}
    return told | {"Metadata": {name.lower(): value for name, value in told["Metadata"].items()}}  # as S3 spells them


def test_what_is_put_is_got_everywhere(clients: list[Any], direct: Any, bucket: str, read: Read) -> None:
    body = body_of("k", 1, 0, 3 * MIB + 17)
    clients[0].put_object(
        Bucket=bucket, Key="k", Body=body, ContentType="application/x-test", Metadata={"name": "a b; c"}
    )
    told = facts(direct.get_object(Bucket=bucket, Key="k"))
    for client in clients * 2:
        answer = client.get_object(Bucket=bucket, Key="k")
        assert answer["Body"].read() == body
        assert facts(answer) == told
        head = {"Bucket": bucket, "Key": "k", "ChecksumMode": "ENABLED"}
        assert facts(client.head_object(**head)) == facts(direct.head_object(**head))
        assert answer["ContentType"] == "application/x-test"
        assert answer["Metadata"]["name"] == "a b; c"


def test_an_overwrite_through_one_node_is_read_through_the_other_at_once(
    clients: list[Any], bucket: str, read: Read
) -> None:
    for turn in range(20):
        body = body_of("k", turn, 0, 100_000 + turn)
        clients[turn % 2].put_object(Bucket=bucket, Key="k", Body=body)
        assert [read(client, bucket, "k") == body for client in (*reversed(clients), *clients)] == [True] * 4
    clients[0].delete_object(Bucket=bucket, Key="k")
    for client in clients:
        assert fails(client.get_object, Bucket=bucket, Key="k") == (404, "NoSuchKey")
    clients[1].put_object(Bucket=bucket, Key="k", Body=b"back")
    assert [read(client, bucket, "k") for client in clients] == [b"back"] * 2


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, 2 * MIB + 5])
def test_sizes(clients: list[Any], bucket: str, read: Read, size: int) -> None:
    body = body_of("s", 1, 0, size) if size else b""
    clients[1].put_object(Bucket=bucket, Key="s", Body=body)
    for client in clients * 2:
        assert client.head_object(Bucket=bucket, Key="s")["ContentLength"] == size
        assert read(client, bucket, "s") == body


def test_ranges(clients: list[Any], bucket: str) -> None:
    size = 2 * MIB + 100
    body = body_of("r", 1, 0, size)
    clients[0].put_object(Bucket=bucket, Key="r", Body=body)
    spans = {
        "bytes=0-0": (0, 1), "bytes=5-9": (5, 10), f"bytes={MIB - 3}-{MIB + 3}": (MIB - 3, MIB + 4),
        f"bytes={2 * MIB}-": (2 * MIB, size), "bytes=-7": (size - 7, size), f"bytes=10-{size * 9}": (10, size),
        f"bytes=-{size * 2}": (0, size),
    }  # fmt: skip
    for client in clients * 2:
        for asked, (start, stop) in spans.items():
            answer = client.get_object(Bucket=bucket, Key="r", Range=asked)
            assert answer["ContentRange"] == f"bytes {start}-{stop - 1}/{size}"
            assert (answer["ContentLength"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (stop - start, 206)
            assert not [name for name in answer if name.startswith("Checksum")]
            assert answer["Body"].read() == body[start:stop]
            head = client.head_object(Bucket=bucket, Key="r", Range=asked)
            assert head["ContentLength"] == stop - start
        assert fails(client.get_object, Bucket=bucket, Key="r", Range=f"bytes={size}-") == (416, "InvalidRange")


def test_conditions(clients: list[Any], bucket: str) -> None:
    etag = clients[0].put_object(Bucket=bucket, Key="c", Body=b"conditional")["ETag"]
    name = {"Bucket": bucket, "Key": "c"}
    modified = clients[0].head_object(**name)["LastModified"]
    before, after = modified - datetime.timedelta(hours=1), modified + datetime.timedelta(seconds=1)
    for client in clients * 2:
        for call in (client.get_object, client.head_object):
            assert call(**name, IfMatch=etag)["ETag"] == etag
            assert call(**name, IfNoneMatch='"other"')["ETag"] == etag
            assert call(**name, IfModifiedSince=before)["ETag"] == etag
            assert call(**name, IfUnmodifiedSince=after)["ETag"] == etag
            assert fails(call, **name, IfNoneMatch=etag)[0] == 304
            assert fails(call, **name, IfModifiedSince=after)[0] == 304
            assert fails(call, **name, IfMatch='"other"')[0] == 412
            assert fails(call, **name, IfUnmodifiedSince=before)[0] == 412
        assert fails(client.get_object, **name, IfMatch='"other"') == (412, "PreconditionFailed")


def test_a_write_on_condition(clients: list[Any], bucket: str, read: Read, only_moto: None) -> None:
    clients[0].put_object(Bucket=bucket, Key="once", Body=b"first", IfNoneMatch="*")
    refused = fails(clients[1].put_object, Bucket=bucket, Key="once", Body=b"second", IfNoneMatch="*")
    assert refused == (412, "PreconditionFailed")
    assert read(clients[1], bucket, "once") == b"first"


def test_a_compressed_object_is_left_as_it_is(clients: list[Any], bucket: str, read: Read, only_moto: None) -> None:
    body = gzip.compress(b"text " * 1000)
    clients[0].put_object(Bucket=bucket, Key="z", Body=body, ContentEncoding="gzip", CacheControl="no-cache")
    for client in clients * 2:
        answer = client.get_object(Bucket=bucket, Key="z")
        assert (answer["ContentEncoding"], answer["CacheControl"]) == ("gzip", "no-cache")
        assert answer["Body"].read() == body


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"])
def test_checksums(clients: list[Any], bucket: str, read: Read, algorithm: str) -> None:
    body = body_of("sum", 1, 0, 300_000)
    clients[0].put_object(Bucket=bucket, Key="sum", Body=body, ChecksumAlgorithm=algorithm)
    for client in clients * 2:
        assert client.get_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")["Body"].read() == body
        head = client.get_object(Bucket=bucket, Key="sum", Range="bytes=0-9", ChecksumMode="ENABLED")
        assert head["Body"].read() == body[:10]


def test_a_wrong_checksum_is_refused(clients: list[Any], bucket: str) -> None:
    refused = fails(clients[0].put_object, Bucket=bucket, Key="sum", Body=b"body", ChecksumCRC32="AAAAAA==")
    assert refused == (400, "BadDigest")
    refused = fails(clients[0].put_object, Bucket=bucket, Key="sum", Body=b"body", ContentMD5="A" * 22 + "==")
    assert refused[0] == 400
    assert fails(clients[1].head_object, Bucket=bucket, Key="sum")[0] == 404


def test_files_in_parts(clients: list[Any], bucket: str, tmp_path: Path) -> None:
    body = os.urandom(17 * MIB + 3)
    (tmp_path / "up").write_bytes(body)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    for turn, client in enumerate(clients):
        client.upload_file(str(tmp_path / "up"), bucket, f"big{turn}", Config=parts)
        for reader in clients:
            reader.download_file(bucket, f"big{turn}", str(tmp_path / "down"), Config=parts)
            assert (tmp_path / "down").read_bytes() == body


def test_parts_by_hand(clients: list[Any], bucket: str, read: Read, only_moto: None) -> None:
    upload = {"Bucket": bucket, "Key": "parts"}
    upload["UploadId"] = clients[0].create_multipart_upload(**upload, ContentType="x/y")["UploadId"]
    bodies = [body_of("parts", number, 0, 5 * MIB) for number in (1, 2)] + [b"tail"]
    etags = [
        clients[number % 2].upload_part(**upload, PartNumber=number, Body=body)["ETag"]
        for number, body in enumerate(bodies, start=1)
    ]
    assert len(clients[1].list_parts(**upload)["Parts"]) == 3
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
    assert fails(clients[0].get_object, Bucket=bucket, Key="parts") == (404, "NoSuchKey")
    clients[1].complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    for client in clients:
        assert read(client, bucket, "parts") == b"".join(bodies)
        assert client.head_object(Bucket=bucket, Key="parts")["ContentType"] == "x/y"
    dropped = clients[0].create_multipart_upload(Bucket=bucket, Key="dropped")["UploadId"]
    clients[1].abort_multipart_upload(Bucket=bucket, Key="dropped", UploadId=dropped)
    assert not clients[0].list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_copies(clients: list[Any], bucket: str, read: Read) -> None:
    for turn in range(3):
        body = body_of("from", turn, 0, 400_000)
        clients[0].put_object(Bucket=bucket, Key="from here +ü", Body=body)
        copied = clients[1].copy_object(
            Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from here +ü"}
        )  # fmt: skip
        assert copied["CopyObjectResult"]["ETag"]
        assert [read(client, bucket, "to") == body for client in clients] == [True, True]
    absent = fails(clients[0].copy_object, Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": "absent"})
    assert absent == (404, "NoSuchKey")


def test_many_deleted_at_once(clients: list[Any], bucket: str, read: Read) -> None:
    keys = [f"d/{number} +&<ü" for number in range(12)]
    for key in keys:
        clients[0].put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert [read(clients[1], bucket, key) for key in keys] == [key.encode() for key in keys]
    told = clients[1].delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys[:10]]})
    assert {each["Key"] for each in told["Deleted"]} == set(keys[:10])
    for client in clients:
        assert [fails(client.get_object, Bucket=bucket, Key=key) for key in keys[:10]] == [(404, "NoSuchKey")] * 10
        assert [each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]] == sorted(keys[10:])


def test_tags(clients: list[Any], bucket: str, only_moto: None) -> None:
    clients[0].put_object(Bucket=bucket, Key="t", Body=b"tagged", Tagging="a=1&b=x%20y")
    for client in clients:
        tags = {each["Key"]: each["Value"] for each in client.get_object_tagging(Bucket=bucket, Key="t")["TagSet"]}
        assert tags == {"a": "1", "b": "x y"}
        assert client.get_object(Bucket=bucket, Key="t")["TagCount"] == 2
    clients[1].put_object_tagging(Bucket=bucket, Key="t", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    assert [client.get_object(Bucket=bucket, Key="t")["TagCount"] for client in clients] == [1, 1]


def test_versions(clients: list[Any], bucket: str, only_moto: None) -> None:
    clients[0].put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [
        clients[number % 2].put_object(Bucket=bucket, Key="v", Body=b"%d" % number)["VersionId"]
        for number in range(4)
    ]  # fmt: skip
    for client in clients * 2:
        bodies = [client.get_object(Bucket=bucket, Key="v", VersionId=each)["Body"].read() for each in ids]
        assert bodies == [b"0", b"1", b"2", b"3"]
        assert client.get_object(Bucket=bucket, Key="v")["Body"].read() == b"3"
        assert client.get_object(Bucket=bucket, Key="v")["VersionId"] == ids[3]
    clients[1].delete_object(Bucket=bucket, Key="v", VersionId=ids[3])
    assert [client.get_object(Bucket=bucket, Key="v")["Body"].read() for client in clients] == [b"2", b"2"]
    assert fails(clients[0].get_object, Bucket=bucket, Key="v", VersionId=ids[3])[0] == 404
