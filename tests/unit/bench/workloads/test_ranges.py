from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.operations import BenchObject, Read
from bench.workloads.ranges import random_ranges
from bench.workloads.terms import Terms
from cache.versions import ByteSpan
from tests.unit.bench.workloads.given import lane, terms


def of(*objects: BenchObject, range_bytes: int = 0) -> Terms:
    return Terms(objects, shared=terms(1).shared, body=terms(1).body, range_bytes=range_bytes)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=5), st.integers(0, 12_000), st.integers())
def test_every_range_lies_in_its_object_and_has_the_length_asked_for(
    sizes: list[int], range_bytes: int, seed: int
) -> None:
    objects = [BenchObject(str(number), size) for number, size in enumerate(sizes)]
    mine = lane(choose=random.Random(seed).randrange)
    for read in islice(random_ranges(of(*objects, range_bytes=range_bytes), mine), 50):
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

    assert next(random_ranges(of(BenchObject("k", 10), range_bytes=4), lane(choose=choose))) == Read("k", 4, span)


def test_without_a_length_it_is_chosen_as_well() -> None:
    chosen = iter([0, 2, 5])
    reads = random_ranges(of(BenchObject("k", 10)), lane(choose=lambda _: next(chosen)))
    assert next(reads) == Read("k", 3, ByteSpan(5, 8))
