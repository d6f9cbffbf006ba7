from __future__ import annotations

import pytest

from bench.operations import (
    BenchObject,
    List,
    MakeBucket,
    Operation,
    OperationFailed,
    Probe,
    Read,
    ReadBatch,
    Remove,
    Write,
    name_objects,
)


def test_objects_are_named_after_their_size_and_number() -> None:
    assert name_objects("p/", 4096, 2) == (BenchObject("p/4096/000000", 4096), BenchObject("p/4096/000001", 4096))


def test_a_failure_carries_its_code() -> None:
    assert (OperationFailed("SlowDown").code, str(OperationFailed("SlowDown"))) == ("SlowDown", "SlowDown")


@pytest.mark.parametrize(
    ("operation", "kind", "moves", "sends"),
    [
        (Read("k", 5), "GET", 5, 0),
        (ReadBatch((Read("k", 5), Read("l", 6))), "BATCH", 11, 0),
        (Write("k", b"four"), "PUT", 4, 4),
        (Probe("k", 5), "STAT", 0, 0),
        (List("p/"), "LIST", 0, 0),
        (Remove("k"), "DELETE", 0, 0),
        (MakeBucket(), "BUCKET", 0, 0),
    ],
)
def test_an_operation_says_what_it_moves(operation: Operation, kind: str, moves: int, sends: int) -> None:
    assert (operation.kind, operation.moves, operation.sends) == (kind, moves, sends)
