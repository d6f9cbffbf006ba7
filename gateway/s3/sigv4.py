"""AWS Signature Version 4 for S3: who sends a request, and whether it is the one that was signed.

:func:`authenticate` is the only place that lets a request in: it returns an identity's access key or raises, whatever
the payload mode says; only then is a body decoder chosen. Host and every ``x-amz-*`` header must be signed (exempt:
x-amz-content-sha256, whose value is part of what is signed). A request has one set of credentials, in its header or
its query. Clock skew is at most 15 minutes, a presigned URL lives at most seven days. Session tokens are compared
with the identity's. Signing, for requests to upstream, uses the same canonical form. "Authenticating Requests (AWS
Signature Version 4)" of the Amazon S3 API reference.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from gateway.s3.canonical import (
    ALGORITHM,
    canonical_path,
    canonical_query,
    canonical_request,
    derived_key,
    format_amz_date,
    is_canonical,
    parse_amz_date,
    seal,
    string_to_sign,
)
from gateway.s3.errors import S3Error
from gateway.s3.requests import S3Request

SKEW_MAX_S: Final = 15 * 60
EXPIRES_MAX_S: Final = 7 * 24 * 3600
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
AUTHORIZATION_CHARACTERS_MAX: Final = 4096
EMPTY_SHA256: Final = sha256(b"").hexdigest()
SIGNATURE_MARK: Final = "Signature="
SIGNATURE_CHARACTERS: Final = 64


class PayloadMode(Enum):
    """How the body is protected, as x-amz-content-sha256 says it. HASHED: it holds the body's SHA-256."""

    HASHED = "hashed"
    UNSIGNED = UNSIGNED
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class HasSecret(Protocol):
    """What authentication needs of an identity; Credentials and gateway.identities.Identity have it."""

    @property
    def access_key(self) -> str:
        """The public half."""
        ...

    @property
    def secret_key(self) -> str:
        """The secret half."""
        ...

    @property
    def session_token(self) -> str:
        """The token that must come along, or an empty string."""
        ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair, with a session token when it is temporary."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(slots=True)
class Authenticated:
    """A request that was let in: whose it is, how its body is protected, and where its chain of signatures starts.

    ``payload_hash`` is the body's SHA-256 in hex with HASHED, else an empty string.
    """

    access_key: str
    payload: PayloadMode
    payload_hash: str
    signature: str
    amz_date: str
    scope: str
    signing_key: bytes = field(repr=False)


@dataclass(slots=True)
class _Claim:
    """What a request says about its signature."""

    access_key: str
    day: str
    region: str
    signed: tuple[str, ...]
    names: frozenset[str]
    signature: str
    amz_date: str
    payload: str
    token: str
    presigned: bool
    scope: str = field(init=False)

    def __post_init__(self) -> None:
        self.scope = f"{self.day}/{self.region}/s3/aws4_request"


_AUTHORIZATION: Final = re.compile(r"AWS4-HMAC-SHA256\s+Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*", re.ASCII)
_HEX_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MODES: Final[Mapping[str, PayloadMode]] = {mode.value: mode for mode in PayloadMode if mode is not PayloadMode.HASHED}
_QUERY_MARKS: Final = ("X-Amz-Signature", "X-Amz-Algorithm", "X-Amz-Credential")
_ALSO_SIGNED: Final = frozenset({"host", "content-md5", "content-type"})


