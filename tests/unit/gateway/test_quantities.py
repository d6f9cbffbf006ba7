"""Sizes and rates, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.quantities import parse_bytes, parse_rate, render_bytes, render_rate

SIZES = [
    ("8MiB", 8 << 20), ("8 MiB", 8 << 20), ("8mib", 8 << 20), ("8Mi", 8 << 20), ("64GB", 64 * 10**9),
    ("64G", 64 * 10**9), ("1.5KiB", 1536), ("0", 0), ("1048576", 1 << 20), (" 5 B ", 5), ("2TiB", 2 << 40),
    ("1PB", 10**15), (4096, 4096),
]  # fmt: skip
RATES = [
    ("7GB/s", 7e9), ("7 GB/s", 7e9), ("7GB", 7e9), ("250MiB/s", 250 * 2**20), ("1e", None), (7e9, 7e9), (7, 7.0),
    ("7Gb/s", None), ("7Gbps", None), ("", None), (-1, None), (True, None), (None, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "count"), SIZES)
def test_a_size(text: object, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "MiB", "8XB", "-1", "8MiB/s", "0.3B", "1iB", "8 M iB", "inf", "٣", -1, True, 1.5, None]
)
def test_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="write a size"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "rate"), RATES)
def test_a_rate(text: object, rate: float | None) -> None:
    if rate is None:
        with pytest.raises(ValueError, match="write a rate"):
            parse_rate(text)
    else:
        assert parse_rate(text) == rate


@given(st.integers(min_value=0, max_value=1 << 60))
def test_whole_numbers_are_bytes(count: int) -> None:
    assert parse_bytes(count) == count


@given(st.integers(min_value=0, max_value=1 << 50))
def test_what_is_rendered_reads_back_within_its_three_digits(count: int) -> None:
    assert parse_bytes_or_near(render_bytes(count)) == pytest.approx(count, rel=0.006, abs=1)
    assert parse_rate(render_rate(count)) == pytest.approx(count, rel=0.006, abs=1)


def parse_bytes_or_near(text: str) -> float:
    number, unit = text.split()
    return float(number) * parse_bytes(f"1{unit}")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1023, "1023 B"), (8 << 20, "8 MiB"), (1536, "1.5 KiB"), (1 << 50, "1 PiB")],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert render_bytes(count) == text


@pytest.mark.parametrize(("rate", "text"), [(0, "0 B/s"), (7e9, "7 GB/s"), (6.54e9, "6.54 GB/s"), (1e12, "1 TB/s")])
def test_rates_for_people(rate: float, text: str) -> None:
    assert render_rate(rate) == text
