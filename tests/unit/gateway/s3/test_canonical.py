"""The canonical form: spelling, order, spaces, and the seal's pieces."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote_from_bytes, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.canonical import (
    canonical_path,
    canonical_query,
    canonical_request,
    canonical_value,
    derived_key,
    encode_path,
    format_amz_date,
    is_canonical,
    parse_amz_date,
    seal,
    string_to_sign,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("", "/"), ("/", "/"), ("/a/../b//c/./", "/a/../b//c/./"), ("/a%2fb", "/a/b"), ("/a b", "/a%20b"),
        ("/%7e~", "/~~"), ("/a+b", "/a%2Bb"), ("/a%2Bb", "/a%2Bb"), ("/(x)*'!", "/%28x%29%2A%27%21"),
        ("/%E2%82%AC", "/%E2%82%AC"), ("/a%252Fb", "/a%252Fb"), ("/%41%2D%2F", "/A-/"),
    ],
)  # fmt: skip
def test_paths_are_encoded_once_and_never_normalised(raw: str, canonical: str) -> None:
    assert canonical_path(raw) == canonical
    assert canonical_path(raw, as_sent=True) == (raw or "/")


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("", ""), ("acl", "acl="), ("b=2&a=1", "a=1&b=2"), ("a=2&a=1", "a=1&a=2"), ("a-=1&a=2", "a=2&a-=1"),
        ("a=x/y", "a=x%2Fy"), ("a=x+y", "a=x%20y"), ("&&a=1&", "a=1"), ("a=b=c", "a=b%3Dc"), ("a=%7e", "a=~"),
        ("A=1&a=1", "A=1&a=1"), ("%41=1&B=2", "A=1&B=2"), ("a=%2F%2b", "a=%2F%2B"),
    ],
)  # fmt: skip
def test_queries_are_sorted_by_name_then_value(raw: str, canonical: str) -> None:
    assert canonical_query(raw) == canonical


@given(code=st.integers(0, 255))
def test_an_escape_is_canonical_exactly_if_it_must_be_one(code: int) -> None:
    spelled, byte = f"%{code:02X}", bytes([code])
    assert is_canonical("/" + spelled, "") == (quote_from_bytes(byte, safe="/~") == spelled)
    assert is_canonical("/", spelled) == (quote_from_bytes(byte, safe="~") == spelled)


def test_a_query_as_sent_keeps_its_spelling() -> None:
    assert canonical_query("b=x/y&a=1+2&c=d=e", as_sent=True) == "a=1+2&b=x/y&c=d=e"


def test_the_seal_of_the_documentation() -> None:
    canonical = canonical_request(
        "GET",
        "/test.txt",
        "",
        {
            "host": "examplebucket.s3.amazonaws.com",
            "range": "bytes=0-9",
            "x-amz-content-sha256": sha256(b"").hexdigest(),
            "x-amz-date": "20130524T000000Z",
        },
        ["host", "range", "x-amz-content-sha256", "x-amz-date"],
        sha256(b"").hexdigest(),
    )
    told = string_to_sign("20130524T000000Z", "20130524/us-east-1/s3/aws4_request", canonical)
    assert told.endswith("7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972")
    key = derived_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3")
    assert seal(key, told) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


def test_one_parameter_may_be_left_out() -> None:
    assert canonical_query("X-Amz-Signature=1&a=2", without="X-Amz-Signature") == "a=2"


@given(key=TEXT)
def test_a_key_has_one_spelling(key: str) -> None:
    spelled = encode_path(key)
    assert unquote(spelled, errors="strict") == key
    assert is_canonical("/" + spelled, "")
    assert canonical_path("/" + spelled) == "/" + spelled


@given(name=TEXT, value=TEXT)
def test_a_canonical_query_is_canonical(name: str, value: str) -> None:
    raw = f"{encode_path(name)}={encode_path(value)}"
    once = canonical_query(raw)
    assert canonical_query(once) == once
    assert is_canonical("/", once)


@pytest.mark.parametrize("value", ["a b", " a b ", "a  b", "a\tb", "a \t b", "\ta   b"])
def test_spaces_of_a_value_count_as_one(value: str) -> None:
    assert canonical_value(value) == "a b"
    told = canonical_request("GET", "/", "", {"x": value}, ["x"], "h")
    assert told == "GET\n/\n\nx:a b\n\nx\nh"


def test_a_colon_in_a_value_is_no_space() -> None:
    assert canonical_request("GET", "/", "", {"x": "a: b"}, ["x"], "h") == "GET\n/\n\nx:a: b\n\nx\nh"


def test_times() -> None:
    assert format_amz_date(1369353600.9) == "20130524T000000Z"
    assert parse_amz_date("20130524T000000Z") == 1369353600.0
    for wrong in ("20130524T000000", "20139924T000000Z", "2013-05-24T00:00:00Z", "", "\u0662" * 8 + "T000000Z"):
        assert parse_amz_date(wrong) is None


def test_the_derived_key_depends_on_every_part() -> None:
    parts = ("secret", "20130524", "us-east-1", "s3")
    keys = {derived_key(*(part + ("x" if index == at else "") for index, part in enumerate(parts))) for at in range(5)}
    assert len(keys) == 5
