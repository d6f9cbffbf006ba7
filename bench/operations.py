"""What a client does, as values: operations on objects, and the objects that a run reads.

A workload yields operations, an engine performs them; neither knows the other. ``length`` is how many body bytes the
answer must have: an engine counts anything else as an error, so a figure never rests on bytes that did not come. Each
kind of operation has a ``kind``, under which reports count it, and says how many body bytes it takes either way
(``moves``; of a listing nobody knows before) and how many of them the client sends (``sends``).

The objects of a run are named after their size and number (``<prefix>4096/000017``), so that a second run of the same
shape finds them; what a workload writes beside them is named here as well, so that it can be removed. Sans-IO; the
body of an object is made in ``bench/bodies.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cache.versions import ByteSpan


@dataclass(frozen=True, slots=True)
class BenchObject:
    """One object that a run reads: its key, and its size in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Read:
    """GET of a whole object (``span`` None) or of a span; ``length`` body bytes must come."""

    kind: ClassVar[str] = "GET"
    sends: ClassVar[int] = 0
    key: str
    length: int
    span: ByteSpan | None = None

    @property
    def moves(self) -> int:
        """Body bytes that come."""
        return self.length


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """Whole objects read together, for clients that read by the batch; counted as one operation."""

    kind: ClassVar[str] = "BATCH"
    sends: ClassVar[int] = 0
    reads: tuple[Read, ...]

    @property
    def moves(self) -> int:
        """Body bytes that come, of all objects."""
        return sum(read.length for read in self.reads)


@dataclass(frozen=True, slots=True)
class Write:
    """PUT of an object."""

    kind: ClassVar[str] = "PUT"
    key: str
    body: bytes | memoryview

    @property
    def moves(self) -> int:
        """Body bytes that go."""
        return len(self.body)

    @property
    def sends(self) -> int:
        """Body bytes that go."""
        return len(self.body)


@dataclass(frozen=True, slots=True)
class Probe:
    """HEAD of an object that must have ``length`` bytes."""

    kind: ClassVar[str] = "STAT"
    sends: ClassVar[int] = 0
    moves: ClassVar[int] = 0
    key: str
    length: int


@dataclass(frozen=True, slots=True)
class List:
    """The first page of the keys under ``prefix`` (ListObjectsV2)."""

    kind: ClassVar[str] = "LIST"
    sends: ClassVar[int] = 0
    moves: ClassVar[int] = 0
    prefix: str


@dataclass(frozen=True, slots=True)
class Remove:
    """DELETE of an object."""

    kind: ClassVar[str] = "DELETE"
    sends: ClassVar[int] = 0
    moves: ClassVar[int] = 0
    key: str


@dataclass(frozen=True, slots=True)
class MakeBucket:
    """PUT of the run's bucket."""

    kind: ClassVar[str] = "BUCKET"
    sends: ClassVar[int] = 0
    moves: ClassVar[int] = 0


Operation = Read | ReadBatch | Write | Probe | List | Remove | MakeBucket


class OperationFailed(Exception):
    """An operation that did not do what it should; ``code``: an S3 error code, or our word for what went wrong."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def name_objects(prefix: str, size: int, count: int) -> tuple[BenchObject, ...]:
    """``count`` objects of ``size`` bytes under ``prefix``."""
    return tuple(BenchObject(f"{prefix}{size}/{index:06d}", size) for index in range(count))
