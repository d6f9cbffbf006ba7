"""Dealing things out to lanes, epoch by epoch: each thing once per epoch, in an order that is new in every epoch.

All lanes agree on the order, because its chance is shared, and lane i of n takes every n-th position: no two lanes read
the same and nobody asks anybody. A lane does not wait for the others at an epoch's end. With more lanes than things,
lanes go round together and several take the same. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as counting

from bench.workloads.permutation import Permutation
from bench.workloads.terms import Lane, Terms


def deal(count: int, terms: Terms, lane: Lane) -> Iterator[int]:
    """Endless numbers in [0, ``count``): what this lane takes."""
    for epoch in counting():
        order = Permutation(count, terms.shared(f"epoch {epoch}"))
        for position in range(lane.index % count, count, lane.count):
            yield order[position]
