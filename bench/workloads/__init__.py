"""Workloads: what clients read, in which order. One file each; this table is how ``--workload`` finds them.

A workload is a function from the objects, a way to choose and the options to an endless iterator of operations. It is
sans-IO: chance comes in as ``choose(n)``, a whole number in [0, n), so that a test can say what is chosen and a seed
repeats a run. Every connection takes its operations from an iterator, its own or its process's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from bench.operations import BenchObject, Operation
from bench.workloads.ranges import random_ranges
from bench.workloads.whole import whole_objects


class Workload(Protocol):
    """``range_bytes``: the length of each range where the workload has any; 0: random as well."""

    def __call__(
        self, objects: Sequence[BenchObject], choose: Callable[[int], int], *, range_bytes: int
    ) -> Iterator[Operation]:
        """Endless operations on ``objects``."""


WORKLOADS: Final[Mapping[str, Workload]] = MappingProxyType({"get": whole_objects, "range": random_ranges})
