"""What a bucket holds: pages of ListObjectsV2 and the list of buckets (Amazon S3 API, 2006-03-01), parsed.

Keys are asked for with ``encoding-type=url``, because XML cannot carry every key, and unquoted here. A page names the
token of the next one or none; :func:`list_request` asks for a page. Documents come from the gateway we chose, yet a
document type or an entity declaration is refused: no S3 answer has one, and entities are how XML is turned into a bomb.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET  # defusedxml is no stdlib; _parse refuses what it would
from dataclasses import dataclass
from urllib.parse import unquote

from gateway.client.errors import GatewayError
from gateway.client.responses import Request


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object: size in bytes, ETag as S3 gives it (quotes included), Last-Modified as the answer spelled it."""

    key: str
    size: int
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing: objects, common prefixes, and the next page's token (empty: that was the last)."""

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...] = ()
    token: str = ""


def list_request(bucket: str, prefix: str, *, delimiter: str = "", token: str = "", keys_max: int = 1000) -> Request:
    """Ask for one page of at most ``keys_max`` keys."""
    query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(keys_max))]
    wanted = (("prefix", prefix), ("delimiter", delimiter), ("continuation-token", token))
    query += [(name, value) for name, value in wanted if value]
    return Request("GET", bucket, query=tuple(query))


def parse_page(document: bytes) -> Page:
    """A ListBucketResult. Raises GatewayError for anything else, and for a truncated page without a token."""
    root = _parse(document, "ListBucketResult")
    quoted = _text(root, "EncodingType") == "url"
    objects = tuple(_object(element, quoted=quoted) for element in root.iterfind("{*}Contents"))
    prefixes = tuple(_name(element, "Prefix", quoted=quoted) for element in root.iterfind("{*}CommonPrefixes"))
    token = _text(root, "NextContinuationToken") if _text(root, "IsTruncated") == "true" else ""
    if _text(root, "IsTruncated") == "true" and not token:
        raise GatewayError("the listing is truncated but names no next page")
    return Page(objects, prefixes, token)


def parse_buckets(document: bytes) -> tuple[str, ...]:
    """The names in a ListAllMyBucketsResult. Raises GatewayError for anything else."""
    root = _parse(document, "ListAllMyBucketsResult")
    return tuple(_text(element, "Name") for element in root.iterfind("{*}Buckets/{*}Bucket"))


def _parse(document: bytes, name: str) -> ET.Element:
    if b"<!" in document:
        raise GatewayError(f"{name}: a document type or an entity in an S3 answer")
    try:
        root = ET.fromstring(document)  # noqa: S314  (declarations were refused above)
    except ET.ParseError as error:
        raise GatewayError(f"{name}: the answer is no XML: {error}") from error
    if root.tag.rpartition("}")[2] != name:
        raise GatewayError(f"expected a {name}, got {root.tag[:80]}")
    return root


def _text(element: ET.Element, name: str) -> str:
    return element.findtext("{*}" + name, "")


def _name(element: ET.Element, name: str, *, quoted: bool) -> str:
    text = _text(element, name)
    # Some servers write a space as "+" (form encoding); none writes a plus sign so.
    return unquote(text.replace("+", " ")) if quoted else text


def _object(element: ET.Element, *, quoted: bool) -> ObjectInfo:
    size = _text(element, "Size") or "0"
    if not (size.isascii() and size.isdigit()):
        raise GatewayError(f"a listed size is {size!r}")
    etag, modified = _text(element, "ETag"), _text(element, "LastModified")
    return ObjectInfo(_name(element, "Key", quoted=quoted), int(size), etag, modified)
