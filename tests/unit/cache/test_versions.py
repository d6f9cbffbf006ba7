"""Versions, questions and spans: what makes two of them the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.versions import ByteSpan, Entry, ObjectRef, ObjectVersion

VERSION = ObjectVersion("http://upstream", "b", "k", '"a"', 5, "v1")


@pytest.mark.parametrize(
    "change",
    [{"origin": "x"}, {"bucket": "x"}, {"key": "x"}, {"etag": '"x"'}, {"size": 6}, {"version_id": "x"}],
)
def test_whatever_differs_makes_another_version(change: dict[str, str | int]) -> None:
    names = ("origin", "bucket", "key", "etag", "size", "version_id")
    other = ObjectVersion(**{name: getattr(VERSION, name) for name in names} | change)
    assert other != VERSION
    assert other.identity != VERSION.identity


def test_fields_do_not_run_into_each_other() -> None:
    one, two = ObjectVersion("o", "ab", "c", "e", 1), ObjectVersion("o", "a", "bc", "e", 1)
    assert one.identity != two.identity
    assert ObjectRef("ab", "c").digest() != ObjectRef("a", "bc").digest()


def test_identity_does_not_depend_on_the_instance() -> None:
    assert VERSION.identity == ObjectVersion("http://upstream", "b", "k", '"a"', 5, "v1").identity
    assert len(VERSION.identity) == 16


def test_no_negative_size() -> None:
    with pytest.raises(ValueError, match="no such size"):
        ObjectVersion("o", "b", "k", "e", -1)


def test_a_slot_covers_a_key_whatever_its_version() -> None:
    slots = {ObjectRef("b", "k", version_id).slot(1000) for version_id in ("", "v1", "v2")}
    assert len(slots) == 1
    assert {ObjectRef("b", f"{n}").slot(4) for n in range(100)} == {0, 1, 2, 3}
    assert ObjectRef("b", "k").digest() != ObjectRef("b", "k", "v1").digest()


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (1, 1), (2, 1)])
def test_no_empty_span(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="no such span"):
        ByteSpan(start, stop)


@given(start=st.integers(0, 1000), length=st.integers(1, 1000), chunk_bytes=st.integers(1, 200))
def test_chunk_indexes_are_those_that_the_span_touches(start: int, length: int, chunk_bytes: int) -> None:
    span = ByteSpan(start, start + length)
    assert span.length == length
    assert list(span.chunk_indexes(chunk_bytes)) == sorted({n // chunk_bytes for n in range(span.start, span.stop)})


def test_headers_of_an_entry() -> None:
    entry = Entry(VERSION, (("content-type", "text/plain"),), 1.0, 2)
    assert entry.header("content-type") == "text/plain"
    assert entry.header("etag") == ""
    assert replace(entry, token=3) != entry
