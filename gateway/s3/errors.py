"""S3 errors: the one table of codes, and how a fault becomes an answer.

A client library decides by ``Code`` and status whether it retries, so both come from the table and from nowhere else.
Rules raise :class:`S3Error`; ports raise faults of :mod:`cache.faults`; :func:`answer_for` renders either. A fault
takes the row of its nearest ancestor. An error of upstream's goes to the client as upstream gave it. Whatever may be
repeated with success is a 503 with ``Retry-After``, because every SDK retries that; no body byte was sent before an
error answer, so a version that changed meanwhile is such a case too. Codes and the form of the document:
"Error responses" of the Amazon S3 API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from xml.sax.saxutils import escape

from cache.faults import (
    BudgetSpent,
    ClientFault,
    Draining,
    Fault,
    PeerPassedOn,
    RangeOutside,
    UpstreamBusy,
    UpstreamFault,
    UpstreamRefused,
)
from cache.pieces import Source
from gateway.s3.answers import Answer

CODES: Final[Mapping[str, tuple[int, str]]] = {
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationHeaderMalformed": (400, "The authorization header that you provided is not valid."),
    "AuthorizationQueryParametersError": (400, "The authorization query parameters that you provided are not valid."),
    "BadDigest": (400, "The Content-MD5 or checksum value that you specified did not match what we received."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The access key ID you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 or checksum value that you specified is not valid."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidToken": (400, "The provided token is malformed or otherwise invalid."),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedXML": (400, "The XML you provided was not well-formed or did not validate against our schema."),
    "MalformedTrailerError": (400, "The trailing data of the request was not well-formed."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NotImplemented": (501, "A header or parameter you provided implies functionality that is not implemented."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "RequestHeaderSectionTooLarge": (400, "Your request header and metadata fields exceed the maximum allowed size."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the server's time is too large."),
    "RequestTimeout": (400, "Your socket connection to the server was not read from or written to in time."),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing"
        " method.",
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    "XAmzContentSHA256Mismatch": (
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
}


class S3Error(Exception):
    """What a client gets instead of what it asked for. ``code`` is a row of CODES (else KeyError).

    ``fields`` are further elements of the document; ``headers`` go out with it.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        fields: Mapping[str, str] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.code = code
        self.status, standard = CODES[code]
        self.message = message or standard
        self.fields = dict(fields or {})
        self.headers = headers
        super().__init__(f"{code}: {self.message}")


class Asked(Protocol):
    """What an error document says of the request; S3Request has it."""

    @property
    def method(self) -> str:
        """The method in capitals."""
        ...

    @property
    def raw_path(self) -> bytes:
        """The path as it was sent."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name."""
        ...


@dataclass(frozen=True, slots=True)
class _Row:
    """How a fault is told: an S3 code, what to say, and whether the client should come back soon."""

    code: str
    message: str = ""
    retry: bool = False


_FAULTS: Final[Mapping[type[Fault], _Row]] = {
    RangeOutside: _Row("InvalidRange"),
    ClientFault: _Row("InvalidRequest"),
    UpstreamBusy: _Row("SlowDown", "The upstream asks for a lower request rate.", retry=True),
    UpstreamFault: _Row("ServiceUnavailable", "The upstream did not serve this request. Please try again.", retry=True),
    BudgetSpent: _Row("SlowDown", retry=True),
    Draining: _Row("ServiceUnavailable", "This node is shutting down. Please try again.", retry=True),
    Fault: _Row("InternalError"),
}
_BARE: Final = {
    400: "InvalidRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    412: "PreconditionFailed",
    416: "InvalidRange",
}
_RETRY: Final = (("retry-after", "1"),)


def error_for(fault: Fault) -> S3Error:
    """The S3 error that tells a fault to a client. For UpstreamRefused, whose answer exists, see answer_for."""
    if isinstance(fault, PeerPassedOn):
        return error_for(fault.cause)
    row = next(_FAULTS[kind] for kind in type(fault).__mro__ if kind in _FAULTS)
    fields = {"ActualObjectSize": str(fault.size)} if isinstance(fault, RangeOutside) else {}
    headers = (("content-range", f"bytes */{fault.size}"),) if isinstance(fault, RangeOutside) else ()
    return S3Error(row.code, row.message, fields=fields, headers=_RETRY if row.retry else headers)


def escape_text(value: str) -> str:
    """Character data of XML 1.0: markup escaped, what XML cannot say (controls, surrogates) replaced."""
    return escape("".join(char if char in "\t\n" or char.isprintable() else "\ufffd" for char in value))


def render_error(error: S3Error, *, resource: str, request_id: str, range_asked: str = "") -> bytes:
    """The XML document of an error."""
    fields = {"Code": error.code, "Message": error.message, **error.fields}
    if error.code == "InvalidRange" and range_asked:
        fields["RangeRequested"] = range_asked
    fields |= {"Resource": resource, "RequestId": request_id, "HostId": request_id}
    inner = "".join(f"<{name}>{escape_text(value)}</{name}>" for name, value in fields.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()


def answer_for(error: S3Error | Fault, *, request: Asked | None, request_id: str) -> Answer:
    """The answer that tells an error. ``request`` is None when it could not even be parsed.

    To a HEAD it has the length of the document and no body.
    """
    head = request is not None and request.method == "HEAD"
    if isinstance(error, PeerPassedOn):
        return answer_for(error.cause, request=request, request_id=request_id)
    if isinstance(error, UpstreamRefused) and (head or error.body or error.status not in _BARE):
        return _refused(error, head=head)
    told = _named(error) if isinstance(error, UpstreamRefused) else error
    told = error_for(told) if isinstance(told, Fault) else told
    resource = request.raw_path.decode("utf-8", "replace") if request is not None else ""
    range_asked = request.headers.get("range", "") if request is not None else ""
    document = render_error(told, resource=resource, request_id=request_id, range_asked=range_asked)
    headers = [("content-type", "application/xml"), *told.headers]
    return Answer(told.status, headers, len(document), None if head else document)


def _named(error: UpstreamRefused) -> S3Error:
    """An upstream error that came without a document, because upstream was asked by HEAD, with one."""
    kept = tuple(pair for pair in error.headers if pair[0].lower() not in {"content-type", "content-length"})
    return S3Error(_BARE[error.status], headers=kept)


def _refused(error: UpstreamRefused, *, head: bool) -> Answer:
    """Upstream's own answer. Its body was read whole, so its length is known."""
    bodyless = head or error.status in {204, 304}
    length = 0 if bodyless else len(error.body)
    return Answer(error.status, list(error.headers), length, None if bodyless else error.body, Source.UPSTREAM)
