from __future__ import annotations

from bench.engines.batches import batched
from bench.operations import Operation, Probe, Read, ReadBatch
from cache.versions import ByteSpan

A, B, C = (Read(key, 5) for key in "abc")


def test_whole_reads_are_gathered() -> None:
    assert list(batched(iter([A, B, C, A]), 2)) == [ReadBatch((A, B)), ReadBatch((C, A))]


def test_what_is_left_is_a_smaller_batch() -> None:
    assert list(batched(iter([A, B, C]), 2)) == [ReadBatch((A, B)), ReadBatch((C,))]


def test_anything_else_passes_in_its_place() -> None:
    other: list[Operation] = [Probe("p", 1), Read("r", 2, ByteSpan(0, 2))]
    assert list(batched(iter([A, *other, B]), 9)) == [ReadBatch((A,)), *other, ReadBatch((B,))]


def test_a_batch_moves_what_its_reads_move() -> None:
    assert ReadBatch((A, B)).moves == 10