def authenticate(
    request: S3Request, find: Callable[[str], HasSecret | None], *, now: float, region: str = ""
) -> Authenticated:
    """Whose request this is. ``now`` is in seconds since the epoch; an empty ``region`` takes any.

    Raises S3Error: AccessDenied, InvalidAccessKeyId, InvalidToken, RequestTimeTooSkewed, SignatureDoesNotMatch,
    AuthorizationHeaderMalformed, AuthorizationQueryParametersError, InvalidRequest, InvalidArgument.
    """
    claim = _claim_of(request)
    mode = payload_mode(claim.payload)
    if region and claim.region != region:
        raise _malformed(presigned=claim.presigned, why=f"the region '{claim.region}' is wrong; expecting '{region}'")
    _check_time(request, claim, now)
    holder = find(claim.access_key)
    if holder is None:
        raise S3Error("InvalidAccessKeyId", fields={"AWSAccessKeyId": claim.access_key})
    if not hmac.compare_digest(claim.token.encode(), holder.session_token.encode()):
        raise S3Error("InvalidToken")
    _check_signed_headers(request, claim)
    key = derived_key(holder.secret_key, claim.day, claim.region, "s3")
    _check_signature(request, claim, key)
    payload_hash = claim.payload if mode is PayloadMode.HASHED else ""
    return Authenticated(claim.access_key, mode, payload_hash, claim.signature, claim.amz_date, claim.scope, key)


def payload_mode(content_sha256: str) -> PayloadMode:
    """The mode that x-amz-content-sha256 names. Raises S3Error InvalidArgument for any other value."""
    if content_sha256 == EMPTY_SHA256 or _HEX_SHA256.fullmatch(content_sha256):
        return PayloadMode.HASHED
    mode = _MODES.get(content_sha256)
    if mode is None:
        raise S3Error("InvalidArgument", "x-amz-content-sha256 must be a SHA-256 in hex or a known payload mode.")
    return mode


def sign(  # noqa: PLR0913, PLR0917 - a signature covers this many things; naming a carrier for one caller would hide them
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    credentials: HasSecret,
    region: str,
    now: float,
) -> dict[str, str]:
    """The headers to add to a request so that S3 accepts it.

    ``headers`` have lower-case names, ``host`` included; host, content-type, content-md5 and ``x-amz-*`` are signed.
    ``payload_hash`` is the body's SHA-256 in hex or the name of a payload mode.
    """
    amz_date = format_amz_date(now)
    added = {"x-amz-date": amz_date, "x-amz-content-sha256": payload_hash}
    if credentials.session_token:
        added["x-amz-security-token"] = credentials.session_token
    every = {**headers, **added}
    signed = sorted(name for name in every if name in _ALSO_SIGNED or name.startswith("x-amz-"))
    path, query = canonical_path(raw_path), canonical_query(raw_query)
    canonical = canonical_request(method, path, query, every, signed, payload_hash)
    scope = f"{amz_date[:8]}/{region}/s3/aws4_request"
    key = derived_key(credentials.secret_key, amz_date[:8], region, "s3")
    signature = seal(key, string_to_sign(amz_date, scope, canonical))
    added["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={';'.join(signed)}, Signature={signature}"
    )
    return added


def presign(method: str, url: str, credentials: HasSecret, *, region: str, now: float, expires_s: int) -> str:
    """The URL with a signature in its query, good for ``expires_s`` seconds from ``now``; only Host is signed."""
    parts = urlsplit(url)
    amz_date = format_amz_date(now)
    scope = f"{amz_date[:8]}/{region}/s3/aws4_request"
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": amz_date,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        parameters["X-Amz-Security-Token"] = credentials.session_token
    asked = [f"{name}={quote(value, safe='~')}" for name, value in parameters.items()]
    query = "&".join([parts.query, *asked] if parts.query else asked)
    canonical = canonical_request(
        method, canonical_path(parts.path), canonical_query(query), {"host": parts.netloc}, ("host",), UNSIGNED
    )
    key = derived_key(credentials.secret_key, amz_date[:8], region, "s3")
    signature = seal(key, string_to_sign(amz_date, scope, canonical))
    return f"{parts.scheme}://{parts.netloc}{parts.path or '/'}?{query}&X-Amz-Signature={signature}"


def _malformed(*, presigned: bool, why: str) -> S3Error:
    if presigned:
        return S3Error("AuthorizationQueryParametersError", f"Query-string authentication: {why}.")
    return S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {why}.")


