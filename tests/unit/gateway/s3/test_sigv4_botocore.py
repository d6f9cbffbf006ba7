"""SigV4 against botocore and against flipped bytes: what it signs is let in, what was changed afterwards is not."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.s3.canonical import parse_amz_date
from gateway.s3.errors import S3Error
from gateway.s3.requests import S3Request, parse_request, read_head, request_of
from gateway.s3.sigv4 import EMPTY_SHA256, UNSIGNED, Credentials
from gateway.s3.sigv4 import presign as our_presign
from gateway.s3.sigv4 import sign as our_sign
from tests.unit.gateway.s3.asking import ALICE, DOC_TIME, DOMAINS, TEMPORARY, admit, refusal

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
NAMES = KEYS.filter(lambda name: not name.startswith("X-Amz-") and name not in {"Signature", "AWSAccessKeyId"})


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
@given(key=KEYS, holder=st.sampled_from([ALICE, TEMPORARY]), query=st.dictionaries(NAMES, KEYS, max_size=3))
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
    path, _, query = target.partition("?")
    added = our_sign(
        "GET", path, query, {"host": "h:1", "x-amz-meta-m": "v v", "range": "bytes=1-2"},
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
    held = tuple(name for name in signed if name != "range")
    assert told_to_us(request, held) == told_to_us(good, held)


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


def test_every_byte_of_a_head_that_botocore_signed_counts() -> None:
    url = "http://h:1/bucket/some%20key?partNumber=1&x-id=GetObject"
    headers, now = boto_headers("GET", url, TEMPORARY, {"x-amz-checksum-mode": "ENABLED", "Range": "bytes=0-99"})
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"GET {url.removeprefix('http://h:1')} HTTP/1.1\r\n{lines}\r\n".encode()

    def admitted(raw: bytes) -> S3Request | None:
        read = read_head(raw)
        try:
            request = request_of(*read, DOMAINS) if read else None
            if request is not None:
                admit(request, now=now)
        except S3Error:
            return None
        return request

    good = admitted(head)
    assert good is not None
    for position in range(len(head)):
        for bit in (1, 2, 32, 128):
            request = admitted(head[:position] + bytes([head[position] ^ bit]) + head[position + 1 :])
            if request is not None:
                assert (request.bucket, request.key, request.query) == (good.bucket, good.key, good.query)
                assert request.headers | {"authorization": ""} == good.headers | {"authorization": ""}
