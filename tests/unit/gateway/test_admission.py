import time
from dataclasses import replace

import pytest

from gateway.admission import ANYBODY, Admission, Admitted, Denied, Regular
from gateway.identities import parse_identities
from gateway.s3.errors import S3Error
from gateway.s3.requests import parse_request
from gateway.s3.sigv4 import EMPTY_SHA256, sign

IDENTITIES = parse_identities(
    {
        "identity": [
            {
                "access_key": "OWNERKEY",
                "secret_key": "owner-secret",
                "name": "owner",
                "job": "llm",
                "rank": "3",
                "gpus": 8,
                "target": "2GB/s",
                "grants": [{"allow": ["read", "write", "list"]}],
            },
            {
                "access_key": "READERKEY",
                "secret_key": "reader-secret",
                "grants": [{"buckets": ["data*"], "prefixes": ["public/"], "allow": ["read", "list"]}],
            },
        ]
    }
)
NOW = time.time()


def asked(method: str, target: str, key: str = "OWNERKEY", **extra: str):
    identity = IDENTITIES.find(key)
    assert identity is not None
    path, _, query = target.partition("?")
    headers = {"host": "h", **{name.replace("_", "-"): value for name, value in extra.items()}}
    headers |= sign(method, path, query, headers, EMPTY_SHA256, identity, "us-east-1", NOW)
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return parse_request(method, target.encode(), pairs, ())


def admission(*, required: bool = True) -> Admission:
    return Admission(IDENTITIES, required=required, target=7e9)


def refused(request, code: str = "AccessDenied") -> None:
    with pytest.raises(S3Error) as caught:
        admission().admit(request, NOW)
    assert caught.value.code == code


def test_who_is_denied_is_known_to_the_meter():
    with pytest.raises(Denied) as caught:
        admission().admit(asked("GET", "/data/private/k", key="READERKEY"), NOW)
    assert caught.value.admitted.identity.access_key == "READERKEY"
    assert caught.value.admitted.operation.name == "GetObject"


def test_the_owner_may_do_everything():
    for method, target in (("GET", "/data/k"), ("PUT", "/data/k"), ("GET", "/data?list-type=2"), ("GET", "/")):
        assert admission().admit(asked(method, target), NOW).identity.name == "owner"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/data1/public/k"), ("HEAD", "/data1/public/k"), ("GET", "/data?list-type=2&prefix=public/x")],
)
def test_a_grant_allows_what_it_names(method, target):
    assert admission().admit(asked(method, target, "READERKEY"), NOW).identity.access_key == "READERKEY"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/data1/private/k"),
        ("GET", "/other/public/k"),
        ("PUT", "/data1/public/k"),
        ("DELETE", "/data1/public/k"),
        ("GET", "/data?list-type=2"),
        ("GET", "/data?list-type=2&prefix=pub"),
        ("GET", "/"),
    ],
)
def test_what_no_grant_names_is_refused(method, target):
    refused(asked(method, target, "READERKEY"))


def test_a_copy_needs_the_right_to_read_its_source():
    both = IDENTITIES.find("READERKEY")
    assert both is not None
    refused(asked("PUT", "/data1/public/k", "READERKEY", x_amz_copy_source="/data1/private/k"))
    admission().admit(asked("PUT", "/data1/k", x_amz_copy_source="/data1/private/k"), NOW)


def test_the_unsigned_are_refused_and_the_old():
    refused(parse_request("GET", b"/data/k", [(b"host", b"h")], ()))
    with pytest.raises(S3Error) as caught:
        admission().admit(asked("GET", "/data/k"), NOW + 16 * 60)
    assert caught.value.code == "RequestTimeTooSkewed"


def test_with_authentication_off_everybody_may():
    request = parse_request("PUT", b"/data/k", [(b"host", b"h")], ())
    admitted = admission(required=False).admit(request, NOW)
    assert admitted.identity is ANYBODY
    assert admitted.auth is None


def test_the_meter_is_told_what_the_identity_says_and_the_request_refines():
    rules = admission()
    plain = rules.client(rules.admit(asked("GET", "/data/k"), NOW))
    assert (plain.name, plain.job, plain.rank, plain.gpus, plain.target) == ("owner", "llm", "3", 8, 2e9)
    tagged = asked("GET", "/data/k", x_forebay_job="eval", x_forebay_rank="5", x_forebay_gpus="2")
    refined = rules.client(rules.admit(tagged, NOW))
    assert (refined.name, refined.job, refined.rank, refined.gpus) == ("owner", "eval", "5", 2)
    odd = asked("GET", "/data/public/k", "READERKEY", x_forebay_gpus="-1")
    unknown = rules.client(rules.admit(odd, NOW))
    assert (unknown.gpus, unknown.target) == (0, 7e9)


def head_of(request) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in request.headers.items()]
    return f"{request.method} {request.raw_path.decode()} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def admitted_again(door: Admission, regular: Regular, head: bytes) -> Admitted | None:
    shown = regular.shown(head, NOW)
    return None if shown is None else door.admit_regular(regular, shown)


def test_a_regular_client_gets_the_same_word_by_the_short_way():
    first = asked("GET", "/data1/public/k", key="READERKEY")
    door = admission()
    regular = door.regular(head_of(first), door.admit(first, NOW), (), NOW)
    assert regular is not None
    for method, target in (("GET", "/data2/public/other"), ("HEAD", "/data1/public/k")):
        other = asked(method, target, key="READERKEY")
        assert admitted_again(door, regular, head_of(other)) == door.admit(other, NOW)


def test_a_regular_client_may_not_do_more_than_others():
    first = asked("GET", "/data1/public/k", key="READERKEY")
    door = admission()
    regular = door.regular(head_of(first), door.admit(first, NOW), (), NOW)
    assert regular is not None
    for target in ("/data1/private/k", "/other/public/k", "/data1/"):
        assert admitted_again(door, regular, head_of(asked("GET", target, key="READERKEY"))) is None
    assert admitted_again(door, regular, head_of(asked("GET", "/data1/public/k"))) is None


def test_a_client_is_the_same_regular_on_every_connection():
    door = admission()
    first, other = asked("GET", "/data1/public/k", key="READERKEY"), asked("GET", "/data2/public/k", key="READERKEY")
    regular = door.regular(head_of(first), door.admit(first, NOW), (), NOW)
    assert regular is door.regular(head_of(other), door.admit(other, NOW), (), NOW) is not None
    stranger = asked("GET", "/data1/public/k")
    assert door.regular(head_of(stranger), door.admit(stranger, NOW), (), NOW) is not regular


def test_who_is_signed_in_another_spelling_than_sent_is_no_regular():
    door = admission()
    request = asked("GET", "/data1/public/a%3Db", key="READERKEY")
    sent = replace(request, raw_path=b"/data1/public/a%3db")
    assert door.regular(head_of(sent), door.admit(sent, NOW), (), NOW) is None


def test_without_authentication_everybody_is_regular():
    door = admission(required=False)
    request, other = asked("GET", "/data/k"), asked("GET", "/data/other")
    regular = door.regular(head_of(request), door.admit(request, NOW), (), NOW)
    assert regular is not None
    assert admitted_again(door, regular, head_of(other)) == door.admit(other, NOW)
