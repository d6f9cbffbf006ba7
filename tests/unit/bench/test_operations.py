from __future__ import annotations

from bench.operations import BenchObject, OperationFailed, name_objects


def test_objects_are_named_after_their_size_and_number() -> None:
    assert name_objects("p/", 4096, 2) == (BenchObject("p/4096/000000", 4096), BenchObject("p/4096/000001", 4096))


def test_a_failure_carries_its_code() -> None:
    assert (OperationFailed("SlowDown").code, str(OperationFailed("SlowDown"))) == ("SlowDown", "SlowDown")
