"""The writing half of the fake S3: bodies as they come (plain or aws-chunked, checked), puts, parts, deletes."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.sax.saxutils import escape, unescape

from tests.doubles.fake_s3_reads import XML, Reply, error
from tests.doubles.shelf import Shelf, Upload, checksum_of

if TYPE_CHECKING:
    from tests.doubles.fake_s3 import Seen

_KEPT = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires")
_ALGORITHMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")


def _unchunk(raw: bytes) -> tuple[bytes, dict[str, str]] | None:
    """An aws-chunked body and its trailers; None when it is malformed or cut."""
    body, position = bytearray(), 0
    while True:
        line_end = raw.find(b"\r\n", position)
        if line_end < 0:
            return None
        try:
            size = int(raw[position:line_end].split(b";")[0], 16)
        except ValueError:
            return None
        position = line_end + 2
        if size == 0:
            break
        if raw[position + size : position + size + 2] != b"\r\n":
            return None
        body += raw[position : position + size]
        position += size + 2
    pairs = [line.split(":", 1) for line in raw[position:].decode().split("\r\n") if ":" in line]
    return bytes(body), {name.strip().lower(): value.strip() for name, value in pairs}


def check_body(seen: Seen) -> Reply | None:
    """Decode the body in place and check every hash the client announced; an error reply, or None."""
    seen.raw_length = len(seen.body)
    announced = seen.headers.get("x-amz-content-sha256", "")
    if announced.startswith("STREAMING-"):
        decoded = _unchunk(seen.body)
        if decoded is None or str(len(decoded[0])) != seen.headers.get("x-amz-decoded-content-length"):
            return error(400, "IncompleteBody")
        seen.body, trailers = decoded
        if set(trailers) - {"x-amz-trailer-signature"} != set(filter(None, [seen.headers.get("x-amz-trailer", "")])):
            return error(400, "MalformedTrailerError")
        seen.headers |= trailers
    elif re.fullmatch("[0-9a-f]{64}", announced) and hashlib.sha256(seen.body).hexdigest() != announced:
        return error(400, "XAmzContentSHA256Mismatch")
    md5 = seen.headers.get("content-md5")
    if md5 is not None and base64.b64encode(hashlib.md5(seen.body).digest()).decode() != md5:
        return error(400, "BadDigest")
    for name in _ALGORITHMS:
        told = seen.headers.get(f"x-amz-checksum-{name}")
        if told is not None and "uploadId" not in seen.query and told != checksum_of(name, seen.body):
            return error(400, "BadDigest")
    return None


def _metadata(seen: Seen) -> dict[str, str]:
    kept = {name: seen.headers[name] for name in _KEPT if name in seen.headers}
    if "content-encoding" in kept:
        codings = [coding.strip() for coding in kept["content-encoding"].split(",")]
        kept["content-encoding"] = ",".join(coding for coding in codings if coding != "aws-chunked")
        if not kept["content-encoding"]:
            del kept["content-encoding"]
    meta = {name: value for name, value in seen.headers.items() if name.startswith("x-amz-meta-")}
    sums = {f"x-amz-checksum-{name}" for name in _ALGORITHMS} & set(seen.headers)
    return kept | meta | {name: seen.headers[name] for name in sums}


def _put(shelf: Shelf, seen: Seen) -> Reply:
    held = shelf.find(seen.bucket, seen.key)
    if seen.headers.get("if-none-match") == "*" and held is not None:
        return error(412, "PreconditionFailed")
    if "if-match" in seen.headers and (held is None or seen.headers["if-match"] != held.etag):
        return error(412, "PreconditionFailed")
    stored = shelf.put(seen.bucket, seen.key, seen.body, _metadata(seen))
    headers = {"etag": stored.etag, **stored.checksums}
    return Reply(200, headers | ({"x-amz-version-id": stored.version_id} if stored.version_id else {}))


def _part(shelf: Shelf, seen: Seen) -> Reply:
    upload = shelf.uploads.get(seen.query["uploadId"])
    if upload is None:
        return error(404, "NoSuchUpload")
    body = seen.body
    if "x-amz-copy-source" in seen.headers:
        source = _source(shelf, seen)
        if source is None:
            return error(404, "NoSuchKey")
        first, last = re.findall(r"\d+", seen.headers.get("x-amz-copy-source-range", "")) or (0, len(source) - 1)
        body = source[int(first) : int(last) + 1]
    upload.parts[int(seen.query["partNumber"])] = body
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    if "x-amz-copy-source" in seen.headers:
        return Reply(200, dict(XML), f"<CopyPartResult><ETag>{escape(etag)}</ETag></CopyPartResult>".encode())
    return Reply(200, {"etag": etag})


def _source(shelf: Shelf, seen: Seen) -> bytes | None:
    name, _, version = seen.headers["x-amz-copy-source"].partition("?versionId=")
    bucket, _, key = unquote(name).removeprefix("/").partition("/")
    stored = shelf.find(bucket, key, version)
    return None if stored is None else stored.read(0, stored.size)


def _copy(shelf: Shelf, seen: Seen) -> Reply:
    source = _source(shelf, seen)
    if source is None:
        return error(404, "NoSuchKey")
    stored = shelf.put(seen.bucket, seen.key, source, _metadata(seen))
    text = f"<CopyObjectResult><ETag>{escape(stored.etag)}</ETag></CopyObjectResult>"
    return Reply(200, dict(XML), text.encode())


def _create_upload(shelf: Shelf, seen: Seen) -> Reply:
    upload_id = f"upload-{len(shelf.uploads) + 1}-{seen.key.encode().hex()[:16]}"
    shelf.uploads[upload_id] = Upload(seen.bucket, seen.key, _metadata(seen))
    text = (
        f"<InitiateMultipartUploadResult><Bucket>{escape(seen.bucket)}</Bucket><Key>{escape(seen.key)}</Key>"
        f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
    )
    return Reply(200, dict(XML), text.encode())


def _complete(shelf: Shelf, seen: Seen) -> Reply:
    numbers = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", seen.body.decode())]
    try:
        stored = shelf.complete(seen.query["uploadId"], numbers)
    except KeyError:
        return error(404, "NoSuchUpload")
    text = (
        f"<CompleteMultipartUploadResult><Bucket>{escape(seen.bucket)}</Bucket><Key>{escape(seen.key)}</Key>"
        f"<ETag>{escape(stored.etag)}</ETag></CompleteMultipartUploadResult>"
    )
    return Reply(200, dict(XML), text.encode())


def _put_any(shelf: Shelf, seen: Seen) -> Reply:
    if "uploadId" in seen.query:
        return _part(shelf, seen)
    return _copy(shelf, seen) if "x-amz-copy-source" in seen.headers else _put(shelf, seen)


def _post(shelf: Shelf, seen: Seen) -> Reply:
    if "uploads" in seen.query:
        return _create_upload(shelf, seen)
    return _complete(shelf, seen) if "uploadId" in seen.query else error(405, "MethodNotAllowed")


def _delete(shelf: Shelf, seen: Seen) -> Reply:
    if "uploadId" in seen.query:
        return Reply(204) if shelf.uploads.pop(seen.query["uploadId"], None) else error(404, "NoSuchUpload")
    shelf.delete(seen.bucket, seen.key)
    return Reply(204)


_ACTS = {"PUT": _put_any, "POST": _post, "DELETE": _delete}


def act_on_key(shelf: Shelf, seen: Seen) -> Reply:
    """PUT, POST or DELETE on a key, with whatever sub-resource."""
    if "tagging" in seen.query:
        return Reply(204 if seen.method == "DELETE" else 200)
    act = _ACTS.get(seen.method)
    return act(shelf, seen) if act else error(405, "MethodNotAllowed")


def delete_objects(shelf: Shelf, seen: Seen) -> Reply:
    """DeleteObjects: every named key is deleted."""
    keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", seen.body.decode(), re.DOTALL)]
    for key in keys:
        shelf.delete(seen.bucket, key)
    deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
    return Reply(200, dict(XML), f"<DeleteResult>{deleted}</DeleteResult>".encode())