def _claim_of(request: S3Request) -> _Claim:
    """The one claim that a request makes."""
    query = request.query
    by_query = bool(query) and any(name in query for name in _QUERY_MARKS)
    by_old_query = bool(query) and "Signature" in query and "AWSAccessKeyId" in query
    if "authorization" in request.headers:
        if by_query or by_old_query:
            raise S3Error("InvalidArgument", "Only one auth mechanism allowed.")
        return _claim_of_header(request)
    if by_query:
        return _claim_of_query(request)
    if by_old_query:
        raise _unsupported()
    raise S3Error("AccessDenied")


def _unsupported() -> S3Error:
    """SigV2, SigV4A and whatever else."""
    return S3Error("InvalidRequest", f"The authorization mechanism is not supported. Please use {ALGORITHM}.")


def _claim_of_header(request: S3Request) -> _Claim:
    text = request.headers["authorization"]
    if not text.startswith(ALGORITHM):
        raise _unsupported()
    told, _, signature = text.rpartition(SIGNATURE_MARK)
    if not _HEX_SHA256.fullmatch(signature) or len(text) > AUTHORIZATION_CHARACTERS_MAX:
        raise _malformed(presigned=False, why="it needs Credential, SignedHeaders and Signature")
    access_key, day, region, signed, names = _parse_authorization(told)
    payload = request.headers.get("x-amz-content-sha256")
    if payload is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    token = request.headers.get("x-amz-security-token", "")
    amz_date = _date_of(request)
    return _Claim(access_key, day, region, signed, names, signature, amz_date, payload, token, presigned=False)


def signed_names(authorization: str) -> tuple[str, ...]:
    """The names of the signed headers, in their order. Raises S3Error AuthorizationHeaderMalformed."""
    return _parse_authorization(authorization.rpartition(SIGNATURE_MARK)[0])[3]


@lru_cache(maxsize=1024)
def _parse_authorization(told: str) -> tuple[str, str, str, tuple[str, ...], frozenset[str]]:
    """Access key, day, region and signed names of the header up to its signature: a client repeats that all day."""
    found = _AUTHORIZATION.fullmatch(told)
    if found is None:
        raise _malformed(presigned=False, why="it needs Credential, SignedHeaders and Signature")
    signed = tuple(found[2].split(";"))
    return *_credential(found[1], presigned=False), signed, frozenset(signed)


def _claim_of_query(request: S3Request) -> _Claim:
    query = request.query
    names = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    missing = [name for name in names if not query.get(f"X-Amz-{name}")]
    if missing:
        raise _malformed(presigned=True, why=f"X-Amz-{missing[0]} is missing")
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise _malformed(presigned=True, why=f"X-Amz-Algorithm only supports {ALGORITHM}")
    if not _HEX_SHA256.fullmatch(query["X-Amz-Signature"]):
        raise _malformed(presigned=True, why="X-Amz-Signature is not a signature")
    if "x-amz-security-token" in request.headers:
        raise _malformed(presigned=True, why="the security token belongs into the query")
    access_key, day, region = _credential(query["X-Amz-Credential"], presigned=True)
    signed = tuple(query["X-Amz-SignedHeaders"].split(";"))
    return _Claim(
        access_key,
        day,
        region,
        signed,
        frozenset(signed),
        query["X-Amz-Signature"],
        query["X-Amz-Date"],
        _presigned_payload(request),
        query.get("X-Amz-Security-Token", ""),
        presigned=True,
    )


def _presigned_payload(request: S3Request) -> str:
    """UNSIGNED-PAYLOAD unless the header or the parameter says otherwise; they must not disagree."""
    in_query, in_header = request.query.get("X-Amz-Content-Sha256"), request.headers.get("x-amz-content-sha256")
    if in_query is not None and in_header is not None and in_query != in_header:
        raise _malformed(presigned=True, why="X-Amz-Content-Sha256 differs from the header")
    return in_header or in_query or UNSIGNED


def _credential(text: str, *, presigned: bool) -> tuple[str, str, str]:
    """Access key, day and region of ``key/day/region/s3/aws4_request``."""
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not parts[0] or parts[3:] != ["s3", "aws4_request"] or len(parts[2]) > 64:
        raise _malformed(presigned=presigned, why="the credential must be <key>/<date>/<region>/s3/aws4_request")
    return parts[0], parts[1], parts[2]


