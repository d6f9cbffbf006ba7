from __future__ import annotations

from itertools import islice

from bench.workloads.headline import DEFAULTS, headline_parts
from tests.unit.bench.workloads.given import lane, terms

MB = 1_000_000


def test_an_object_of_50_mb_is_read_in_parts_of_15() -> None:
    reads = list(islice(headline_parts(terms(2, 50 * MB), lane()), 8))
    assert [read.length for read in reads] == [15 * MB, 15 * MB, 15 * MB, 5 * MB] * 2
    assert len({read.key for read in reads}) == 2


def test_the_shape_is_the_published_one() -> None:
    assert DEFAULTS == {"objects": 10_000, "object_bytes": 50 * MB, "range_bytes": 15 * MB, "concurrent": 100}


def test_another_part_size_may_be_asked_for() -> None:
    assert next(headline_parts(terms(1, 50 * MB, range_bytes=MB), lane())).length == MB
