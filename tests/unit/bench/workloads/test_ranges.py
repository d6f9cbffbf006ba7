from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.operations import BenchObject, Read
from bench.workloads.ranges import random_ranges
from cache.versions import ByteSpan


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=5), st.integers(0, 12_000), st.integers())
def test_every_range_lies_in_its_object_and_has_the_length_asked_for(
    sizes: list[int], range_bytes: int, seed: int
) -> None:
    objects = [BenchObject(str(number), size) for number, size in enumerate(sizes)]
    reads = islice(random_ranges(objects, random.Random(seed).randrange, range_bytes=range_bytes), 50)
    for read in reads:
        size = sizes[int(read.key)]
        if read.span is None:
            assert (size, read.length) == (0, 0)
            continue
        assert 0 <= read.span.start < read.span.stop <= size
        assert read.length == read.span.length
        assert not range_bytes or read.length == min(range_bytes, size)


@pytest.mark.parametrize(("choice", "span"), [(0, ByteSpan(0, 4)), (6, ByteSpan(6, 10))])
def test_the_first_and_the_last_place_can_be_chosen(choice: int, span: ByteSpan) -> None:
    def choose(count: int) -> int:
        return choice if count == 7 else 0

    assert next(random_ranges([BenchObject("k", 10)], choose, range_bytes=4)) == Read("k", 4, span)


def test_without_a_length_it_is_chosen_as_well() -> None:
    chosen = iter([0, 2, 5])
    assert next(random_ranges([BenchObject("k", 10)], lambda _: next(chosen))) == Read("k", 3, ByteSpan(5, 8))