def _date_of(request: S3Request) -> str:
    """The time of signing: x-amz-date, else Date, in the former's form."""
    amz_date = request.headers.get("x-amz-date")
    if amz_date is not None:
        return amz_date
    try:
        return format_amz_date(parsedate_to_datetime(request.headers["date"]).timestamp())
    except (KeyError, ValueError, OverflowError, OSError):
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from None


def _check_time(request: S3Request, claim: _Claim, now: float) -> None:
    signed_at = parse_amz_date(claim.amz_date)
    if signed_at is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    if claim.amz_date[:8] != claim.day:
        raise _malformed(presigned=claim.presigned, why="the credential's date is not the day of X-Amz-Date")
    if claim.presigned:
        _check_expiry(request, signed_at, now)
    elif abs(now - signed_at) > SKEW_MAX_S:
        times = {"RequestTime": claim.amz_date, "ServerTime": format_amz_date(now)}
        raise S3Error("RequestTimeTooSkewed", fields={**times, "MaxAllowedSkewMilliseconds": str(SKEW_MAX_S * 1000)})


def _check_expiry(request: S3Request, signed_at: float, now: float) -> None:
    text = request.query["X-Amz-Expires"]
    expires_s = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
    if not 1 <= expires_s <= EXPIRES_MAX_S:
        raise _malformed(presigned=True, why=f"X-Amz-Expires must be from 1 to {EXPIRES_MAX_S} seconds")
    if signed_at - now > SKEW_MAX_S:
        raise S3Error("AccessDenied", "Request is not valid yet")
    if now > signed_at + expires_s:
        times = {"X-Amz-Expires": text, "ServerTime": format_amz_date(now)}
        raise S3Error("AccessDenied", "Request has expired", fields=times)


def _check_signed_headers(request: S3Request, claim: _Claim) -> None:
    """Host and every x-amz-* header are signed; whatever is signed is there."""
    signed, headers = claim.names, request.headers
    if "host" not in signed:
        raise S3Error("AccessDenied", "The host header must be signed.")
    unsigned = [
        name for name in headers if name.startswith("x-amz-") and name not in signed and name != "x-amz-content-sha256"
    ]
    if unsigned:
        names = {"HeadersNotSigned": ", ".join(unsigned)}
        raise S3Error("AccessDenied", "There were headers present in the request which were not signed", fields=names)
    if not headers.keys() >= signed:
        raise S3Error("SignatureDoesNotMatch", "A signed header is missing in the request.")


def _check_signature(request: S3Request, claim: _Claim, key: bytes) -> None:
    """Raises S3Error SignatureDoesNotMatch unless the claim's signature is right for S3's spelling or the sent one."""
    raw_path, raw_query = request.raw_path.decode("ascii"), request.raw_query.decode("ascii")
    told = _string_to_sign(request, claim, as_sent=False)
    if hmac.compare_digest(seal(key, told), claim.signature):
        return
    if not is_canonical(raw_path, raw_query):
        as_sent = _string_to_sign(request, claim, as_sent=True)
        if hmac.compare_digest(seal(key, as_sent), claim.signature):
            return
    fields = {"AWSAccessKeyId": claim.access_key, "StringToSign": told, "SignatureProvided": claim.signature}
    raise S3Error("SignatureDoesNotMatch", fields=fields)


def _string_to_sign(request: S3Request, claim: _Claim, *, as_sent: bool) -> str:
    path = canonical_path(request.raw_path.decode("ascii"), as_sent=as_sent)
    without = "X-Amz-Signature" if claim.presigned else ""
    query = canonical_query(request.raw_query.decode("ascii"), as_sent=as_sent, without=without)
    canonical = canonical_request(request.method, path, query, request.headers, claim.signed, claim.payload)
    return string_to_sign(claim.amz_date, claim.scope, canonical)
