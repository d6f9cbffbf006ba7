"""HTTP ranges: what counts as one, and the span it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.faults import RangeOutside
from cache.versions import ByteSpan
from gateway.s3.ranges import Range, parse_range


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("bytes=0-0", Range(0, 0)), ("bytes=0-", Range(0, None)), ("bytes=-5", Range(None, 5)),
        ("bytes=-0", Range(None, 0)), (" bytes=1-2\t", Range(1, 2)), ("bytes=007-8", Range(7, 8)),
        ("bytes=0-" + "9" * 19, Range(0, 10**19 - 1)), ("bytes=5-5", Range(5, 5)),
    ],
)  # fmt: skip
def test_ranges(header: str, asked: Range) -> None:
    assert parse_range(header) == asked


@pytest.mark.parametrize(
    "header",
    [
        "", "bytes", "bytes=", "bytes=-", "bytes=2-1", "bytes=0-1,3-4", "bytes=0-0," * 1000, "bytes=a-b", "bytes=+1-2",
        "bytes=1-+2", "bytes=--1", "bytes=0x1-2", "bytes=1 - 2", "bytes = 1-2", "bytes 1-2", "items=0-1", "bytes=1.0-2",
        "bytes=0-" + "9" * 20, "bytes=" + "1" + "0" * 30 + "-", "bytes=\u0661-\u0662", "bytes=\uff11-2", "bytes=0-1\n",
        "bytes=0-1;", "bytes=1_0-20",
    ],
)  # fmt: skip
def test_what_s3_does_not_serve_as_a_range_counts_as_none(header: str) -> None:
    assert parse_range(header) is None


@pytest.mark.parametrize(
    ("asked", "size", "span"),
    [
        (Range(0, 0), 1, ByteSpan(0, 1)), (Range(0, None), 9, ByteSpan(0, 9)), (Range(3, 5), 9, ByteSpan(3, 6)),
        (Range(3, 99), 9, ByteSpan(3, 9)), (Range(8, 8), 9, ByteSpan(8, 9)), (Range(None, 3), 9, ByteSpan(6, 9)),
        (Range(None, 9), 9, ByteSpan(0, 9)), (Range(None, 99), 9, ByteSpan(0, 9)),
        (Range(0, 10**19 - 1), 1, ByteSpan(0, 1)),
    ],
)  # fmt: skip
def test_spans(asked: Range, size: int, span: ByteSpan) -> None:
    assert asked.resolve(size) == span


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        (Range(9, 9), 9), (Range(9, None), 9), (Range(10, 99), 9), (Range(None, 0), 9), (Range(0, 0), 0),
        (Range(0, None), 0), (Range(None, 5), 0), (Range(None, 0), 0), (Range(10**18, None), 9),
    ],
)  # fmt: skip
def test_ranges_outside(asked: Range, size: int) -> None:
    with pytest.raises(RangeOutside) as outside:
        asked.resolve(size)
    assert outside.value.size == size


@given(first=st.integers(0, 50), length=st.integers(1, 50), size=st.integers(0, 60))
def test_a_span_is_the_slice(first: int, length: int, size: int) -> None:
    data = bytes(range(size))
    asked = parse_range(f"bytes={first}-{first + length - 1}")
    assert asked is not None
    if first >= size:
        with pytest.raises(RangeOutside):
            asked.resolve(size)
    else:
        span = asked.resolve(size)
        assert data[span.start : span.stop] == data[first : first + length]


@given(header=st.text(max_size=30) | st.text("bytes=0123456789-, ", max_size=30))
def test_no_header_breaks_the_parser(header: str) -> None:
    asked = parse_range(header)
    assert asked is None or asked.first is not None or asked.last is not None
