from __future__ import annotations

from itertools import islice

from bench.operations import BenchObject, Read
from bench.workloads.terms import Terms
from bench.workloads.whole import whole_objects
from tests.unit.bench.workloads.given import lane, terms

OBJECTS = (BenchObject("a", 5), BenchObject("b", 0), BenchObject("c", 9))


def of_three() -> Terms:
    return Terms(OBJECTS, shared=terms(1).shared, body=terms(1).body)


def test_each_read_is_of_the_whole_object_that_was_chosen() -> None:
    chosen = iter([2, 0, 1])
    reads = list(islice(whole_objects(of_three(), lane(choose=lambda _: next(chosen))), 3))
    assert reads == [Read("c", 9), Read("a", 5), Read("b", 0)]


def test_the_choice_is_among_all_objects() -> None:
    asked: list[int] = []

    def choose(count: int) -> int:
        asked.append(count)
        return 0

    list(islice(whole_objects(of_three(), lane(choose=choose)), 2))
    assert asked == [3, 3]
