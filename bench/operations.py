"""What a client does, as values: operations on objects, and the objects that a run reads.

A workload yields operations, an engine performs them; neither knows the other. ``length`` is how many body bytes the
answer must have: an engine counts anything else as an error, so a figure never rests on bytes that did not come.

The objects of a run are named after their size and number (``<prefix>4096/000017``), so that a second run of the same
shape finds them. Sans-IO; the body of an object is made in ``bench/prepare.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from cache.versions import ByteSpan


@dataclass(frozen=True, slots=True)
class BenchObject:
    """One object that a run reads: its key, and its size in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Read:
    """GET of a whole object (``span`` None) or of a span; ``length`` body bytes must come."""

    key: str
    length: int
    span: ByteSpan | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """PUT of an object."""

    key: str
    body: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Probe:
    """HEAD of an object that must have ``length`` bytes."""

    key: str
    length: int


@dataclass(frozen=True, slots=True)
class Remove:
    """DELETE of an object."""

    key: str


@dataclass(frozen=True, slots=True)
class MakeBucket:
    """PUT of the run's bucket."""


Operation = Read | Write | Probe | Remove | MakeBucket


class OperationFailed(Exception):
    """An operation that did not do what it should; ``code``: an S3 error code, or our word for what went wrong."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def name_objects(prefix: str, size: int, count: int) -> tuple[BenchObject, ...]:
    """``count`` objects of ``size`` bytes under ``prefix``."""
    return tuple(BenchObject(f"{prefix}{size}/{index:06d}", size) for index in range(count))
