"""SigV4: the vectors of the S3 documentation, botocore as oracle, and everything that must be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.s3.canonical import (
    canonical_path,
    canonical_query,
    canonical_request,
    derived_key,
    parse_amz_date,
    seal,
    string_to_sign,
)
from gateway.s3.errors import S3Error
from gateway.s3.requests import S3Request, parse_request
from gateway.s3.sigv4 import EMPTY_SHA256, UNSIGNED, Authenticated, Credentials, PayloadMode, authenticate
from gateway.s3.sigv4 import presign as our_presign
from gateway.s3.sigv4 import sign as our_sign
from tests.unit.gateway.s3.asking import DOMAINS, ask

DOC = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
DOC_TIME = 1369353600.0
ALICE = Credentials("alice", "alice-secret-key")
TEMPORARY = Credentials("temp", "temp-secret-key", "a-token/with+odd=chars")
KNOWN = {one.access_key: one for one in (DOC, ALICE, TEMPORARY)}
STREAM = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


@dataclass(frozen=True)
class Vector:
    name: str
    method: str
    target: str
    host: str
    headers: Mapping[str, str]
    signed: str
    signature: str


AT_BUCKET = "examplebucket.s3.amazonaws.com"
VECTORS = [
    Vector(
        "get a range", "GET", "/test.txt", AT_BUCKET,
        {"range": "bytes=0-9", "x-amz-content-sha256": EMPTY_SHA256},
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    Vector(
        "put", "PUT", "/test$file.text", AT_BUCKET,
        {
            "date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        },
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    Vector(
        "lifecycle", "GET", "/?lifecycle", AT_BUCKET, {"x-amz-content-sha256": EMPTY_SHA256},
        "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    Vector(
        "list", "GET", "/?max-keys=2&prefix=J", AT_BUCKET, {"x-amz-content-sha256": EMPTY_SHA256},
        "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
    Vector(
        "streaming seed", "PUT", "/examplebucket/chunkObject.txt", "s3.amazonaws.com",
        {
            "content-encoding": "aws-chunked", "content-length": "66824", "x-amz-content-sha256": STREAM,
            "x-amz-decoded-content-length": "66560", "x-amz-storage-class": "REDUCED_REDUNDANCY",
        },
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    ),
    Vector(
        "trailer seed", "PUT", "/examplebucket/chunkObject.txt", "s3.amazonaws.com",
        {
            "content-encoding": "aws-chunked", "x-amz-content-sha256": f"{STREAM}-TRAILER",
            "x-amz-decoded-content-length": "66560", "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-trailer": "x-amz-checksum-crc32c",
        },
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;"
        "x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    ),
]  # fmt: skip


def authorization(access_key: str, day: str, signed: str, signature: str, *, region: str = "us-east-1") -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{day}/{region}/s3/aws4_request,"
        f"SignedHeaders={signed},Signature={signature}"
    )


def of_vector(vector: Vector) -> S3Request:
    told = authorization(DOC.access_key, "20130524", vector.signed, vector.signature)
    headers = {**vector.headers, "x-amz-date": "20130524T000000Z", "authorization": told}
    return ask(vector.method, vector.target, headers, host=vector.host)


def admit(request: S3Request, *, now: float = DOC_TIME, region: str = "") -> Authenticated:
    return authenticate(request, KNOWN.get, now=now, region=region)


def refusal(request: S3Request, *, now: float = DOC_TIME, region: str = "") -> tuple[str, int]:
    with pytest.raises(S3Error) as refused:
        admit(request, now=now, region=region)
    return refused.value.code, refused.value.status


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vectors_of_the_documentation(vector: Vector) -> None:
    admitted = admit(of_vector(vector), region="us-east-1")
    assert admitted.access_key == DOC.access_key
    assert admitted.signature == vector.signature
    assert admitted.scope == "20130524/us-east-1/s3/aws4_request"


PRESIGNED = (
    "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
    "aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)


def test_presigned_vector_of_the_documentation() -> None:
    admitted = admit(ask("GET", PRESIGNED, host=AT_BUCKET))
    assert (admitted.access_key, admitted.payload) == (DOC.access_key, PayloadMode.UNSIGNED)
    url = our_presign("GET", f"https://{AT_BUCKET}/test.txt", DOC, region="us-east-1", now=DOC_TIME, expires_s=86400)
    assert url == f"https://{AT_BUCKET}{PRESIGNED}"


def boto_headers(
    method: str, url: str, holder: Credentials, headers: dict[str, str] | None = None
) -> tuple[dict[str, str], float]:
    request = AWSRequest(method, url, headers=headers or {}, data=b"")
    token = holder.session_token or None
    S3SigV4Auth(BotoCredentials(holder.access_key, holder.secret_key, token), "s3", "eu-west-1").add_auth(request)
    named = {name.lower(): str(value) for name, value in request.headers.items()}
    now = parse_amz_date(named["x-amz-date"])
    assert now is not None
    return {**named, "host": urlsplit(url).netloc}, now


def parsed(method: str, url: str, headers: Mapping[str, str]) -> S3Request:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return parse_request(method, target.encode(), raw, DOMAINS)


@settings(max_examples=150, deadline=None)
@given(key=KEYS, holder=st.sampled_from([ALICE, TEMPORARY]), query=st.dictionaries(KEYS, KEYS, max_size=3))
def test_whatever_botocore_signs_is_let_in(key: str, holder: Credentials, query: dict[str, str]) -> None:
    pairs = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()]
    url = f"http://127.0.0.1:9000/bucket/{quote(key, safe='/~')}" + ("?" + "&".join(pairs) if pairs else "")
    headers, now = boto_headers("GET", url, holder, {"x-amz-meta-a": "two  spaces", "Range": "bytes=0-1"})
    request = parsed("GET", url, headers)
    assert (request.bucket, request.key, request.query) == ("bucket", key, query)
    assert admit(request, now=now).access_key == holder.access_key


@settings(max_examples=100, deadline=None)
@given(key=KEYS, holder=st.sampled_from([ALICE, TEMPORARY]))
def test_whatever_botocore_presigns_is_let_in_until_it_expires(key: str, holder: Credentials) -> None:
    request = AWSRequest("GET", f"http://127.0.0.1:9000/bucket/{quote(key, safe='/~')}?x-id=GetObject")
    token = holder.session_token or None
    credentials = BotoCredentials(holder.access_key, holder.secret_key, token)
    S3SigV4QueryAuth(credentials, "s3", "eu-west-1", expires=60).add_auth(request)
    told = parsed("GET", request.url, {"host": "127.0.0.1:9000"})
    now = parse_amz_date(told.query["X-Amz-Date"])
    assert now is not None
    assert admit(told, now=now + 60).access_key == holder.access_key
    assert refusal(told, now=now + 61) == ("AccessDenied", 403)


@settings(max_examples=100, deadline=None)
@given(key=KEYS, holder=st.sampled_from([ALICE, TEMPORARY]), value=st.text("ab c\t", max_size=8))
def test_we_let_in_what_we_sign(key: str, holder: Credentials, value: str) -> None:
    path, query = f"/bucket/{quote(key, safe='/~')}", "b=2&a=%20&a-=&list"
    headers = {"host": "h:1", "x-amz-meta-v": value.strip(), "range": "bytes=0-1"}
    added = our_sign("PUT", path, query, headers, UNSIGNED, holder, "us-east-1", DOC_TIME)
    told = parsed("PUT", f"http://h:1{path}?{query}", {**headers, **added})
    assert admit(told).access_key == holder.access_key
    url = our_presign("GET", f"http://h:1{path}", holder, region="r", now=DOC_TIME, expires_s=5)
    assert admit(parsed("GET", url, {"host": "h:1"})).access_key == holder.access_key


def test_botocore_and_we_sign_alike() -> None:
    url = "http://h:1/bucket/a%20b?uploads="
    theirs, now = boto_headers("POST", url, TEMPORARY, {"x-amz-meta-a": "1", "Content-Type": "text/plain"})
    given_headers = {"host": "h:1", "x-amz-meta-a": "1", "content-type": "text/plain"}
    ours = our_sign("POST", "/bucket/a%20b", "uploads=", given_headers, EMPTY_SHA256, TEMPORARY, "eu-west-1", now)
    assert ours == {name: theirs[name] for name in ours}


def told_to_us(request: S3Request, signed: tuple[str, ...]) -> tuple[object, ...]:
    """What a request means, as far as it is signed."""
    return (
        request.method, request.bucket, request.key, sorted(request.query.items()),
        [" ".join(request.headers[name].split()) for name in signed if name != "authorization"],
    )  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_flipped_byte_of_a_signed_request_means_something_else(data: st.DataObject) -> None:
    target = "/bucket/some%20key/~a?partNumber=1&response-content-type=a%2Fb"
    signed = ("host", "range", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token")
    added = our_sign(
        "GET", target.split("?")[0], target.split("?")[1], {"host": "h:1", "x-amz-meta-m": "v v", "range": "bytes=1-2"},
        EMPTY_SHA256, TEMPORARY, "us-east-1", DOC_TIME,
    )  # fmt: skip
    fields = {"host": "h:1", "x-amz-meta-m": "v v", "range": "bytes=1-2", **added}
    block = "\n".join(["GET " + target, *(f"{name}:{value}" for name, value in fields.items())]).encode()
    good = parsed("GET", "http://h:1" + target, fields)
    position = data.draw(st.integers(0, len(block) - 1))
    flipped = bytearray(block)
    flipped[position] ^= data.draw(st.integers(1, 127))
    first, *lines = bytes(flipped).split(b"\n")
    method, _, raw_target = first.partition(b" ")
    raw = [(line.partition(b":")[0], line.partition(b":")[2].strip(b" \t")) for line in lines]
    try:
        request = parse_request(method.decode("latin-1"), raw_target, raw, DOMAINS)
        admit(request)
    except S3Error:
        return
    held = [name for name in signed if name not in {"range"}]
    assert told_to_us(request, tuple(held)) == told_to_us(good, tuple(held))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_flipped_character_of_a_presigned_url_is_let_in(data: st.DataObject) -> None:
    url = our_presign("GET", "http://h:1/bucket/key?x-id=A", TEMPORARY, region="r", now=DOC_TIME, expires_s=99)
    target = url.removeprefix("http://h:1").encode()
    flipped = bytearray(target)
    flipped[data.draw(st.integers(0, len(target) - 1))] ^= data.draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
    try:
        request = parse_request("GET", bytes(flipped), [(b"host", b"h:1")], DOMAINS)
        admit(request)
    except S3Error:
        return
    good = parse_request("GET", target, [(b"host", b"h:1")], DOMAINS)
    assert (request.bucket, request.key, request.query) == (good.bucket, good.key, good.query)


def signed(
    headers: dict[str, str] | None = None, holder: Credentials = ALICE, *, payload: str = UNSIGNED, at: float = DOC_TIME
) -> dict[str, str]:
    given_headers = {"host": "127.0.0.1:9000", **(headers or {})}
    return {**given_headers, **our_sign("GET", "/bucket/key", "", given_headers, payload, holder, "us-east-1", at)}


def test_the_clock_may_differ_by_fifteen_minutes() -> None:
    request = ask("GET", "/bucket/key", signed())
    for minutes in (-15, -14, 0, 14, 15):
        assert admit(request, now=DOC_TIME + minutes * 60).access_key == "alice"
    for minutes in (-16, 16, 60 * 24 * 365):
        assert refusal(request, now=DOC_TIME + minutes * 60) == ("RequestTimeTooSkewed", 403)


@pytest.mark.parametrize("header", ["x-amz-meta-x", "x-amz-acl", "x-amz-copy-source", "x-amz-security-token", "x-amz-"])
def test_an_unsigned_amz_header_is_refused_in_both_ways_of_signing(header: str) -> None:
    late = {header: "alice/late"}
    url = our_presign("GET", "http://127.0.0.1:9000/bucket/key", ALICE, region="r", now=DOC_TIME, expires_s=5)
    expected = {("AccessDenied", 403), ("InvalidToken", 400), ("AuthorizationQueryParametersError", 400)}
    assert refusal(ask("GET", "/bucket/key", {**signed(), **late})) in expected
    assert refusal(ask("GET", url.removeprefix("http://127.0.0.1:9000"), late)) in expected


def changed(name: str, old: str, new: str) -> dict[str, str]:
    headers = signed()
    assert old in headers[name]
    return {**headers, name: headers[name].replace(old, new)}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in signed().items() if key != name}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, ("AccessDenied", 403)),
        ({"authorization": "AWS alice:c2lnbmF0dXJl"}, ("InvalidRequest", 400)),
        ({"authorization": "AWS4-ECDSA-P256-SHA256 Credential=x"}, ("InvalidRequest", 400)),
        ({"authorization": "Basic YTpi"}, ("InvalidRequest", 400)),
        ({"authorization": ""}, ("InvalidRequest", 400)),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=a"}, ("AuthorizationHeaderMalformed", 400)),
        (changed("authorization", "/s3/", "/ec2/"), ("AuthorizationHeaderMalformed", 400)),
        (changed("authorization", "aws4_request", "aws5_request"), ("AuthorizationHeaderMalformed", 400)),
        (changed("authorization", "20130524/", "20130525/"), ("AuthorizationHeaderMalformed", 400)),
        (changed("authorization", "Credential=alice/", "Credential=/"), ("AuthorizationHeaderMalformed", 400)),
        (changed("authorization", "Credential=alice/", "Credential=bob/"), ("InvalidAccessKeyId", 403)),
        (changed("authorization", "us-east-1", "us-east-2"), ("SignatureDoesNotMatch", 403)),
        (changed("authorization", "host;", ""), ("AccessDenied", 403)),
        (changed("authorization", "host;", "host;range;"), ("SignatureDoesNotMatch", 403)),
        (changed("x-amz-date", "T", " "), ("AccessDenied", 403)),
        (changed("x-amz-date", "20130524T", "20139924T"), ("AccessDenied", 403)),
        (without("x-amz-date"), ("AccessDenied", 403)),
        (without("x-amz-content-sha256"), ("InvalidRequest", 400)),
        ({**signed(), "x-amz-content-sha256": "STREAMING-WHATEVER"}, ("InvalidArgument", 400)),
        ({**signed(), "x-amz-content-sha256": "E" * 64}, ("InvalidArgument", 400)),
        ({**signed(), "x-amz-content-sha256": EMPTY_SHA256}, ("SignatureDoesNotMatch", 403)),
        ({**signed(), "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, ("SignatureDoesNotMatch", 403)),
        (signed({"x-amz-security-token": "made-up"}), ("InvalidToken", 400)),
        (signed(holder=Credentials("temp", TEMPORARY.secret_key)), ("InvalidToken", 400)),
        (signed(holder=Credentials("temp", TEMPORARY.secret_key, "other")), ("InvalidToken", 400)),
        (signed(holder=Credentials("alice", "another secret")), ("SignatureDoesNotMatch", 403)),
    ],
)  # fmt: skip
def test_refusals_of_header_authentication(headers: dict[str, str], code: tuple[str, int]) -> None:
    assert refusal(ask("GET", "/bucket/key", headers)) == code


def test_a_streaming_mode_is_no_way_around_the_signature() -> None:
    for mode in PayloadMode:
        payload = EMPTY_SHA256 if mode is PayloadMode.HASHED else mode.value
        assert refusal(ask("PUT", "/bucket/key", {"x-amz-content-sha256": payload})) == ("AccessDenied", 403)
        admitted = admit(ask("GET", "/bucket/key", signed(payload=payload)))
        assert admitted.payload is mode
        assert admitted.payload_hash == (EMPTY_SHA256 if mode is PayloadMode.HASHED else "")


def test_a_configured_region_is_required() -> None:
    assert admit(ask("GET", "/bucket/key", signed()), region="us-east-1").access_key == "alice"
    request = ask("GET", "/bucket/key", signed())
    assert refusal(request, region="eu-west-1") == ("AuthorizationHeaderMalformed", 400)


QUERY = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": "alice%2F20130524%2Fr%2Fs3%2Faws4_request",
    "X-Amz-Date": "20130524T000000Z", "X-Amz-Expires": "60", "X-Amz-SignedHeaders": "host", "X-Amz-Signature": "0" * 64,
}  # fmt: skip
BAD_QUERY = ("AuthorizationQueryParametersError", 400)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        *(({name: None}, BAD_QUERY) for name in QUERY),
        ({"X-Amz-Algorithm": "AWS4-ECDSA-P256-SHA256"}, BAD_QUERY),
        ({"X-Amz-Credential": "alice"}, BAD_QUERY),
        ({"X-Amz-Signature": "zz"}, BAD_QUERY),
        ({"X-Amz-Date": "20130525T000000Z"}, BAD_QUERY),
        *(({"X-Amz-Expires": value}, BAD_QUERY) for value in ("0", "-1", "604801", "1" + "0" * 20, "%D9%A1", "1.5", "a")),
        ({"X-Amz-Content-Sha256": "STREAMING-WHATEVER"}, ("InvalidArgument", 400)),
        ({"X-Amz-SignedHeaders": "range"}, ("AccessDenied", 403)),
        ({"X-Amz-Security-Token": "made-up"}, ("InvalidToken", 400)),
        ({}, ("SignatureDoesNotMatch", 403)),
        ({"X-Amz-Credential": "bob%2F20130524%2Fr%2Fs3%2Faws4_request"}, ("InvalidAccessKeyId", 403)),
    ],
)  # fmt: skip
def test_refusals_of_query_authentication(change: dict[str, str | None], code: tuple[str, int]) -> None:
    pairs = [f"{name}={value}" for name, value in {**QUERY, **change}.items() if value is not None]
    assert refusal(ask("GET", "/bucket/key?" + "&".join(pairs))) == code


def test_presigned_urls_begin_and_end() -> None:
    url = our_presign("GET", "http://127.0.0.1:9000/bucket/key", ALICE, region="r", now=DOC_TIME, expires_s=604800)
    request = ask("GET", url.removeprefix("http://127.0.0.1:9000"))
    assert admit(request, now=DOC_TIME - 899).access_key == "alice"
    assert admit(request, now=DOC_TIME + 604800).access_key == "alice"
    assert refusal(request, now=DOC_TIME - 901) == ("AccessDenied", 403)
    with pytest.raises(S3Error, match="Request has expired"):
        admit(request, now=DOC_TIME + 604801)


def test_credentials_in_two_places_are_refused() -> None:
    target = "/bucket/key?" + "&".join(f"{name}={value}" for name, value in QUERY.items())
    assert refusal(ask("GET", target, signed())) == ("InvalidArgument", 400)
    old = "/bucket/key?AWSAccessKeyId=alice&Expires=9999999999&Signature=x"
    assert refusal(ask("GET", old, signed())) == ("InvalidArgument", 400)
    assert refusal(ask("GET", old)) == ("InvalidRequest", 400)


def test_a_presigned_request_may_name_its_payload_once() -> None:
    url = our_presign(
        "GET", f"http://127.0.0.1:9000/bucket/key?X-Amz-Content-Sha256={UNSIGNED}", ALICE, region="r", now=DOC_TIME,
        expires_s=5,
    )  # fmt: skip
    target = url.removeprefix("http://127.0.0.1:9000")
    assert admit(ask("GET", target)).payload is PayloadMode.UNSIGNED
    assert admit(ask("GET", target, {"x-amz-content-sha256": UNSIGNED})).payload is PayloadMode.UNSIGNED
    assert refusal(ask("GET", target, {"x-amz-content-sha256": EMPTY_SHA256})) == BAD_QUERY


def test_the_date_header_stands_in_for_x_amz_date() -> None:
    headers = {"host": "h:1", "date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-content-sha256": EMPTY_SHA256}
    # the documentation's GET, signed with Date only: any signature shows that the time was understood
    told = authorization("alice", "20130524", "date;host;x-amz-content-sha256", "0" * 64)
    assert refusal(ask("GET", "/bucket/key", {**headers, "authorization": told})) == ("SignatureDoesNotMatch", 403)
    late = {**headers, "authorization": told, "date": "nonsense"}
    assert refusal(ask("GET", "/bucket/key", late)) == ("AccessDenied", 403)


@pytest.mark.parametrize(
    "target", ["/bucket/a(b)*c", "/bucket/a%28b", "/bucket/key?prefix=a/b&marker=x+y", "/bucket/%7ea"]
)
def test_either_spelling_may_be_signed(target: str) -> None:
    path, _, query = target.partition("?")
    headers = {"host": "127.0.0.1:9000"}
    recoded = our_sign("GET", canonical_path(path), canonical_query(query), headers, UNSIGNED, ALICE, "r", DOC_TIME)
    assert admit(ask("GET", target, {**headers, **recoded})).access_key == "alice"
    request = ask("GET", target, {**headers, **signed_as_sent(path, query)})
    assert admit(request).access_key == "alice"


def signed_as_sent(path: str, query: str) -> dict[str, str]:
    """What a client that signs its own spelling sends; botocore does that with a path."""
    headers = {"host": "127.0.0.1:9000", "x-amz-content-sha256": UNSIGNED, "x-amz-date": "20130524T000000Z"}
    canonical = canonical_request("GET", path, canonical_query(query, as_sent=True), headers, sorted(headers), UNSIGNED)
    told = string_to_sign("20130524T000000Z", "20130524/us-east-1/s3/aws4_request", canonical)
    signature = seal(derived_key(ALICE.secret_key, "20130524", "us-east-1", "s3"), told)
    return {**headers, "authorization": authorization("alice", "20130524", ";".join(sorted(headers)), signature)}


def test_secrets_stay_out_of_reprs() -> None:
    admitted = admit(ask("GET", "/bucket/key", signed(holder=TEMPORARY)))
    for shown in (repr(TEMPORARY), repr(admitted)):
        assert TEMPORARY.secret_key not in shown
        assert TEMPORARY.session_token not in shown
