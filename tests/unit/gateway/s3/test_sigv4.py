"""SigV4: the vectors of the S3 documentation, botocore as oracle, and everything that must be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st

from gateway.s3.canonical import (
    canonical_path,
    canonical_query,
    canonical_request,
    derived_key,
    seal,
    string_to_sign,
)
from gateway.s3.errors import S3Error
from gateway.s3.requests import S3Request
from gateway.s3.sigv4 import EMPTY_SHA256, UNSIGNED, Credentials, PayloadMode
from gateway.s3.sigv4 import presign as our_presign
from gateway.s3.sigv4 import sign as our_sign
from tests.unit.gateway.s3.asking import ALICE, DOC, DOC_TIME, TEMPORARY, admit, ask, refusal

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


MALFORMED = ("AuthorizationHeaderMalformed", 400)


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
        ({"authorization": "AWS4-HMAC-SHA256 Credential=a"}, MALFORMED),
        (changed("authorization", "us-east-1", "r" * 65), MALFORMED),
        (changed("authorization", "SignedHeaders=", "SignedHeaders=" + "a;" * 3000), MALFORMED),
        (changed("authorization", "SignedHeaders=", "Headers="), MALFORMED),
        (changed("authorization", "/s3/", "/ec2/"), MALFORMED),
        (changed("authorization", "aws4_request", "aws5_request"), MALFORMED),
        (changed("authorization", "20130524/", "20130525/"), MALFORMED),
        (changed("authorization", "Credential=alice/", "Credential=/"), MALFORMED),
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
        *(({"X-Amz-Expires": value}, BAD_QUERY) for value in (
            "0", "-1", "604801", "1" + "0" * 20, "%D9%A1", "1.5", "a",
        )),
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


def test_a_presigned_url_carries_its_session_token() -> None:
    url = our_presign("GET", "http://127.0.0.1:9000/bucket/a(b", TEMPORARY, region="r", now=DOC_TIME, expires_s=9)
    target = url.removeprefix("http://127.0.0.1:9000")
    assert admit(ask("GET", target)).access_key == "temp"
    assert refusal(ask("GET", target.replace("a(b", "a(c"))) == ("SignatureDoesNotMatch", 403)
    assert refusal(ask("GET", target.replace("a-token", "b-token"))) == ("InvalidToken", 400)


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
