"""The table of operations: what a request is called, what right it needs, who answers it, and what it makes untrue.

A row is found by (method, names a key, sub-resource); the sub-resource is the one parameter of the query that selects
an operation. Only a GET or HEAD of an object, with nothing but the parameters of a plain read, is a ``read``; all else
is forwarded. What no row names: GET and HEAD need the right to read the key (list the bucket), every other method the
right to write and invalidates the key. Two sub-resources at once are refused: two servers would read them differently.
Who writes keys that are named in a body or a header is said by ``invalidates`` and :func:`rights`. Amazon S3 API
reference, "Actions".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from gateway.s3.errors import S3Error
from gateway.s3.requests import S3Request, copy_source

Permission = Literal["read", "write", "list", "visit"]
Route = Literal["read", "forward"]
Invalidates = Literal["nothing", "key", "keys-in-body"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One S3 operation.

    ``permission``: "visit" is the right to know that a bucket is there, which every grant on it includes; "list" is
    held against the ``prefix`` parameter, "read" and "write" against the key. ``invalidates``: "keys-in-body" are those
    of a DeleteObjects document, each of which needs the right to write too.
    """

    name: str
    permission: Permission
    route: Route = "forward"
    invalidates: Invalidates = "nothing"


def _plain(permission: Permission, *rows: tuple[str, str, str]) -> dict[tuple[str, bool, str], Operation]:
    """Forwarded bucket operations that make nothing untrue: (method, sub-resource, name)."""
    return {(method, False, sub): Operation(name, permission) for method, sub, name in rows}


def _configuration(sub: str, noun: str, *, delete: bool = True) -> dict[tuple[str, bool, str], Operation]:
    """The three operations on one configuration of a bucket."""
    rows = [("GET", sub, f"GetBucket{noun}"), ("PUT", sub, f"PutBucket{noun}")]
    if delete:
        rows.append(("DELETE", sub, f"DeleteBucket{noun}"))
    return _plain("list", rows[0]) | _plain("write", *rows[1:])


def _of_key(permission: Permission, *rows: tuple[str, str, str, Invalidates]) -> dict[tuple[str, bool, str], Operation]:
    """Forwarded operations on a key: (method, sub-resource, name, what they invalidate)."""
    return {(method, True, sub): Operation(name, permission, "forward", inv) for method, sub, name, inv in rows}


TABLE: Final[Mapping[tuple[str, bool, str], Operation]] = {
    ("GET", True, ""): Operation("GetObject", "read", "read"),
    ("HEAD", True, ""): Operation("HeadObject", "read", "read"),
    **_of_key(
        "read",
        ("GET", "acl", "GetObjectAcl", "nothing"),
        ("GET", "attributes", "GetObjectAttributes", "nothing"),
        ("GET", "legal-hold", "GetObjectLegalHold", "nothing"),
        ("GET", "retention", "GetObjectRetention", "nothing"),
        ("GET", "tagging", "GetObjectTagging", "nothing"),
        ("GET", "torrent", "GetObjectTorrent", "nothing"),
        ("POST", "select", "SelectObjectContent", "nothing"),
    ),
    **_of_key(
        "write",
        ("PUT", "", "PutObject", "key"),
        ("DELETE", "", "DeleteObject", "key"),
        ("PUT", "acl", "PutObjectAcl", "key"),
        ("PUT", "legal-hold", "PutObjectLegalHold", "key"),
        ("PUT", "retention", "PutObjectRetention", "key"),
        ("PUT", "tagging", "PutObjectTagging", "key"),
        ("DELETE", "tagging", "DeleteObjectTagging", "key"),
        ("PUT", "encryption", "UpdateObjectEncryption", "key"),
        ("POST", "restore", "RestoreObject", "key"),
        ("POST", "uploads", "CreateMultipartUpload", "nothing"),
        ("PUT", "uploadId", "UploadPart", "nothing"),
        ("GET", "uploadId", "ListParts", "nothing"),
        ("POST", "uploadId", "CompleteMultipartUpload", "key"),
        ("DELETE", "uploadId", "AbortMultipartUpload", "nothing"),
    ),
    **_plain(
        "list",
        ("GET", "", "ListObjects"),
        ("GET", "list-type", "ListObjectsV2"),
        ("GET", "versions", "ListObjectVersions"),
        ("GET", "uploads", "ListMultipartUploads"),
        ("GET", "policyStatus", "GetBucketPolicyStatus"),
    ),
    **_plain("visit", ("HEAD", "", "HeadBucket"), ("GET", "location", "GetBucketLocation")),
    **_plain("write", ("PUT", "", "CreateBucket"), ("DELETE", "", "DeleteBucket")),
    ("POST", False, "delete"): Operation("DeleteObjects", "write", "forward", "keys-in-body"),
    **_configuration("accelerate", "AccelerateConfiguration", delete=False),
    **_configuration("acl", "Acl", delete=False),
    **_configuration("analytics", "AnalyticsConfiguration"),
    **_configuration("cors", "Cors"),
    **_configuration("encryption", "Encryption"),
    **_configuration("intelligent-tiering", "IntelligentTieringConfiguration"),
    **_configuration("inventory", "InventoryConfiguration"),
    **_configuration("lifecycle", "Lifecycle"),
    **_configuration("logging", "Logging", delete=False),
    **_configuration("metrics", "MetricsConfiguration"),
    **_configuration("notification", "NotificationConfiguration", delete=False),
    **_configuration("object-lock", "ObjectLockConfiguration", delete=False),
    **_configuration("ownershipControls", "OwnershipControls"),
    **_configuration("policy", "Policy"),
    **_configuration("publicAccessBlock", "PublicAccessBlock"),
    **_configuration("replication", "Replication"),
    **_configuration("requestPayment", "RequestPayment", delete=False),
    **_configuration("tagging", "Tagging"),
    **_configuration("versioning", "Versioning", delete=False),
    **_configuration("website", "Website"),
}
"""Rows of requests that name a bucket; LIST_BUCKETS is the one of those that name none."""

