"""The reading half of the fake S3: objects (ranges, conditions, checksums, ways to be wrong) and lists."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.doubles.shelf import Shelf, Stored

if TYPE_CHECKING:
    from tests.doubles.fake_s3 import Seen

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
XML = {"content-type": "application/xml"}


@dataclass(slots=True)
class Reply:
    """An answer. ``size`` and ``source`` for a body that is read piece by piece; else ``body``."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int | None = None
    source: Callable[[int, int], bytes] | None = None

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the body."""
        return self.source(start, stop) if self.source is not None else self.body[start:stop]


def error(status: int, code: str, headers: dict[str, str] | None = None) -> Reply:
    """An S3 error document."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Reply(status, {**XML, **(headers or {})}, text.encode())


def _condition(seen: Seen, etag: str) -> Reply | None:
    match, none_match = seen.headers.get("if-match"), seen.headers.get("if-none-match")
    if match is not None and match not in {"*", etag}:
        return error(412, "PreconditionFailed")
    if none_match is not None and none_match in {"*", etag}:
        return Reply(304, {"etag": etag})
    return None


def _span(seen: Seen, stored: Stored) -> tuple[int, int] | None:
    """The asked span; None: no (usable) range. An unsatisfiable one comes back empty."""
    if number := seen.query.get("partNumber"):
        start = sum(stored.part_sizes[: int(number) - 1])
        return start, start + (stored.part_sizes or (stored.size,))[int(number) - 1]
    found = _RANGE.fullmatch(seen.headers.get("range", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(0, stored.size - int(last)), stored.size
    return int(first), min(int(last) + 1 if last else stored.size, stored.size)


def _object_headers(seen: Seen, stored: Stored, *, whole: bool) -> dict[str, str]:
    headers = {
        "etag": stored.etag,
        "last-modified": stored.last_modified,
        "accept-ranges": "bytes",
        "content-type": "binary/octet-stream",
        **stored.headers,
    }
    if stored.version_id:
        headers["x-amz-version-id"] = stored.version_id
    if stored.part_sizes and "partNumber" in seen.query:
        headers["x-amz-mp-parts-count"] = str(len(stored.part_sizes))
    if whole and seen.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and stored.checksums:
        headers |= stored.checksums
        headers["x-amz-checksum-type"] = "FULL_OBJECT"
    return headers


_LIES: dict[str, Callable[[int, int, int], tuple[tuple[int, int], str]]] = {
    "shifted": lambda start, stop, size: ((start + 1, stop + 1), f"bytes {start + 1}-{stop}/{size}"),
    "lied": lambda start, stop, size: ((start + 1, stop + 1), f"bytes {start}-{stop - 1}/{size}"),
    "short": lambda start, stop, size: ((start, stop - 1), f"bytes {start}-{stop - 2}/{size}"),
    "longer": lambda start, stop, size: ((start, stop + 1), f"bytes {start}-{stop}/{size}"),
    "total": lambda start, stop, size: ((start, stop), f"bytes {start}-{stop - 1}/{size + 1}"),
    "no_range": lambda start, stop, _: ((start, stop), ""),
}


def _lying(reply: Reply, span: tuple[int, int], stored: Stored, wrong: str) -> Reply:
    start, stop = span
    if wrong in _LIES:
        (start, stop), told = _LIES[wrong](start, stop, stored.size)
        reply.headers["content-range"] = told
        if not told:
            del reply.headers["content-range"]
    if wrong == "no_etag":
        del reply.headers["etag"]
    if wrong == "etag":
        reply.headers["etag"] = '"another"'
    flip = wrong == "flip"
    reply.size = stop - start

    def read(first: int, last: int) -> bytes:
        body = stored.read(start + first, start + last).ljust(last - first, b"\0")
        return bytes([body[0] ^ 1]) + body[1:] if flip and first == 0 else body

    reply.source = read
    return reply


def get_object(shelf: Shelf, seen: Seen, wrong: str) -> Reply:
    """GET or HEAD of an object (``wrong``: see Trouble), its tags, or the parts of an upload."""
    if "tagging" in seen.query:
        return Reply(200, dict(XML), b"<Tagging><TagSet/></Tagging>")
    stored = shelf.find(seen.bucket, seen.key, seen.query.get("versionId", ""))
    if stored is None:
        return error(404, "NoSuchVersion" if "versionId" in seen.query else "NoSuchKey")
    if refusal := _condition(seen, stored.etag):
        return refusal
    span = None if wrong == "whole" else _span(seen, stored)
    if "range" in seen.headers:
        asked = _span(seen, stored)
        seen.span = asked if asked is None or asked[0] < asked[1] else None
    if span is not None and span[0] >= span[1]:
        return error(416, "InvalidRange", {"content-range": f"bytes */{stored.size}"})
    whole = span is None
    reply = Reply(200 if whole else 206, _object_headers(seen, stored, whole=whole))
    if span is not None:
        reply.headers["content-range"] = f"bytes {span[0]}-{span[1] - 1}/{stored.size}"
    return _lying(reply, span or (0, stored.size), stored, "" if whole and wrong in _LIES else wrong)


def list_buckets(shelf: Shelf) -> Reply:
    """ListBuckets."""
    names = "".join(
        f"<Bucket><Name>{escape(name)}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>"
        for name in sorted(shelf.buckets)
    )
    text = f"<ListAllMyBucketsResult><Owner><ID>fake</ID></Owner><Buckets>{names}</Buckets></ListAllMyBucketsResult>"
    return Reply(200, dict(XML), text.encode())


def list_objects(shelf: Shelf, seen: Seen) -> Reply:
    """ListObjectsV2 (and, well enough, V1): prefix, delimiter, max-keys, continuation, encoding-type=url."""
    query = seen.query
    spell = quote if query.get("encoding-type") == "url" else escape
    token = base64.urlsafe_b64decode(query.get("continuation-token", "")).decode()
    after = token or query.get("start-after", "") or query.get("marker", "")
    delimiter, prefix = query.get("delimiter", ""), query.get("prefix", "")
    names, more = shelf.listing(seen.bucket, prefix, delimiter, after, int(query.get("max-keys", "1000")))
    objects = shelf.buckets[seen.bucket]
    parts = [f"<Name>{escape(seen.bucket)}</Name><Prefix>{spell(prefix)}</Prefix><KeyCount>{len(names)}</KeyCount>"]
    parts += [f"<IsTruncated>{str(more).lower()}</IsTruncated><MaxKeys>{query.get('max-keys', '1000')}</MaxKeys>"]
    if "encoding-type" in query:
        parts.append("<EncodingType>url</EncodingType>")
    if more:
        parts.append(
            f"<NextContinuationToken>{base64.urlsafe_b64encode(names[-1].encode()).decode()}</NextContinuationToken>"
        )
        parts.append(f"<NextMarker>{spell(names[-1])}</NextMarker>")
    for name in names:
        if delimiter and name.endswith(delimiter) and name != prefix:
            parts.append(f"<CommonPrefixes><Prefix>{spell(name)}</Prefix></CommonPrefixes>")
            continue
        stored = objects[name]
        parts.append(
            f"<Contents><Key>{spell(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(stored.etag)}</ETag><Size>{stored.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    return Reply(200, dict(XML), f"<ListBucketResult>{''.join(parts)}</ListBucketResult>".encode())
