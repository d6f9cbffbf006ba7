"""Operations by the batch: for an engine that reads many objects in one call, as a data loader does.

Reads of whole objects are gathered, so many to a :class:`ReadBatch`; the last one of a finite workload may be smaller.
Whatever else comes passes through by itself, in order. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.operations import Operation, Read, ReadBatch


def batched(operations: Iterator[Operation], size: int) -> Iterator[Operation]:
    """``operations`` with whole reads gathered ``size`` at a time."""
    waiting: list[Read] = []
    for operation in operations:
        if isinstance(operation, Read) and operation.span is None:
            waiting.append(operation)
        elif waiting:
            yield ReadBatch(tuple(waiting))
            waiting = []
            yield operation
        else:
            yield operation
        if len(waiting) == size:
            yield ReadBatch(tuple(waiting))
            waiting = []
    if waiting:
        yield ReadBatch(tuple(waiting))