_LISTINGS: Final = frozenset({"ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads"})
_LISTING_PARAMETERS: Final = frozenset(
    {
        "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker",
        "max-keys", "max-uploads", "prefix", "start-after", "upload-id-marker", "uploads", "version-id-marker",
        "versions", "x-id",
    }
)  # fmt: skip

LIST_BUCKETS: Final = Operation("ListBuckets", "list")

REFUSED: Final[Mapping[tuple[str, bool, str], str]] = {
    ("GET", False, "session"): "CreateSession",
    ("POST", False, ""): "PostObject",
    ("PUT", True, "renameObject"): "RenameObject",
}
"""Any other POST to a bucket is refused like PostObject: its key would stand in a form that nobody here reads."""

_COPIES: Final[Mapping[str, Operation]] = {
    "PutObject": Operation("CopyObject", "write", "forward", "key"),
    "UploadPart": Operation("UploadPartCopy", "write"),
}
SUBRESOURCES: Final = frozenset(sub for _, _, sub in (*TABLE, *REFUSED) if sub)
_READ_PARAMETERS: Final = frozenset(
    {
        "versionId", "partNumber", "x-id", "response-content-type", "response-content-language", "response-expires",
        "response-cache-control", "response-content-disposition", "response-content-encoding",
    }
)  # fmt: skip
_UPSTREAM_DECIDES: Final = frozenset(
    {
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-customer-key-md5",
        "x-amz-expected-bucket-owner",
        "x-amz-request-payer",
        "origin",
    }
)
"""With one of these, as a header or a parameter, the answer depends on more than the object: never from the cache."""


def classify(request: S3Request) -> Operation:
    """The operation that a request asks for.

    Raises S3Error NotImplemented for what this gateway cannot do safely, InvalidRequest for two sub-resources.
    """
    if not request.bucket:
        return LIST_BUCKETS if request.method == "GET" else _unknown(request)
    row = request.method, bool(request.key), _subresource(request)
    refused = REFUSED.get(row, "PostObject" if row[:2] == ("POST", False) and row not in TABLE else "")
    if refused:
        raise S3Error("NotImplemented", f"{refused} is not implemented.")
    operation = TABLE.get(row) or _unknown(request)
    if row[2] == "uploadId" and not _is_of_an_upload(request):
        raise S3Error("InvalidArgument", "An upload id, and for a part its number, must be given.")
    if operation.route == "read" and not _is_plain_read(request):
        return replace(operation, route="forward")
    if operation.name in _COPIES and copy_source(request) is not None:
        return _COPIES[operation.name]
    return operation


def rights(request: S3Request, operation: Operation) -> tuple[tuple[Permission, str, str], ...]:
    """What the caller must hold: (permission, bucket, key or prefix), all of them.

    The keys in a DeleteObjects body are not among them: whoever reads the body asks for each. Raises as copy_source.
    """
    if not request.bucket:
        return ((operation.permission, "*", ""),)
    if operation.invalidates == "keys-in-body":
        return (("visit", request.bucket, ""),)
    subject = request.query.get("prefix", "") if _heeds_prefix(request, operation) else request.key
    needed: tuple[Permission, str, str] = operation.permission, request.bucket, subject
    source = copy_source(request) if request.method == "PUT" else None
    return (needed,) if source is None else (needed, ("read", source.bucket, source.key))


def _heeds_prefix(request: S3Request, operation: Operation) -> bool:
    """Whether upstream will list beneath ``prefix`` and nothing else; any other answer is not limited by it."""
    return operation.name in _LISTINGS and all(
        name in _LISTING_PARAMETERS or name.startswith("X-Amz-") for name in request.query
    )


def _subresource(request: S3Request) -> str:
    """The parameter that selects the operation, or an empty string."""
    if not request.query:
        return ""
    found = [name for name in request.query if name in SUBRESOURCES]
    if len(found) > 1:
        raise S3Error("InvalidRequest", f"Conflicting query parameters: {', '.join(sorted(found))}")
    return found[0] if found else ""


def _is_of_an_upload(request: S3Request) -> bool:
    """Whether upload and part are named. Some servers take a part without its number for a write of the object."""
    return bool(request.query["uploadId"]) and (
        request.method != "PUT" or request.query.get("partNumber", "").isdigit()
    )


def _is_plain_read(request: S3Request) -> bool:
    """Whether only the object decides the answer."""
    headers, query = request.headers, request.query
    if not _UPSTREAM_DECIDES.isdisjoint(headers):
        return False
    return not query or all(_belongs_to_read(name) for name in query)


def _belongs_to_read(name: str) -> bool:
    if name in _READ_PARAMETERS:
        return True
    low = name.lower()
    return low.startswith("x-amz-") and low not in _UPSTREAM_DECIDES


def _unknown(request: S3Request) -> Operation:
    """The stated default."""
    if request.method in {"GET", "HEAD"}:
        return Operation("Unknown", "read" if request.key else "list")
    return Operation("Unknown", "write", "forward", "key" if request.key else "nothing")
