"""A habit never says more than the whole way does: whatever it lets in, the whole way lets in as the same request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.habits import Habit, habit_of
from gateway.s3.requests import S3Request, read_head, request_of
from gateway.s3.sigv4 import EMPTY_SHA256, Authenticated, Credentials, authenticate, presign, sign

ALICE = Credentials("ALICEKEY", "alice-secret")
TEMPORARY = Credentials("TEMPKEY", "temporary-secret", "a-token")
DOMAINS = ("s3.test",)
NOW = 1_764_000_000.0


def head_of(
    path: str = "/bucket/key",
    *,
    method: str = "GET",
    now: float = NOW,
    who: Credentials = ALICE,
    invocation: str = "6d0a3c5e-0000-4000-8000-000000000001",
    **more: str,
) -> bytes:
    """A head as botocore sends it; ``more`` headers (``_`` for ``-``) are signed too."""
    headers = {"host": "h:9000", **{name.replace("_", "-"): value for name, value in more.items()}}
    signed = sign(method, path.partition("?")[0], path.partition("?")[2], headers, EMPTY_SHA256, who, "eu-1", now)
    lines = [f"{method} {path} HTTP/1.1", "Host: h:9000", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name != "host"]
    lines += ["User-Agent: Boto3/1.40 md/Botocore#1.40", f"X-Amz-Date: {signed.pop('x-amz-date')}"]
    lines += [f"{name}: {value}" for name, value in signed.items()]
    lines += [f"amz-sdk-invocation-id: {invocation}", "amz-sdk-request: attempt=1", "", ""]
    return "\r\n".join(lines).encode()


def whole(head: bytes, now: float = NOW) -> tuple[S3Request, Authenticated] | None:
    """The whole way's word on a head; None: it is refused, or for aiohttp's parser."""
    read = read_head(head)
    if read is None:
        return None
    try:
        request = request_of(*read, DOMAINS)
        return request, authenticate(request, {"ALICEKEY": ALICE, "TEMPKEY": TEMPORARY}.get, now=now)
    except S3Error:
        return None


def short(habit: Habit, head: bytes, now: float = NOW) -> tuple[S3Request, Authenticated | None] | None:
    shown = habit.recognise(head)
    if shown is None or not habit.sealed(shown, now):
        return None
    try:
        request = habit.request(shown)
    except S3Error:
        return None
    return None if request is None else (request, habit.authenticated(shown))


def shown_by(head: bytes) -> Habit:
    let_in = whole(head)
    assert let_in is not None
    habit = habit_of(head, *let_in, DOMAINS)
    assert habit is not None
    return habit


@pytest.mark.parametrize(
    "other",
    [
        head_of("/bucket/other"),
        head_of("/bucket/other", method="HEAD"),
        head_of("/bucket/some%20key/%C3%A4"),
        head_of(now=NOW + 77, invocation="another"),
    ],
)
def test_what_differs_as_requests_differ_is_let_in_as_the_same(other: bytes) -> None:
    assert short(shown_by(head_of()), other) == whole(other) is not None


def test_ranges_differ_too() -> None:
    habit = shown_by(head_of(range="bytes=0-99"))
    for asked in ("bytes=100-", "bytes=4096-8191"):
        other = head_of(range=asked)
        assert short(habit, other) == whole(other) is not None
    assert short(habit, head_of(range="bytes=-5")) is None
    assert short(habit, head_of()) is None


def test_a_token_is_part_of_the_habit() -> None:
    habit = shown_by(head_of(who=TEMPORARY))
    assert short(habit, head_of("/b2b/k", who=TEMPORARY)) is not None
    assert short(habit, head_of("/b2b/k", who=Credentials("TEMPKEY", "temporary-secret", "stolen"))) is None


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(head_of(who=Credentials("ALICEKEY", "wrong")), id="wrong secret"),
        pytest.param(head_of(who=TEMPORARY), id="another client"),
        pytest.param(head_of(now=NOW - 1000), id="too old"),
        pytest.param(head_of(now=NOW + 86_400), id="another day"),
        pytest.param(head_of("/bucket/key?versionId=1"), id="a query"),
        pytest.param(head_of(if_match='"1"'), id="a condition"),
        pytest.param(head_of(x_amz_checksum_mode="ENABLED"), id="another header"),
        pytest.param(head_of().replace(b"/bucket/key", b"/bucket/kex"), id="another key under the same signature"),
        pytest.param(head_of().replace(b"/bucket/key", b"/bucket/k\xc3\xa4y"), id="not ASCII"),
        pytest.param(head_of().replace(b"amz-sdk-request", b"X-Forebay-Job: j\r\namz-sdk-request"), id="a line more"),
        pytest.param(head_of().replace(b"amz-sdk-request: attempt=1\r\n", b""), id="a line less"),
        pytest.param(head_of(invocation="with a space"), id="an odd id"),
        pytest.param(head_of() + head_of(), id="two heads"),
    ],
)
def test_everything_else_goes_the_whole_way(other: bytes) -> None:
    assert short(shown_by(head_of()), other) is None


@pytest.mark.parametrize(
    "head", [head_of("/bucket/key?x-id=GetObject"), head_of().replace(b"X-Amz-Date: ", b"X-Amz-Date:  ")]
)
def test_no_habit_of_a_query_and_of_odd_spaces(head: bytes) -> None:
    let_in = whole(head)
    assert let_in is not None
    habit = habit_of(head, *let_in, DOMAINS)
    assert habit is None or short(habit, head) == let_in


def test_no_habit_of_a_long_head() -> None:
    head = head_of(x_amz_meta_long="x" * 5000)
    let_in = whole(head)
    assert let_in is not None
    assert habit_of(head, *let_in, DOMAINS) is None


def test_no_habit_of_a_presigned_url() -> None:
    url = presign("GET", "http://h:9000/bucket/key", ALICE, region="eu-1", now=NOW, expires_s=60)
    head = f"GET {url.removeprefix('http://h:9000')} HTTP/1.1\r\nHost: h:9000\r\n\r\n".encode()
    let_in = whole(head)
    assert let_in is not None
    assert habit_of(head, *let_in, DOMAINS) is None


@pytest.mark.parametrize("first", [head_of(), head_of(range="bytes=0-99", who=TEMPORARY)])
def test_no_changed_byte_makes_the_short_way_differ(first: bytes) -> None:
    habit = shown_by(first)
    for position in range(len(first)):
        for bit in (1, 2, 32, 128):
            head = first[:position] + bytes([first[position] ^ bit]) + first[position + 1 :]
            assert short(habit, head) in (None, whole(head))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_spliced_head_makes_the_short_way_differ(data: st.DataObject) -> None:
    first, second = head_of(), head_of("/bucket/other%20key", now=NOW + 5, invocation="x" * 36)
    cut, back = data.draw(st.integers(0, len(second))), data.draw(st.integers(0, len(second)))
    stuff = data.draw(st.binary(max_size=12) | st.sampled_from([b"\r\n", b"\n", b"\0", b" ", b"\t", b"\r\nRange: b"]))
    head = second[:cut] + stuff + second[back:]
    assert short(shown_by(first), head) in (None, whole(head))
