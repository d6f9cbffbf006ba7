from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.operations import BenchObject, Read
from bench.plan import Shape
from bench.workloads.terms import in_parts, nothing
from tests.unit.bench.workloads.given import terms


@given(st.integers(0, 1000), st.integers(0, 1200))
def test_parts_are_the_object_from_front_to_end(size: int, part_bytes: int) -> None:
    parts = list(in_parts(BenchObject("k", size), part_bytes))
    assert sum(part.length for part in parts) == size
    if not 0 < part_bytes < size:
        assert parts == [Read("k", size)]
        return
    spans = [part.span for part in parts if part.span]
    assert [span.start for span in spans] == list(range(0, size, part_bytes))
    assert [span.stop for span in spans[:-1]] == [span.start for span in spans[1:]]
    assert all(part.length == part.span.length for part in parts if part.span)


def test_whole_reads_are_made_once() -> None:
    given_terms = terms(3)
    assert given_terms.reads is given_terms.reads
    assert [read.length for read in given_terms.reads] == [10, 10, 10]


def test_most_workloads_leave_nothing_behind() -> None:
    assert nothing(Shape()) == ()
